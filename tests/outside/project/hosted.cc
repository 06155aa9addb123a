// A daemon that serves a greeting, asks for it itself once it has started, and stops.
#include <ipcrpc/daemon.h>
#include <ipcrpc/ipcrpc.h>

#include "greeting/greeter.ipcrpc.pb.h"

class Greeter final : public greeting::Greeter::Service {
  ipcrpc::Status SayHello(ipcrpc::ServerContext*, const greeting::HelloRequest* request,
                          greeting::HelloReply* reply) override {
    reply->set_message("Hello " + request->name());
    return ipcrpc::Status::OK;
  }
};

int main() {
  ipcrpc::Daemon daemon("hosted");
  Greeter service;
  daemon.Listen("unix:greet").Register(&service).OnStart([&](ipcrpc::Server&) {
    ipcrpc::ClientContext context;
    greeting::HelloRequest request;
    greeting::HelloReply reply;
    daemon.Stop();
    return greeting::Greeter::NewStub(ipcrpc::CreateChannel("unix:greet"))
        ->SayHello(&context, request, &reply);
  });
  return daemon.Run();
}

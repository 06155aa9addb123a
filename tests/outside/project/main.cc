// Serves a greeting and asks for it, all in one process.
#include <ipcrpc/ipcrpc.h>

#include <iostream>
#include <memory>
#include <string>

#include "greeting/greeter.ipcrpc.pb.h"

namespace {

class GreeterService final : public greeting::Greeter::Service {
  ipcrpc::Status SayHello(ipcrpc::ServerContext*, const greeting::HelloRequest* request,
                          greeting::HelloReply* reply) override {
    reply->set_message("Hello " + request->name());
    return ipcrpc::Status::OK;
  }
};

}  // namespace

int main() {
  const std::string address = "unix:greet";
  GreeterService service;
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(address, ipcrpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  const std::unique_ptr<ipcrpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    std::cerr << "no server: " << builder.error() << "\n";
    return 1;
  }

  const auto stub = greeting::Greeter::NewStub(ipcrpc::CreateChannel(address, ipcrpc::InsecureChannelCredentials()));
  ipcrpc::ClientContext context;
  greeting::HelloRequest request;
  greeting::HelloReply reply;
  request.set_name("outside");
  const ipcrpc::Status status = stub->SayHello(&context, request, &reply);
  if (!status.ok()) {
    std::cerr << "call failed: " << status.error_message() << "\n";
    return 1;
  }
  ipcrpc::ClientContext refused_context;
  const ipcrpc::Status refused = stub->SayNothing(&refused_context, request, &reply);
  if (refused.error_code() != ipcrpc::StatusCode::PERMISSION_DENIED) {
    std::cerr << "a method for nobody says: " << refused.error_message() << "\n";
    return 1;
  }
  std::cout << reply.message() << "\n";
  return reply.message() == "Hello outside" ? 0 : 1;
}

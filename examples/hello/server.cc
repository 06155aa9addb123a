// hello_server [ADDRESS]: greets whoever calls, until it is killed.
#include <ipcrpc/ipcrpc.h>

#include <cstdio>

#include "greeter.ipcrpc.pb.h"

struct Greeter final : hello::Greeter::Service {
  ipcrpc::Status Greet(ipcrpc::ServerContext*, const hello::Request* request, hello::Reply* reply) override {
    reply->set_text("Hello, " + request->name());
    return ipcrpc::Status::OK;
  }
};

int main(int argc, char** argv) {
  Greeter greeter;
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(argc > 1 ? argv[1] : "shm:hello").RegisterService(&greeter);
  auto server = builder.BuildAndStart();
  if (server == nullptr) {
    std::fprintf(stderr, "hello_server: %s\n", builder.error().c_str());
    return 1;
  }
  server->Wait();
}

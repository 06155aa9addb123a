// A server in the shape of gRPC's first example, synchronous, for both libraries: see swap_test.sh.
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>

#include <iostream>
#include <memory>
#include <string>

#include "helloworld.grpc.pb.h"

using grpc::Server;
using grpc::ServerBuilder;
using grpc::ServerContext;
using grpc::Status;
using helloworld::Greeter;
using helloworld::HelloReply;
using helloworld::HelloRequest;

class GreeterServiceImpl final : public Greeter::Service {
  Status SayHello(ServerContext* context, const HelloRequest* request, HelloReply* reply) override {
    if (request->name().empty()) return Status(grpc::StatusCode::INVALID_ARGUMENT, "nobody to greet");
    auto language = context->client_metadata().find("language");
    const bool german = language != context->client_metadata().end() && language->second == "de";
    reply->set_message((german ? "Hallo " : "Hello ") + request->name());
    return Status::OK;
  }
};

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  GreeterServiceImpl service;
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  ServerBuilder builder;
  builder.AddListeningPort(argv[1], grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  std::unique_ptr<Server> server(builder.BuildAndStart());
  if (!server) return 1;
  std::cerr << "Server listening on " << argv[1] << std::endl;
  server->Wait();
}

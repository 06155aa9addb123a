// A server in the shape of gRPC's callback examples, for both libraries: see swap_test.sh.
#include <grpcpp/grpcpp.h>

#include <iostream>
#include <memory>
#include <string>

#include "helloworld.grpc.pb.h"

using grpc::CallbackServerContext;
using grpc::Server;
using grpc::ServerBidiReactor;
using grpc::ServerBuilder;
using grpc::ServerUnaryReactor;
using grpc::Status;
using helloworld::Greeter;
using helloworld::HelloReply;
using helloworld::HelloRequest;

class GreeterServiceImpl final : public Greeter::CallbackService {
  ServerUnaryReactor* SayHello(CallbackServerContext* context, const HelloRequest* request, HelloReply* reply) override {
    reply->set_message("Hello " + request->name());
    ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(Status::OK);
    return reactor;
  }

  ServerBidiReactor<HelloRequest, HelloReply>* SayHelloToAll(CallbackServerContext* context) override {
    class Reactor : public ServerBidiReactor<HelloRequest, HelloReply> {
     public:
      explicit Reactor(CallbackServerContext* context) {
        context->AddInitialMetadata("greeter", "polite");
        StartSendInitialMetadata();
        StartRead(&request_);
      }
      void OnReadDone(bool ok) override {
        if (!ok) {
          Finish(Status(grpc::StatusCode::OUT_OF_RANGE, "nobody is left"));
          return;
        }
        reply_.set_message("Hello " + request_.name());
        StartWrite(&reply_, grpc::WriteOptions().set_buffer_hint());
      }
      void OnWriteDone(bool /*ok*/) override { StartRead(&request_); }
      void OnDone() override { delete this; }
      void OnCancel() override { std::cerr << "cancelled" << std::endl; }

     private:
      HelloRequest request_;
      HelloReply reply_;
    };
    return new Reactor(context);
  }
};

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  GreeterServiceImpl service;
  ServerBuilder builder;
  builder.AddListeningPort(argv[1], grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  std::unique_ptr<Server> server(builder.BuildAndStart());
  if (server == nullptr) return 1;
  server->Wait();
}

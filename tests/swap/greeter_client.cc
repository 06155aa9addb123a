// A client in the shape of gRPC's first example, synchronous, for both libraries: see swap_test.sh.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <string>

#include "helloworld.grpc.pb.h"

using grpc::Channel;
using grpc::ClientContext;
using grpc::Status;
using helloworld::Greeter;
using helloworld::HelloReply;
using helloworld::HelloRequest;

class GreeterClient {
 public:
  explicit GreeterClient(std::shared_ptr<Channel> channel) : stub_(Greeter::NewStub(channel)) {}

  std::string SayHello(const std::string& user, const std::string& language) {
    HelloRequest request;
    request.set_name(user);
    HelloReply reply;
    ClientContext context;
    context.AddMetadata("language", language);
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    Status status = stub_->SayHello(&context, request, &reply);
    if (status.ok()) return reply.message();
    return std::to_string(status.error_code()) + ": " + status.error_message();
  }

 private:
  std::unique_ptr<Greeter::Stub> stub_;
};

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  auto channel = grpc::CreateChannel(argv[1], grpc::InsecureChannelCredentials());
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20))) return 1;
  if (channel->GetState(false) != GRPC_CHANNEL_READY) return 1;
  GreeterClient greeter(channel);
  std::cout << greeter.SayHello("world", "en") << std::endl;
  std::cout << greeter.SayHello("Welt", "de") << std::endl;
  std::cout << greeter.SayHello("", "en") << std::endl;
}

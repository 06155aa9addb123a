// hello_client NAME [ADDRESS]: has NAME greeted.
#include <ipcrpc/ipcrpc.h>

#include <chrono>
#include <cstdio>

#include "greeter.ipcrpc.pb.h"

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: hello_client NAME [ADDRESS]\n");
    return 2;
  }
  auto stub = hello::Greeter::NewStub(ipcrpc::CreateChannel(argc > 2 ? argv[2] : "shm:hello"));
  ipcrpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::steady_clock::now() + std::chrono::seconds(5));
  hello::Request request;
  request.set_name(argv[1]);
  hello::Reply reply;
  const ipcrpc::Status status = stub->Greet(&context, request, &reply);
  if (!status.ok()) {
    std::fprintf(stderr, "hello_client: %s\n", status.error_message().c_str());
    return 1;
  }
  std::puts(reply.text().c_str());
}

// fd_passing_client FILE [ADDRESS]: has the lines of a file numbered. The server gets the open file, and the client a pipe.
#include <fcntl.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <vector>

#include <ipcrpc/ipcrpc.h>

#include "numberer.ipcrpc.pb.h"

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: fd_passing_client FILE [ADDRESS]\n");
    return 2;
  }
  ipcrpc::UniqueFd file(open(argv[1], O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    std::perror(argv[1]);
    return 1;
  }
  auto stub = fd_passing::Numberer::NewStub(ipcrpc::CreateChannel(argc > 2 ? argv[2] : "shm:numberer"));
  ipcrpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(std::chrono::steady_clock::now() + std::chrono::seconds(5));
  context.AttachFd(std::move(file));
  fd_passing::Reply reply;
  const ipcrpc::Status status = stub->Number(&context, fd_passing::Request(), &reply);
  if (!status.ok()) {
    std::fprintf(stderr, "fd_passing_client: %s\n", status.error_message().c_str());
    return 1;
  }
  std::printf("%lld lines\n", static_cast<long long>(reply.lines()));
  for (const ipcrpc::UniqueFd& pipe : context.TakeFds()) {
    char bytes[4096];
    for (ssize_t got; (got = read(pipe.get(), bytes, sizeof(bytes))) > 0;) std::fwrite(bytes, 1, static_cast<size_t>(got), stdout);
  }
}

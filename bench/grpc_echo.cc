// grpc_echo serve SOCKET READY_FD | grpc_echo drive SOCKET SAMPLE_FD: the two sides of a unary echo by gRPC C++'s
// synchronous API. Run by unary_bench.
#include <grpcpp/grpcpp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>

#include "bench/sample.h"
#include "bench/workload.h"
#include "echo.grpc.pb.h"

namespace ipcrpc::bench {
namespace {

class EchoHandler final : public EchoService::Service {
 public:
  grpc::Status Unary(grpc::ServerContext*, const Echo* request, Echo* response) override {
    response->set_id(request->id());
    response->set_payload(request->payload());
    return grpc::Status::OK;
  }
};

int Serve(const std::string& address, int ready_fd) {
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigprocmask(SIG_BLOCK, &end, nullptr);
  EchoHandler handler;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&handler);
  const std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr || write(ready_fd, "R", 1) != 1) return 1;
  int signal;
  sigwait(&end, &signal);
  server->Shutdown();
  return 0;
}

int Drive(const std::string& address, int sample_fd) {
  void* memory = mmap(nullptr, sizeof(Sample), PROT_READ | PROT_WRITE, MAP_SHARED, sample_fd, 0);
  if (memory == MAP_FAILED) return 1;
  const auto stub = EchoService::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  Echo request, response;
  request.set_payload(std::string(kPayloadBytes, 'x'));
  uint64_t turn = 0;
  Measure(*static_cast<Sample*>(memory), [&] {
    request.set_id(++turn);
    grpc::ClientContext context;
    const grpc::Status status = stub->Unary(&context, request, &response);
    if (!status.ok() || response.id() != turn || response.payload().size() != kPayloadBytes) {
      fprintf(stderr, "grpc_echo: %s\n", status.ok() ? "an answer to another call" : status.error_message().c_str());
      _exit(1);
    }
  });
  return 0;
}

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) {
  const std::string_view role = argc == 4 ? argv[1] : "";
  if (role != "serve" && role != "drive") {
    fprintf(stderr, "usage: grpc_echo serve SOCKET READY_FD | grpc_echo drive SOCKET SAMPLE_FD (unary_bench runs it)\n");
    return 2;
  }
  const std::string address = std::string("unix:") + argv[2];
  const int fd = atoi(argv[3]);
  return role == "serve" ? ipcrpc::bench::Serve(address, fd) : ipcrpc::bench::Drive(address, fd);
}

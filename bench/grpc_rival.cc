#include "bench/grpc_rival.h"

#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

namespace ipcrpc::bench {
namespace {

class GrpcWorkload final : public Workload {
 public:
  GrpcWorkload(std::string program, std::string socket_path)
      : program_(std::move(program)), socket_path_(std::move(socket_path)) {}

  void Serve(const ReadySignal& ready) override { Execute("serve", ready.write_fd()); }
  void Drive(const SharedMemory& sample) override { Execute("drive", sample.fd()); }

 private:
  void Execute(const char* role, int fd) {
    fcntl(fd, F_SETFD, 0);
    execl(program_.c_str(), "grpc_echo", role, socket_path_.c_str(), std::to_string(fd).c_str(), nullptr);
    Fail("cannot run " + program_);
  }

  const std::string program_;
  const std::string socket_path_;
};

}  // namespace

std::string GrpcEchoProgram() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / "grpc_echo";
  return access(program.c_str(), X_OK) == 0 ? program.string() : std::string();
}

std::unique_ptr<Workload> GrpcEcho(const std::string& program, const std::string& socket_path) {
  return std::make_unique<GrpcWorkload>(program, socket_path);
}

}  // namespace ipcrpc::bench

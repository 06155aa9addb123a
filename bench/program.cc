#include "bench/program.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

extern char** environ;

namespace ipcrpc::bench {
namespace {

std::vector<char*> Arguments(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  return arguments;
}

void CloseAll(const std::vector<int>& fds) {
  for (int fd : fds) close(fd);
}

class ProgramWorkload : public Workload {
 public:
  ProgramWorkload(Program program, Endpoints endpoints) : program_(std::move(program)), endpoints_(std::move(endpoints)) {}
  ~ProgramWorkload() override {
    CloseAll(endpoints_.server_fds);
    CloseAll(endpoints_.client_fds);
  }

  void Serve(const ReadySignal& ready, const SharedMemory& sample) override {
    CloseAll(endpoints_.client_fds);
    Execute({"serve", endpoints_.server_address, Left(ready.write_fd()), Left(sample.fd())});
  }
  void Drive(const SharedMemory& sample) override {
    CloseAll(endpoints_.server_fds);
    Execute({"drive", endpoints_.client_address, Left(sample.fd())});
  }

 protected:
  std::vector<std::string> CommandLine(const std::vector<std::string>& words) const {
    std::vector<std::string> line = {program_.path, program_.variant};
    line.insert(line.end(), words.begin(), words.end());
    return line;
  }
  [[noreturn]] void Execute(const std::vector<std::string>& words) const {
    const std::vector<std::string> line = CommandLine(words);
    execv(line[0].c_str(), Arguments(line).data());
    Fail("cannot run " + line[0]);
  }
  // To the program that is executed.
  static std::string Left(int fd) {
    fcntl(fd, F_SETFD, 0);
    return std::to_string(fd);
  }
  const Endpoints& endpoints() const { return endpoints_; }

 private:
  const Program program_;
  const Endpoints endpoints_;
};

class OneProcess final : public ProgramWorkload {
 public:
  using ProgramWorkload::ProgramWorkload;
  void Serve(const ReadySignal& ready, const SharedMemory&) override {
    ready.Tell();
    for (;;) pause();
  }
  void Drive(const SharedMemory& sample) override { Execute({"both", endpoints().client_address, Left(sample.fd())}); }
};

class Spawning : public ProgramWorkload {
 public:
  using ProgramWorkload::ProgramWorkload;

 protected:
  void SpawnEach(const SharedMemory& sample, const std::vector<std::string>& words) {
    const std::vector<std::string> line = CommandLine(words);
    const std::vector<char*> arguments = Arguments(line);
    Measure(*sample.As<Sample>(), [&] {
      pid_t child;
      int status = -1;
      if (posix_spawn(&child, arguments[0], nullptr, nullptr, arguments.data(), environ) != 0) Fail("cannot run " + line[0]);
      if (waitpid(child, &status, 0) != child || status != 0) Fail(line[0] + " failed");
    });
  }
};

class OneCall final : public Spawning {
 public:
  using Spawning::Spawning;
  void Drive(const SharedMemory& sample) override { SpawnEach(sample, {"once", endpoints().client_address}); }
};

class NoCall final : public Spawning {
 public:
  using Spawning::Spawning;
  void Serve(const ReadySignal& ready, const SharedMemory&) override {
    ready.Tell();
    for (;;) pause();
  }
  void Drive(const SharedMemory& sample) override { SpawnEach(sample, {"nothing"}); }
};

}  // namespace

Program FindProgram(const std::string& name, const std::string& variant) {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error).parent_path() / name;
  return {access(program.c_str(), X_OK) == 0 ? program.string() : std::string(), variant};
}

Endpoints At(const std::string& address) { return {address, address, {}, {}}; }

Endpoints InheritedSocketPair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) Fail("socketpair");
  return {"socketpair:" + std::to_string(fds[0]), "socketpair:" + std::to_string(fds[1]), {fds[0]}, {fds[1]}};
}

Endpoints InheritedPipes() {
  int there[2], back[2];
  if (pipe(there) != 0 || pipe(back) != 0) Fail("pipe");
  const auto address = [](int read, int write) { return "pipe:" + std::to_string(read) + "," + std::to_string(write); };
  return {address(there[0], back[1]), address(back[0], there[1]), {there[0], back[1]}, {back[0], there[1]}};
}

std::unique_ptr<Workload> RunProgram(const Program& program, Endpoints endpoints) {
  return std::make_unique<ProgramWorkload>(program, std::move(endpoints));
}

std::unique_ptr<Workload> RunInOneProcess(const Program& program, const std::string& address) {
  return std::make_unique<OneProcess>(program, At(address));
}

std::unique_ptr<Workload> OneShot(const Program& program, Endpoints endpoints) {
  return std::make_unique<OneCall>(program, std::move(endpoints));
}

std::unique_ptr<Workload> EmptyProcess(const Program& program) { return std::make_unique<NoCall>(program, Endpoints()); }

}  // namespace ipcrpc::bench

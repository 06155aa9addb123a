// The child that the tests start: child_program [ROLE…]. It serves its parent calls whose messages are bytes:
//   /test/Echo   answers what it is sent
//   /test/Wait   lasts until it is cancelled
//   /test/Pid    answers its pid
//   /test/Facts  answers what it was started with, a line each: of /proc/self/status, and its open descriptors
// Roles:
//   exit CODE     ends at once
//   mute          never serves
//   clings        does not end when it is told to
//   shares        has a process beside it, whose pid /test/Sharer answers, that has the socket too and lives until that is shut down
//   parent N      has N children of its own, says their pids on standard output, and lives until it is killed
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "ipcrpc/child.h"
#include "ipcrpc/generic/callback_generic_service.h"
#include "ipcrpc/ipcrpc.h"

namespace {

pid_t g_sharer = 0;

std::string Facts() {
  std::string facts;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("Sig")) facts += line + "\n";
  }
  facts += "fds:";
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const std::string target = std::filesystem::read_symlink(entry.path(), error);
    // The library's own are all of these kinds.
    if (error || target.starts_with("anon_inode:") || target.starts_with("/proc/")) continue;
    facts += " " + target;
  }
  return facts + "\ngroup:" + (getpgrp() == getpid() ? " own" : " parent's") + "\nenvironment:" +
         (getenv("CHILD_COLOUR") == nullptr ? "" : getenv("CHILD_COLOUR")) + "\n";
}

class Call : public ipcrpc::ServerGenericBidiReactor {
 public:
  explicit Call(std::string method) : method_(std::move(method)) { StartRead(&message_); }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(ipcrpc::Status::CANCELLED);
    if (method_ == "/test/Wait") return;
    if (method_ == "/test/Sharer") Answer(std::to_string(g_sharer));
    if (method_ == "/test/Pid") Answer(std::to_string(getpid()));
    if (method_ == "/test/Facts") Answer(Facts());
    StartWriteAndFinish(&message_, ipcrpc::WriteOptions(), ipcrpc::Status::OK);
  }
  void Answer(const std::string& text) {
    const ipcrpc::Slice slice(text);
    message_ = ipcrpc::ByteBuffer(&slice, 1);
  }
  void OnCancel() override {
    if (method_ == "/test/Wait") Finish(ipcrpc::Status::CANCELLED);
  }
  void OnDone() override { delete this; }

  const std::string method_;
  ipcrpc::ByteBuffer message_;
};

class Anything : public ipcrpc::CallbackGenericService {
  ipcrpc::ServerGenericBidiReactor* CreateReactor(ipcrpc::GenericCallbackServerContext* context) override {
    return new Call(context->method());
  }
};

int Serve() {
  Anything service;
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(ipcrpc::ChildAddress()).RegisterCallbackGenericService(&service);
  const std::unique_ptr<ipcrpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  server->Wait();
  return 0;
}

int BeParent(int children) {
  std::vector<std::unique_ptr<ipcrpc::SupervisedChild>> all;
  for (int i = 0; i < children; ++i) {
    all.push_back(std::make_unique<ipcrpc::SupervisedChild>(ipcrpc::SupervisedChild::Options{.argv = {"/proc/self/exe"}}));
    if (!all.back()->Start().ok() || !all.back()->WaitUntilUp(std::chrono::seconds(20)).ok()) return 1;
    std::printf("%d\n", static_cast<int>(all.back()->pid()));
  }
  std::fflush(stdout);
  pause();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string role = argc > 1 ? argv[1] : "";
  if (role == "exit") return std::atoi(argv[2]);
  if (role == "parent") return BeParent(std::atoi(argv[2]));
  if (role == "mute") {
    pause();
  } else if (role == "shares") {
    g_sharer = fork();
    if (g_sharer == 0) {
      pollfd end = {.fd = 3, .events = POLLRDHUP, .revents = 0};
      poll(&end, 1, -1);
      _exit(0);
    }
  }
  if (role != "clings") return Serve();
  signal(SIGTERM, SIG_IGN);
  Serve();
  while (true) pause();
}

// The daemon that the tests start: daemon_program ADDRESS… [OPTIONS]. Its calls have bytes for messages:
//   /test/Echo   answers what it is sent
//   /test/Wait   lasts until it is cancelled, or the daemon's OnStop
//   /test/Say    has the daemon log what it is sent, and answers it
//   /test/Child  answers the pid of its child (--child PROGRAM)
//   /test/Block  opens the FIFO that it is sent, on the thread that serves the connection, which waits for a
//   writer there; with --no-threads
//                no other thread comes to relieve it
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "ipcrpc/daemon.h"
#include "ipcrpc/generic/callback_generic_service.h"
#include "ipcrpc/ipcrpc.h"
#include "transport/testing/refuse_system_call.h"

namespace {

bool g_no_threads = false;
const ipcrpc::Daemon* g_daemon = nullptr;
const ipcrpc::SupervisedChild* g_child = nullptr;

std::string Text(const ipcrpc::ByteBuffer& buffer) {
  ipcrpc::Slice slice;
  return buffer.DumpToSingleSlice(&slice).ok() ? std::string(slice.begin(), slice.end()) : "";
}

class Waiting {
 public:
  void Add(ipcrpc::ServerGenericBidiReactor* call) {
    const std::lock_guard lock(mu_);
    calls_.insert(call);
  }
  void End(ipcrpc::ServerGenericBidiReactor* call, const ipcrpc::Status& status) {
    const std::lock_guard lock(mu_);
    if (calls_.erase(call) != 0) call->Finish(status);
  }
  void EndAll() {
    const std::lock_guard lock(mu_);
    for (ipcrpc::ServerGenericBidiReactor* call : calls_)
      call->Finish(ipcrpc::Status(ipcrpc::StatusCode::ABORTED, "OnStop"));
    calls_.clear();
  }

 private:
  std::mutex mu_;
  std::set<ipcrpc::ServerGenericBidiReactor*> calls_;
};

class Call : public ipcrpc::ServerGenericBidiReactor {
 public:
  Call(std::string method, Waiting& waiting) : method_(std::move(method)), waiting_(waiting) {
    StartRead(&message_);
  }

 private:
  void OnReadDone(bool ok) override {
    if (!ok) return Finish(ipcrpc::Status::CANCELLED);
    if (method_ == "/test/Wait") return waiting_.Add(this);
    if (method_ == "/test/Say") g_daemon->Log(ipcrpc::LogSeverity::kWarning, Text(message_));
    if (method_ == "/test/Child") {
      const ipcrpc::Slice pid(std::to_string(g_child->pid()));
      message_ = ipcrpc::ByteBuffer(&pid, 1);
    }
    if (method_ == "/test/Block" && g_no_threads) {
      ipcrpc::FilterSystemCalls({SYS_clone, SYS_clone3}, SECCOMP_RET_ERRNO | EAGAIN,
                                SECCOMP_FILTER_FLAG_TSYNC);
    }
    if (method_ == "/test/Block") close(open(Text(message_).c_str(), O_RDONLY | O_CLOEXEC));
    StartWriteAndFinish(&message_, ipcrpc::WriteOptions(), ipcrpc::Status::OK);
  }
  void OnCancel() override { waiting_.End(this, ipcrpc::Status::CANCELLED); }
  void OnDone() override { delete this; }

  const std::string method_;
  Waiting& waiting_;
  ipcrpc::ByteBuffer message_;
};

class Anything : public ipcrpc::CallbackGenericService {
 public:
  ipcrpc::ServerGenericBidiReactor* CreateReactor(ipcrpc::GenericCallbackServerContext* context) override {
    return new Call(context->method(), waiting_);
  }
  void EndWaiting() { waiting_.EndAll(); }

 private:
  Waiting waiting_;
};

// A configuration of "good" is good; anything else says what is wrong with it.
ipcrpc::Status Load(const std::string& path) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  return text == "good" ? ipcrpc::Status::OK
                        : ipcrpc::Status(ipcrpc::StatusCode::INVALID_ARGUMENT, path + ": " + text);
}

}  // namespace

int main(int argc, char** argv) {
  std::thread early;
  if (argc > 1 && std::string(argv[1]) == "--early-thread")
    early = std::thread([] { pause(); }), early.detach();
  Anything service;
  const char* const name = getenv("DAEMON_NAME");
  ipcrpc::Daemon daemon(name == nullptr ? "testd" : name);
  g_daemon = &daemon;
  daemon.builder().RegisterCallbackGenericService(&service);
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    const auto value = [&] { return std::string(argv[++i]); };
    if (argument == "--early-thread") continue;
    if (argument == "--drain-ms") {
      daemon.SetDrain(std::chrono::milliseconds(std::stoi(value())));
    } else if (argument == "--config") {
      daemon.OnReload([path = value()] { return Load(path); });
    } else if (argument == "--must-load") {
      daemon.OnStart([path = value()](ipcrpc::Server&) { return Load(path); });
    } else if (argument == "--close") {
      daemon.OnStop([&service] { service.EndWaiting(); });
    } else if (argument == "--stop-waits-for") {
      daemon.OnStop([fifo = value()] { close(open(fifo.c_str(), O_RDONLY | O_CLOEXEC)); });
    } else if (argument == "--log-fifo") {
      daemon.SetLogFifo(value());
    } else if (argument == "--child") {
      g_child = &daemon.Supervise({.argv = {value()}, .name = "helper"});
    } else if (argument == "--many") {
      daemon.SetOneInstance(false);
    } else if (argument == "--keep") {
      daemon.SetKeepSockets(true);
    } else if (argument == "--take-over") {
      daemon.SetTakeOver(true);
    } else if (argument == "--no-threads") {
      g_no_threads = true;
    } else if (argument == "--one-poller") {
      daemon.builder().SetRuntime(ipcrpc::Runtime::WithThreads(1));
    } else {
      daemon.Listen(argument);
    }
  }
  if (!ipcrpc::ChildAddress().empty()) daemon.Listen(ipcrpc::ChildAddress());
  return daemon.Run();
}

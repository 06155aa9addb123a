// The thread of a supervised child: starts it, sees it up, sees it end, and starts the next one.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "ipcrpc/child.h"
#include "rpc/backoff.h"
#include "rpc/client_channel.h"
#include "services/child/berth.h"
#include "transport/base/fd.h"
#include "transport/base/fork_guard.h"
#include "transport/exec/child_process.h"

namespace ipcrpc {

class SupervisedChild::Supervisor {
 public:
  explicit Supervisor(Options options);

  // `self` lives as long as the thread.
  Status Start(const std::shared_ptr<Supervisor>& self);
  Status WaitUntilUp(std::chrono::milliseconds patience);
  void BeginStop();
  void Stop();

  const std::shared_ptr<Channel>& channel() const { return channel_; }
  const std::string& name() const { return name_; }
  pid_t pid() const { return pid_.load(std::memory_order_relaxed); }
  uint64_t restarts() const;

 private:
  static void* ThreadMain(void* self);
  void Run();
  // One child, from its start to its end; how it ended.
  std::string Live();
  // The link to it, once it is up. Else why it will not be.
  absl::StatusOr<std::unique_ptr<Link>> AwaitGreeting(ChildProcess& child, UniqueFd socket, uint64_t number);
  void GoUp();
  void GoDown(const std::string& how);
  // Its stream has ended; so must the process.
  std::string AwaitProcess(ChildProcess& child);
  // Until Stop(), the process has ended, `fd` has one of `events`, or a while is over. Returns what `fd` has.
  int Wait(const ChildProcess* child, int fd, short events, int64_t until_ns);
  bool stopping() const { return stopping_.load(std::memory_order_acquire); }

  const Options options_;
  const std::string name_;
  const ForkGuard fork_guard_;
  const std::shared_ptr<Berth> berth_ = std::make_shared<Berth>();
  const std::shared_ptr<rpc::ClientChannel> plain_channel_;
  const std::shared_ptr<Channel> channel_;  // its calls pass the interceptors that are everybody's
  const UniqueFd wake_;
  std::atomic<bool> stopping_{false};
  std::atomic<pid_t> pid_{0};
  std::atomic<uint64_t> starts_{0};

  // of the thread
  rpc::Backoff backoff_;

  std::mutex mu_;
  std::condition_variable changed_;
  bool running_ = false;  // the thread
  bool up_ = false;
  uint64_t ups_ = 0, downs_ = 0;
  std::string how_;  // the last one ended
};

}  // namespace ipcrpc

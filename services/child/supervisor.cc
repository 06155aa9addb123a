#include "services/child/supervisor.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "rpc/interception/client_interception.h"
#include "transport/base/clock.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/inherited/socketpair_transport.h"
#include "transport/runtime/worker_pool.h"

namespace ipcrpc {
namespace {

constexpr int kChildDescriptor = 3;
// Where there is no pidfd to tell.
constexpr int64_t kLookNs = 20'000'000;
constexpr char kStopped[] = "was stopped";

int64_t Nanoseconds(std::chrono::milliseconds time) { return std::chrono::nanoseconds(time).count(); }
int64_t Later(std::chrono::milliseconds time) { return MonotonicNs() + Nanoseconds(time); }

// Who waits for a child to come up looks this often, beside being told.
ChannelArguments ForBerth(ChannelArguments arguments) {
  arguments.SetInt("ipcrpc.initial_reconnect_backoff_ms", 2);
  arguments.SetInt("ipcrpc.min_reconnect_backoff_ms", 1);
  arguments.SetInt("ipcrpc.max_reconnect_backoff_ms", 20);
  return arguments;
}

absl::Status MakePair(UniqueFd* ours, UniqueFd* its) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return absl::ErrnoToStatus(errno, "cannot make a socket pair");
  }
  ours->reset(ends[0]);
  const UniqueFd low(ends[1]);
  its->reset(fcntl(low.get(), F_DUPFD_CLOEXEC, kChildDescriptor + 1));  // none that is overwritten there
  return its->valid() ? absl::OkStatus() : absl::ErrnoToStatus(errno, "no descriptor left for a socket pair");
}

}  // namespace

SupervisedChild::Supervisor::Supervisor(Options options)
    : options_(std::move(options)),
      name_(options_.NameOrProgram()),
      plain_channel_(std::make_shared<rpc::ClientChannel>(
          "child:" + name_, [berth = berth_](int64_t deadline_ns, std::vector<Refusal>*) { return berth->Connect(deadline_ns); },
          ForBerth(options_.channel_arguments), IoRuntime::Default())),
      channel_(internal::WithGlobalInterceptors(plain_channel_)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      backoff_(Nanoseconds(options_.min_backoff), Nanoseconds(options_.min_backoff), Nanoseconds(options_.max_backoff)) {}

uint64_t SupervisedChild::Supervisor::restarts() const {
  const uint64_t starts = starts_.load(std::memory_order_relaxed);
  return starts == 0 ? 0 : starts - 1;
}

Status SupervisedChild::Supervisor::Start(const std::shared_ptr<Supervisor>& self) {
  if (options_.argv.empty()) return Status(StatusCode::INVALID_ARGUMENT, "a supervised child without a program");
  const std::lock_guard lock(mu_);
  auto kept = std::make_unique<std::shared_ptr<Supervisor>>(self);
  running_ = StartThread("ipcrpc-child", 0, &Supervisor::ThreadMain, kept.get());
  if (running_) {
    kept.release();
    return Status::OK;
  }
  const std::string why = "has not been started: there is no thread to be had";
  berth_->End(why);
  return Status(StatusCode::RESOURCE_EXHAUSTED, name_ + " " + why);
}

Status SupervisedChild::Supervisor::WaitUntilUp(std::chrono::milliseconds patience) {
  std::unique_lock lock(mu_);
  const uint64_t ups = ups_, downs = downs_;
  const auto decided = [&] { return up_ || ups_ != ups || downs_ != downs || stopping(); };
  if (!changed_.wait_until(lock, std::chrono::steady_clock::now() + patience, decided)) {
    return Status(StatusCode::DEADLINE_EXCEEDED, name_ + " is not up yet");
  }
  if (up_ || ups_ != ups) return Status::OK;
  if (stopping()) return Status(StatusCode::CANCELLED, name_ + " is stopped");
  return Status(StatusCode::UNAVAILABLE, name_ + " " + how_);
}

void SupervisedChild::Supervisor::BeginStop() {
  if (!fork_guard_.ours()) return;  // it is the parent's
  stopping_.store(true, std::memory_order_release);
  eventfd_write(wake_.get(), 1);
  const std::lock_guard lock(mu_);
  changed_.notify_all();
}

void SupervisedChild::Supervisor::Stop() {
  BeginStop();
  if (!fork_guard_.ours()) return;
  std::unique_lock lock(mu_);
  changed_.wait(lock, [this] { return !running_; });
  berth_->Close();
}

void* SupervisedChild::Supervisor::ThreadMain(void* kept) {
  const std::unique_ptr<std::shared_ptr<Supervisor>> self(static_cast<std::shared_ptr<Supervisor>*>(kept));
  (*self)->Run();
  return nullptr;
}

void SupervisedChild::Supervisor::Run() {
  while (!stopping()) {
    const int64_t began = MonotonicNs();
    starts_.fetch_add(1, std::memory_order_relaxed);
    GoDown(Live());
    if (MonotonicNs() - began >= Nanoseconds(options_.long_enough)) backoff_.Reset();
    const int64_t until = MonotonicNs() + backoff_.Next();
    while (!stopping() && MonotonicNs() < until) Wait(nullptr, -1, 0, until);
  }
  const std::lock_guard lock(mu_);
  running_ = false;
  changed_.notify_all();
}

std::string SupervisedChild::Supervisor::Live() {
  const uint64_t number = berth_->Begin();
  UniqueFd socket, its_socket;
  if (const absl::Status made = MakePair(&socket, &its_socket); !made.ok()) return std::string(MessageOf(made));
  Program program = {.argv = options_.argv,
                     .environment = options_.environment,
                     .descriptors = {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO, its_socket.get()},
                     .ours_alone = true};
  program.environment.push_back(Cat("IPCRPC_CHILD_ADDRESS=socketpair:", kChildDescriptor));
  absl::StatusOr<std::unique_ptr<ChildProcess>> started = ChildProcess::Start(program);
  if (!started.ok()) return std::string(MessageOf(started.status()));
  ChildProcess& child = **started;
  its_socket.reset();
  pid_.store(child.pid(), std::memory_order_relaxed);

  // Also when its end is held by a program that the child has started, or ours by the channel.
  const UniqueFd stream = UniqueFd::DuplicateOf(socket.get());
  absl::StatusOr<std::unique_ptr<Link>> link = AwaitGreeting(child, std::move(socket), number);
  if (link.ok()) {
    berth_->Offer(*std::move(link));
    GoUp();
    while (!stopping() && child.AwaitEnd(0).empty()) {
      if (Wait(&child, stream.get(), POLLRDHUP, kNoDeadline) != 0) break;
    }
  }
  if (stopping()) berth_->End(kStopped);
  shutdown(stream.get(), SHUT_RDWR);
  const std::string how = AwaitProcess(child);
  pid_.store(0, std::memory_order_relaxed);
  if (stopping()) return kStopped;
  return link.ok() || absl::IsUnavailable(link.status()) ? how : std::string(MessageOf(link.status()));
}

absl::StatusOr<std::unique_ptr<Link>> SupervisedChild::Supervisor::AwaitGreeting(ChildProcess& child, UniqueFd socket, uint64_t number) {
  const std::string description = plain_channel_->target();
  ASSIGN_OR_RETURN(const std::unique_ptr<SocketpairGreeter> greeter, SocketpairGreeter::Start(std::move(socket), description));
  const auto epitaph = [berth = berth_, number, description] {
    const std::string how = berth->AwaitEnd(number);
    return how.empty() ? "" : Cat(description, " ", how);
  };
  const int64_t until = Later(options_.start_limit);
  while (true) {
    ASSIGN_OR_RETURN(std::unique_ptr<Link> link, greeter->Finish(epitaph));
    if (link != nullptr) return link;
    if (stopping()) return absl::CancelledError(kStopped);
    if (!child.AwaitEnd(0).empty()) return absl::UnavailableError("it has ended");
    if (MonotonicNs() >= until) {
      return absl::DeadlineExceededError(Cat("was not up in ", options_.start_limit.count(), " ms and was ended"));
    }
    Wait(&child, greeter->fd(), POLLIN, until);
  }
}

std::string SupervisedChild::Supervisor::AwaitProcess(ChildProcess& child) {
  std::string how = child.AwaitEnd(Later(options_.stop_grace));
  if (!how.empty()) return how;
  child.Signal(SIGTERM);
  how = child.AwaitEnd(Later(options_.stop_grace));
  if (how.empty()) {
    child.Signal(SIGKILL);
    how = child.AwaitEnd(kNoDeadline);
  }
  return Cat("closed its connection, did not end, and ", how);
}

void SupervisedChild::Supervisor::GoUp() {
  // Connected before anybody calls.
  plain_channel_->Get(/*wait_for_ready=*/false, kNoDeadline, nullptr).status().IgnoreError();
  {
    const std::lock_guard lock(mu_);
    up_ = true;
    ++ups_;
    changed_.notify_all();
  }
  if (options_.on_up) options_.on_up(channel_);
}

void SupervisedChild::Supervisor::GoDown(const std::string& how) {
  berth_->End(how);
  {
    const std::lock_guard lock(mu_);
    up_ = false;
    ++downs_;
    how_ = how;
    changed_.notify_all();
  }
  if (options_.on_down) options_.on_down(how);
}

int SupervisedChild::Supervisor::Wait(const ChildProcess* child, int fd, short events, int64_t until_ns) {
  if (child != nullptr && child->pidfd() < 0) until_ns = std::min(until_ns, MonotonicNs() + kLookNs);
  pollfd ready[] = {{.fd = wake_.get(), .events = POLLIN, .revents = 0},
                    {.fd = child == nullptr ? -1 : child->pidfd(), .events = POLLIN, .revents = 0},
                    {.fd = fd, .events = events, .revents = 0}};
  const timespec timeout = ToTimespec(until_ns - MonotonicNs());
  return ppoll(ready, 3, &timeout, nullptr) > 0 ? ready[2].revents : 0;
}

}  // namespace ipcrpc

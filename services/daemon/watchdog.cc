#include "services/daemon/watchdog.h"

#include <systemd/sd-daemon.h>

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "ipcrpc/generic/generic_stub.h"
#include "services/daemon/notify.h"

namespace ipcrpc::hosting {

struct Watchdog::State {
  std::mutex mu;
  std::condition_variable changed;
  bool ended = false;
};

// A call that nobody may be left to wait for: whoever is last drops it.
struct Watchdog::Probe {
  ClientContext context;
  ByteBuffer request = {nullptr, 0};  // an empty grpc.health.v1.HealthCheckRequest asks for the whole server
  ByteBuffer response;
  std::optional<Status> answer;  // guarded by State::mu

  static std::shared_ptr<Probe> Start(Server* server, const std::shared_ptr<State>& state) {
    auto probe = std::make_shared<Probe>();
    GenericStub(server->InProcessChannel(ChannelArguments()))
        .UnaryCall(&probe->context, "/grpc.health.v1.Health/Check", StubOptions(), &probe->request,
                   &probe->response, [probe, state](Status answer) {
                     const std::lock_guard lock(state->mu);
                     probe->answer = std::move(answer);
                     state->changed.notify_all();
                   });
    return probe;
  }
};

Watchdog::Watchdog(Server* server, const Logger& log)
    : server_(server), log_(log), state_(std::make_shared<State>()) {
  uint64_t usec = 0;
  if (sd_watchdog_enabled(0, &usec) > 0)
    thread_ = std::thread([this, usec] { Run(std::chrono::microseconds(usec / 2)); });
}

Watchdog::~Watchdog() {
  {
    const std::lock_guard lock(state_->mu);
    state_->ended = true;
    state_->changed.notify_all();
  }
  if (thread_.joinable()) thread_.join();
}

void Watchdog::Run(std::chrono::microseconds period) {
  std::unique_lock lock(state_->mu);
  while (!state_->ended) {
    lock.unlock();
    const auto next = std::chrono::steady_clock::now() + period;
    const std::shared_ptr<Probe> probe = Probe::Start(server_, state_);
    lock.lock();
    const auto answered = [&] { return state_->ended || probe->answer.has_value(); };
    const bool in_time = state_->changed.wait_until(lock, next, answered);
    if (!in_time) {
      log_.Log(LogSeverity::kError,
               "the server does not answer a call of its own: the watchdog is not told that it lives");
      state_->changed.wait(lock, answered);
    }
    if (!probe->answer.has_value()) {
      lock.unlock();
      return probe->context.TryCancel();
    }
    if (probe->answer->ok()) {
      NotifyAlive();
      if (!in_time) log_.Log(LogSeverity::kInfo, "the server answers again");
    } else if (!state_->ended) {
      log_.Log(LogSeverity::kError, "the server fails a call of its own: " + probe->answer->error_message());
    }
    state_->changed.wait_until(lock, next, [this] { return state_->ended; });
  }
}

}  // namespace ipcrpc::hosting

// Daemon: the life of a server between its start and its end.
#include "ipcrpc/daemon.h"

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <optional>
#include <semaphore>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "ipcrpc/ext/proto_server_reflection_plugin.h"
#include "ipcrpc/health_check_service_interface.h"
#include "services/daemon/activation.h"
#include "services/daemon/addresses.h"
#include "services/daemon/children.h"
#include "services/daemon/instance.h"
#include "services/daemon/log.h"
#include "services/daemon/notify.h"
#include "services/daemon/signals.h"
#include "services/daemon/watchdog.h"

namespace ipcrpc {

using Clock = std::chrono::steady_clock;

struct Daemon::State {
  explicit State(std::string name) : log(std::move(name)) {}

  // Ends the poll in Run(). Any thread.
  void Wake() {
    const uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = write(wake.get(), &one, sizeof one);
  }
  void Say(LogSeverity severity, std::string_view text) { log.Log(severity, text); }

  bool Start();
  void UsePassedSockets(const std::string& instance);
  void Serve();
  void Hear(int signal);
  void Reload();
  void BeginStop(bool by_successor);
  void CutShort();
  std::vector<std::string> Places() const;
  std::string Listening() const;

  const hosting::Logger log;
  hosting::Signals signals;  // before the first thread
  ServerBuilder builder;
  std::vector<std::string> addresses;  // as they were given
  std::vector<std::string> listen_at;  // with what holds besides
  bool one_instance = true;
  bool keep_sockets = false;
  Status log_fifo;  // what became of it
  std::vector<hosting::PassedSocket> passed = hosting::TakePassedSockets();
  std::chrono::milliseconds drain{10'000};
  std::vector<std::function<Status(Server&)>> on_start;
  std::vector<std::function<Status()>> on_reload;
  std::vector<std::function<void()>> on_stop;
  hosting::Children children{log};

  const UniqueFd wake{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::atomic<int> stops{0};  // asked for by Stop()
  std::atomic<bool> relieved{false};
  std::atomic<bool> ended{false};

  // Of Run().
  std::unique_ptr<Server> server;
  std::optional<hosting::Watchdog> watchdog;
  bool stopping = false;
  Clock::time_point drained;      // when calls are cancelled, once it stops
  std::binary_semaphore stop{0};  // of the thread that stops
};

Daemon::Daemon(std::string name) : state_(std::make_unique<State>(std::move(name))) {
  SetLogSink(
      [log = state_->log](LogSeverity severity, std::string_view text) { log.LogOfLibrary(severity, text); });
  if (hosting::Signals::Threads() > 1) {
    Log(LogSeverity::kWarning,
        "threads were started before the Daemon was made: a signal may end the process at once");
  }
}

Daemon::~Daemon() {
  // Not with the last copy of the logger, which the library holds.
  state_->log.fifo().Close();
}

Daemon& Daemon::Listen(const std::string& address, const std::string& unless_given) {
  state_->addresses.push_back(address);
  state_->listen_at.push_back(unless_given.empty() ? address : hosting::WithDefault(address, unless_given));
  return *this;
}

Daemon& Daemon::Register(Service* service) {
  state_->builder.RegisterService(service);
  return *this;
}

ServerBuilder& Daemon::builder() { return state_->builder; }

Daemon& Daemon::SetDrain(std::chrono::milliseconds drain) {
  state_->drain = drain;
  return *this;
}

Daemon& Daemon::SetTakeOver(bool allowed) {
  state_->builder.SetTakeOver(allowed, [state = state_.get()] {
    state->relieved = true;
    state->Wake();
  });
  return *this;
}

Daemon& Daemon::SetKeepSockets(bool keep) {
  state_->keep_sockets = keep;
  return *this;
}

Daemon& Daemon::SetOneInstance(bool one) {
  state_->one_instance = one;
  return *this;
}

Daemon& Daemon::SetLogFifo(const std::string& path) {
  state_->log_fifo = state_->log.fifo().Open(path, state_->log.name());
  return *this;
}

SupervisedChild& Daemon::Supervise(SupervisedChild::Options options) { return state_->children.Add(std::move(options)); }

Daemon::PreforkBuilder Daemon::Prefork(PreforkPool::Options options) {
  return PreforkBuilder(*this, state_->children.AddPool(std::move(options)));
}

Daemon& Daemon::OnStart(std::function<Status(Server&)> start) {
  state_->on_start.push_back(std::move(start));
  return *this;
}

Daemon& Daemon::OnReload(std::function<Status()> reload) {
  state_->on_reload.push_back(std::move(reload));
  return *this;
}

Daemon& Daemon::OnStop(std::function<void()> stop) {
  state_->on_stop.push_back(std::move(stop));
  return *this;
}

void Daemon::Log(LogSeverity severity, std::string_view text) const { state_->log.Log(severity, text); }

void Daemon::Stop() {
  ++state_->stops;
  state_->Wake();
}

int Daemon::Run() {
  if (!state_->Start()) return 1;
  state_->Serve();
  return 0;
}

// Where others find it. What came from whoever started us is no place.
std::vector<std::string> Daemon::State::Places() const {
  std::vector<std::string> places;
  for (const std::string& address : addresses) {
    if (!address.starts_with("stdio:") && address != ChildAddress()) places.push_back(address);
  }
  return places;
}

std::string Daemon::State::Listening() const {
  std::string text;
  for (const std::string& place : Places()) text += (text.empty() ? "listening on " : ", ") + place;
  return text;
}

bool Daemon::State::Start() {
  EnableDefaultHealthCheckService(true);
  reflection::InitProtoReflectionServerBuilderPlugin();
  const std::string instance = hosting::InstanceAddress(log.name(), addresses);
  // A worker is one of several; its parent is the one.
  if (!ChildAddress().empty()) one_instance = false;
  if (one_instance && !instance.empty()) builder.AddListeningPort(instance);
  for (const std::string& address : listen_at) builder.AddListeningPort(address);
  UsePassedSockets(instance);
  Status started = log_fifo;
  if (started.ok()) server = builder.BuildAndStart();
  if (started.ok() && server == nullptr) {
    const std::string prefix = "cannot listen on " + instance + ": ";
    const bool second = one_instance && builder.error().starts_with(prefix);
    started = Status(StatusCode::FAILED_PRECONDITION,
                     second ? "not as the one " + log.name() + ": " + builder.error().substr(prefix.size())
                            : builder.error());
  }
  if (started.ok()) started = children.Start();
  for (const auto& start : on_start) {
    if (started.ok()) started = start(*server);
  }
  if (started.ok()) return true;
  const std::string why = "cannot start: " + started.error_message();
  Say(LogSeverity::kError, why);
  hosting::NotifyStatus(why);
  if (server != nullptr) server->Shutdown(Clock::now());
  server.reset();
  children.Stop();
  return false;
}

void Daemon::State::UsePassedSockets(const std::string& instance) {
  std::set<std::string> wanted = {hosting::StoreName(instance)};
  for (const std::string& address : addresses) wanted.insert(hosting::StoreName(address));
  for (hosting::PassedSocket& socket : passed) {
    const bool stored = hosting::IsStoreName(socket.name);
    if (stored && (wanted.count(socket.name) == 0 || !hosting::IsReachable(socket.fd.get()))) {
      Say(LogSeverity::kInfo, socket.name + ", a socket that was kept, is of no use any more");
      hosting::Unstore(socket.name);
    } else {
      builder.AdoptListeningSocket(std::move(socket.fd));
    }
  }
  passed.clear();
  if (!keep_sockets || !hosting::HasManager()) return;
  builder.KeepListeningSockets(
      [](const std::string& address, int socket) { hosting::Store(address, socket); });
}

void Daemon::State::Serve() {
  std::thread waiter([this] {
    server->Wait();  // also for the only clients to hang up
    ended = true;
    Wake();
  });
  // There now, since a process that is short of threads is one that somebody wants to stop.
  std::thread stopper([this] {
    stop.acquire();
    for (const auto& each : on_stop) each();
    server->Shutdown(drained);
  });
  watchdog.emplace(server.get(), log);
  for (const std::string& place : Places()) Say(LogSeverity::kInfo, "listening on " + place);
  hosting::NotifyReady(Listening());
  children.Follow([this, ready = Listening()] {
    hosting::NotifyStatus(ready + children.Troubles());
    for (const auto& [service, up] : children.Services()) server->GetHealthCheckService()->SetServingStatus(service, up);
  });
  int heard_stops = 0;
  while (!ended) {
    pollfd ready[] = {{.fd = signals.fd(), .events = POLLIN, .revents = 0},
                      {.fd = wake.get(), .events = POLLIN, .revents = 0}};
    poll(ready, 2, -1);
    uint64_t wakes;
    [[maybe_unused]] const ssize_t got = read(wake.get(), &wakes, sizeof wakes);
    if (relieved && !stopping) BeginStop(true);
    for (; heard_stops < stops; ++heard_stops) Hear(SIGTERM);
    while (const int signal = signals.Take()) Hear(signal);
  }
  if (!stopping) BeginStop(false);
  stopper.join();
  waiter.join();
  server.reset();
  children.Stop();
}

void Daemon::State::Hear(int signal) {
  if (signal == SIGHUP && !on_reload.empty()) {
    if (!stopping) Reload();
  } else if (!stopping) {
    BeginStop(false);
  } else {
    CutShort();
  }
}

void Daemon::State::Reload() {
  hosting::NotifyReloading();
  std::string trouble;
  for (const auto& reload : on_reload) {
    const Status reloaded = reload();
    if (reloaded.ok()) continue;
    Say(LogSeverity::kError, "cannot reload: " + reloaded.error_message());
    trouble += "; cannot reload: " + reloaded.error_message();
  }
  if (trouble.empty()) Say(LogSeverity::kInfo, "reloaded");
  hosting::NotifyReady(Listening() + children.Troubles() + trouble);
}

void Daemon::State::BeginStop(bool by_successor) {
  drained = Clock::now() + drain;
  if (by_successor) {
    // The manager takes it for this daemon, which goes on.
    Say(LogSeverity::kInfo, "a successor has taken over");
    log.fifo().KeepFile();
  } else {
    hosting::NotifyStopping("calls have " + std::to_string(drain.count()) + " ms to end");
  }
  watchdog.reset();
  children.Follow(nullptr);
  server->GetHealthCheckService()->SetServingStatus(false);
  stopping = true;
  stop.release();
}

void Daemon::State::CutShort() {
  Say(LogSeverity::kWarning, "calls are cancelled; one more signal kills the process");
  signals.Release();
  server->Shutdown(Clock::now());
}

}  // namespace ipcrpc

// Server and ServerBuilder: addresses and services put together.
#include "ipcrpc/server.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <thread>
#include <utility>

#include "ipcrpc/argument_names.h"
#include "ipcrpc/create_channel.h"
#include "ipcrpc/generic/callback_generic_service.h"
#include "rpc/health/health_service.h"
#include "rpc/reflection/plugin.h"
#include "rpc/server_core.h"
#include "transport/base/clock.h"
#include "transport/base/fork_guard.h"
#include "transport/base/log.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/scheme.h"
#include "transport/takeover/kept_sockets.h"
#include "transport/takeover/offer.h"
#include "transport/takeover/succession.h"

namespace ipcrpc {

Service::Service() = default;
Service::~Service() = default;

namespace {

// For clients that have not heard yet that the server goes: those that are in a call, or between two, hear it at once.
constexpr int64_t kPatienceNs = 50'000'000;
// Nobody waits for one that was relieved.
constexpr int64_t kRelievedPatienceNs = 1'000'000'000;
// For those who are in a handshake.
constexpr int64_t kHandshakePatienceNs = 100'000'000;
constexpr std::chrono::milliseconds kPause{1};

class RunningServer final : public Server {
 public:
  // `health` is one of them, or null.
  RunningServer(std::shared_ptr<rpc::ServerCore> core, std::vector<std::unique_ptr<Service>> own_services,
                health::HealthService* health)
      : own_services_(std::move(own_services)), health_(health), core_(std::move(core)) {}

  ~RunningServer() override {
    ShutdownNs(kNoDeadline);
    std::unique_lock lock(mu_);
    changed_.wait(lock, [this] { return !relief_runs_; });
  }

  void Listen(const std::vector<std::shared_ptr<Listener>>& listeners) {
    core_->ExpectListeners(listeners.size(), [this] {
      std::lock_guard lock(mu_);
      deserted_ = true;
      changed_.notify_all();
    });
    for (const std::shared_ptr<Listener>& listener : listeners) {
      const uint64_t id = core_->runtime().Listen(
          listener, [core = core_](std::unique_ptr<Link> link) { core->AddLink(std::move(link)); },
          [core = core_] { core->ListenerExhausted(); });
      listening_.push_back({id, listener});
    }
  }

  // After Listen().
  void OfferTakeOver(std::vector<takeover::Place> places, std::function<void()> on_relieved) {
    if (places.empty()) return;
    on_relieved_ = std::move(on_relieved);
    offer_ = std::make_unique<takeover::Offer>(std::move(places), [this] { Relieve(); });
    offer_watch_ = core_->runtime().Watch(offer_->fd(), [this] { offer_->OnReadable(); });
  }

  void Shutdown() override { ShutdownNs(kNoDeadline); }

  void Wait() override {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [this] { return down_ || deserted_; });
    if (down_) return;
    lock.unlock();
    ShutdownNs(kNoDeadline);
  }

  HealthCheckServiceInterface* GetHealthCheckService() override { return health_ == nullptr ? nullptr : &health_->statuses(); }

  bool relieved() const override { return relieved_.load(std::memory_order_acquire); }

  std::shared_ptr<Channel> InProcessChannel(const ChannelArguments& arguments) override {
    return CreateCustomChannel(InProcessAddress(), arguments);
  }

 private:
  struct Listening {
    uint64_t id;
    std::shared_ptr<Listener> listener;
  };

  std::shared_ptr<Channel> InterceptedInProcessChannel(const ChannelArguments& arguments, ClientInterceptorFactories creators) override {
    return experimental::CreateCustomChannelWithInterceptors(InProcessAddress(), nullptr, arguments, std::move(creators));
  }

  std::string InProcessAddress() {
    std::lock_guard lock(mu_);
    if (inproc_address_.empty()) {
      static std::atomic<uint64_t> next{0};
      inproc_address_ = Cat("inproc:server-", next.fetch_add(1));
      if (!shutting_down_) ListenInProcess();
    }
    return inproc_address_;
  }

  // mu_ held, before the shutdown.
  void ListenInProcess() {
    absl::StatusOr<Address> address = ParseAddress(inproc_address_);
    absl::StatusOr<std::unique_ptr<Listener>> made = address.ok() ? ipcrpc::Listen(*address) : address.status();
    if (!made.ok()) {
      Log(LogSeverity::kWarning, Cat("no in-process channel: ", MessageOf(made.status())));
      return;
    }
    const std::shared_ptr<Listener> listener = *std::move(made);
    const uint64_t id = core_->runtime().Listen(
        listener, [core = core_](std::unique_ptr<Link> link) { core->AddLink(std::move(link)); }, [] {});
    listening_.push_back({id, listener});
  }

  void ShutdownNs(int64_t deadline_ns) override {
    if (!fork_guard_.ours()) return;  // it is the parent's
    core_->LimitDrain(deadline_ns);
    {
      std::unique_lock lock(mu_);
      if (std::exchange(shutting_down_, true)) {
        changed_.wait(lock, [this] { return down_; });
        return;
      }
    }
    if (offer_ != nullptr) {
      core_->runtime().Unwatch(offer_watch_);
      offer_.reset();
    }
    StopListening(deadline_ns);
    if (health_ != nullptr) health_->statuses().End();
    core_->Drain(relieved() ? kRelievedPatienceNs : kPatienceNs);
    std::lock_guard lock(mu_);
    down_ = true;
    changed_.notify_all();
  }

  void StopListening(int64_t deadline_ns) {
    const int64_t patience = std::min(deadline_ns, MonotonicNs() + kHandshakePatienceNs);
    IoRuntime& runtime = core_->runtime();
    const auto retired = [](const Listening& listening) { return listening.listener->Retire(); };
    while (!std::all_of(listening_.begin(), listening_.end(), retired) && MonotonicNs() < patience && !runtime.stopped()) {
      if (!runtime.threaded()) runtime.RunOnce();
      std::this_thread::sleep_for(kPause);
    }
    for (const Listening& listening : listening_) runtime.Unlisten(listening.id);
    listening_.clear();
  }

  // On the housekeeping thread, where connections are accepted too: after it none is.
  void Relieve() {
    for (const Listening& listening : listening_) {
      if (listening.listener->Retire()) core_->runtime().Unlisten(listening.id);
    }
    relieved_.store(true, std::memory_order_release);
    if (on_relieved_) on_relieved_();
    {
      std::lock_guard lock(mu_);
      relief_runs_ = true;
    }
    const bool submitted = core_->runtime().Submit([this] {
      ShutdownNs(kNoDeadline);
      std::lock_guard lock(mu_);
      relief_runs_ = false;
      changed_.notify_all();
    });
    if (submitted) return;
    std::lock_guard lock(mu_);
    relief_runs_ = false;
    Log(LogSeverity::kWarning, "a successor has taken over, and no thread is left to shut this server down: its program has to");
  }

  const ForkGuard fork_guard_;
  const std::vector<std::unique_ptr<Service>> own_services_;
  health::HealthService* const health_;
  const std::shared_ptr<rpc::ServerCore> core_;
  std::vector<Listening> listening_;
  std::unique_ptr<takeover::Offer> offer_;
  uint64_t offer_watch_ = 0;
  std::function<void()> on_relieved_;
  std::atomic<bool> relieved_{false};
  std::string inproc_address_;  // once somebody has asked for a channel
  std::mutex mu_;
  std::condition_variable changed_;
  bool deserted_ = false;
  bool shutting_down_ = false;
  bool down_ = false;
  bool relief_runs_ = false;  // a worker shuts down
};

std::string ServiceOf(const std::string& method) { return method.substr(1, method.rfind('/') - 1); }

}  // namespace

struct ServerBuilder::Plan {
  struct Port {
    std::string address;
    int* selected;
  };
  std::vector<Port> ports;
  std::vector<Service*> services;
  std::vector<CallbackGenericService*> generic_services;
  rpc::ServerLimits limits;
  internal::ServerInterceptorFactories interceptors;
  std::shared_ptr<Runtime> runtime;
  bool take_over = false;
  std::function<void()> on_relieved;
  takeover::KeptSockets kept;
  std::function<void(const std::string&, int)> keep;
  AuthorizationPolicy authorization;
  std::string error;

  struct Bound {
    std::vector<std::shared_ptr<Listener>> listeners;
    std::vector<takeover::Place> places;  // that can be handed over
  };
  absl::StatusOr<Bound> Bind();
};

// Listens at each address: with a socket that was passed, or in the place of a running server where that lets us.
absl::StatusOr<ServerBuilder::Plan::Bound> ServerBuilder::Plan::Bind() {
  std::vector<Address> addresses;
  for (const Port& port : ports) {
    absl::StatusOr<Address> address = ParseAddress(port.address);
    if (!address.ok()) return absl::InvalidArgumentError(Cat("cannot listen on ", port.address, ": ", MessageOf(address.status())));
    addresses.push_back(*std::move(address));
  }
  takeover::Succession succession(addresses);
  Bound bound;
  std::vector<size_t> taken;  // which of the places
  std::vector<std::pair<size_t, Listener*>> fresh;  // by port: bound here, for somebody to keep
  for (size_t i = 0; i < addresses.size(); ++i) {
    const auto wrong = [&](const absl::Status& why) {
      return absl::Status(why.code(), Cat("cannot listen on ", ports[i].address, ": ", MessageOf(why)));
    };
    absl::StatusOr<std::unique_ptr<Listener>> adopted = kept.Take(addresses[i]);
    if (!adopted.ok()) return wrong(adopted.status());
    if (*adopted != nullptr) {
      bound.listeners.push_back(*std::move(adopted));
      continue;
    }
    absl::StatusOr<std::unique_ptr<Listener>> listener = ipcrpc::Listen(addresses[i]);
    if (listener.ok()) {
      bound.listeners.push_back(*std::move(listener));
      if (keep) fresh.emplace_back(i, bound.listeners.back().get());
      if (!take_over || bound.listeners.back()->handles().empty()) continue;
      absl::StatusOr<takeover::Place> place = takeover::MakePlace(bound.listeners.back(), nullptr);
      if (!place.ok()) return wrong(place.status());
      bound.places.push_back(*std::move(place));
    } else if (take_over && absl::IsAlreadyExists(listener.status())) {
      absl::StatusOr<takeover::Place> place = succession.Take(addresses[i]);
      if (!place.ok()) {
        return wrong(absl::Status(listener.status().code(), Cat(MessageOf(listener.status()), "; it cannot be taken over: ",
                                                                MessageOf(place.status()))));
      }
      bound.listeners.push_back(place->listener);
      taken.push_back(bound.places.size());
      bound.places.push_back(*std::move(place));
    } else {
      return wrong(listener.status());
    }
  }
  RETURN_IF_ERROR(kept.CheckAllTaken());
  std::vector<takeover::Place*> confirmed;
  for (const size_t i : taken) confirmed.push_back(&bound.places[i]);
  RETURN_IF_ERROR(succession.Confirm(confirmed));
  // Once nothing can fail any more: else they would stay with nobody to serve them.
  for (const auto& [port, listener] : fresh) {
    if (const int socket = takeover::KeepSocketOf(*listener); socket >= 0) keep(ports[port].address, socket);
  }
  return bound;
}

ServerBuilder::ServerBuilder() : plan_(std::make_unique<Plan>()) {}
ServerBuilder::~ServerBuilder() = default;

ServerBuilder& ServerBuilder::AddListeningPort(const std::string& address, std::shared_ptr<ServerCredentials>, int* selected_port) {
  if (selected_port != nullptr) *selected_port = 0;
  plan_->ports.push_back({address, selected_port});
  return *this;
}

ServerBuilder& ServerBuilder::RegisterService(Service* service) {
  plan_->services.push_back(service);
  return *this;
}

ServerBuilder& ServerBuilder::RegisterCallbackGenericService(CallbackGenericService* service) {
  plan_->generic_services.push_back(service);
  return *this;
}

ServerBuilder& ServerBuilder::SetMaxReceiveMessageSize(int bytes) {
  plan_->limits.max_receive_bytes = bytes < 0 ? std::numeric_limits<int64_t>::max() : bytes;
  return *this;
}

ServerBuilder& ServerBuilder::SetMaxSendMessageSize(int bytes) {
  plan_->limits.max_send_bytes = bytes < 0 ? std::numeric_limits<int64_t>::max() : bytes;
  return *this;
}

ServerBuilder& ServerBuilder::AddChannelArgument(const std::string& key, int value) {
  if (key == IPCRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH) return SetMaxReceiveMessageSize(value);
  if (key == IPCRPC_ARG_MAX_SEND_MESSAGE_LENGTH) return SetMaxSendMessageSize(value);
  if (key == IPCRPC_ARG_MAX_CONCURRENT_STREAMS && value > 0) plan_->limits.max_streams = static_cast<uint32_t>(value);
  if (key == IPCRPC_ARG_HANDSHAKE_TIMEOUT_MS && value > 0) plan_->limits.greeting_ns = int64_t{value} * 1'000'000;
  if (key == IPCRPC_ARG_KEEPALIVE_TIME_MS) plan_->limits.keepalive.SetTimeMs(value);
  if (key == IPCRPC_ARG_KEEPALIVE_TIMEOUT_MS) plan_->limits.keepalive.SetTimeoutMs(value);
  if (key == IPCRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS) plan_->limits.keepalive.without_calls = value != 0;
  return *this;
}

ServerBuilder& ServerBuilder::AddChannelArgument(const std::string&, const std::string&) { return *this; }

ServerBuilder& ServerBuilder::SetRuntime(std::shared_ptr<Runtime> runtime) {
  plan_->runtime = std::move(runtime);
  return *this;
}

ServerBuilder& ServerBuilder::AdoptListeningSocket(UniqueFd socket) {
  plan_->kept.Add(std::move(socket));
  return *this;
}

ServerBuilder& ServerBuilder::KeepListeningSockets(std::function<void(const std::string& address, int socket)> keep) {
  plan_->keep = std::move(keep);
  return *this;
}

ServerBuilder& ServerBuilder::SetAuthorizationPolicy(AuthorizationPolicy policy) {
  plan_->authorization = std::move(policy);
  return *this;
}

ServerBuilder& ServerBuilder::SetTakeOver(bool allowed, std::function<void()> on_relieved) {
  plan_->take_over = allowed;
  plan_->on_relieved = std::move(on_relieved);
  return *this;
}

void ServerBuilder::experimental_type::SetInterceptorCreators(ServerInterceptorFactories interceptor_creators) {
  builder_->plan_->interceptors = std::move(interceptor_creators);
}

const std::string& ServerBuilder::error() const { return plan_->error; }

std::unique_ptr<Server> ServerBuilder::BuildAndStart() {
  std::vector<Service*> services = plan_->services;
  std::vector<std::unique_ptr<Service>> own;
  auto names = std::make_shared<std::vector<std::string>>();
  if (reflection::Enabled()) own = reflection::MakeServices([names] { return *names; });
  health::HealthService* health = nullptr;
  if (DefaultHealthCheckServiceEnabled()) {
    own.push_back(std::make_unique<health::HealthService>());
    health = static_cast<health::HealthService*>(own.back().get());
  }
  for (const auto& service : own) services.push_back(service.get());
  rpc::MethodTable methods;
  if (plan_->generic_services.size() > 1) {
    plan_->error = "there can be one generic service; a second one was registered";
    return nullptr;
  }
  for (CallbackGenericService* generic : plan_->generic_services) methods.SetRest(generic->NewHandler());
  std::set<std::string> service_names;
  for (const Service* service : services) {
    for (const auto& method : service->methods()) {
      service_names.insert(ServiceOf(method->name()));
      if (!methods.Add(*method)) {
        plan_->error = Cat("two services have the method ", method->name());
        return nullptr;
      }
    }
  }
  names->assign(service_names.begin(), service_names.end());
  absl::StatusOr<rpc::AccessTable> access = rpc::AccessTable::Make(plan_->authorization, services, methods.rest() != nullptr);
  if (!access.ok()) {
    plan_->error = std::string(MessageOf(access.status()));
    return nullptr;
  }
  methods.Guard(*std::move(access));

  const std::shared_ptr<IoRuntime> runtime = plan_->runtime == nullptr ? IoRuntime::Default() : plan_->runtime->io();
  if (plan_->take_over && !runtime->threaded()) {
    plan_->error = "SetTakeOver() needs a runtime with threads: who is relieved shuts down by itself";
    return nullptr;
  }
  if (plan_->take_over && plan_->keep) {
    plan_->error = "KeepListeningSockets() and SetTakeOver(true) exclude each other: an address is kept, or handed over";
    return nullptr;
  }
  absl::StatusOr<Plan::Bound> bound = plan_->Bind();
  if (!bound.ok()) {
    plan_->error = std::string(MessageOf(bound.status()));
    return nullptr;
  }
  auto core = std::make_shared<rpc::ServerCore>(std::move(methods), plan_->limits, std::move(plan_->interceptors), runtime);
  auto server = std::make_unique<RunningServer>(std::move(core), std::move(own), health);
  server->Listen(bound->listeners);
  server->OfferTakeOver(std::move(bound->places), plan_->on_relieved);
  for (const Plan::Port& port : plan_->ports) {
    if (port.selected != nullptr) *port.selected = 1;
  }
  return server;
}

}  // namespace ipcrpc

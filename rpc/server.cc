// Server and ServerBuilder: addresses and services put together.
#include "ipcrpc/server.h"

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "rpc/reflection/plugin.h"
#include "rpc/server_core.h"
#include "transport/base/clock.h"
#include "transport/base/fork_guard.h"
#include "transport/base/strings.h"
#include "transport/scheme.h"

namespace ipcrpc {

Service::Service() = default;
Service::~Service() = default;

namespace {

class RunningServer final : public Server {
 public:
  RunningServer(std::shared_ptr<rpc::ServerCore> core, std::vector<std::unique_ptr<Service>> own_services)
      : own_services_(std::move(own_services)), core_(std::move(core)) {}

  ~RunningServer() override { ShutdownNs(kNoDeadline); }

  void Listen(std::vector<std::unique_ptr<Listener>> listeners) {
    core_->ExpectListeners(listeners.size(), [this] {
      std::lock_guard lock(mu_);
      deserted_ = true;
      changed_.notify_all();
    });
    for (std::unique_ptr<Listener>& listener : listeners) {
      listening_.push_back(core_->runtime().Listen(
          std::move(listener), [core = core_](std::unique_ptr<Link> link) { core->AddLink(std::move(link)); },
          [core = core_] { core->ListenerExhausted(); }));
    }
  }

  void Shutdown() override { ShutdownNs(kNoDeadline); }

  void Wait() override {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [this] { return down_ || deserted_; });
    if (down_) return;
    lock.unlock();
    ShutdownNs(kNoDeadline);
  }

 private:
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
    for (const uint64_t id : listening_) core_->runtime().Unlisten(id);
    core_->Drain();
    std::lock_guard lock(mu_);
    down_ = true;
    changed_.notify_all();
  }

  const ForkGuard fork_guard_;
  const std::vector<std::unique_ptr<Service>> own_services_;
  const std::shared_ptr<rpc::ServerCore> core_;
  std::vector<uint64_t> listening_;
  std::mutex mu_;
  std::condition_variable changed_;
  bool deserted_ = false;
  bool shutting_down_ = false;
  bool down_ = false;
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
  rpc::ServerLimits limits;
  std::shared_ptr<Runtime> runtime;
  std::string error;
};

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

ServerBuilder& ServerBuilder::SetMaxReceiveMessageSize(int bytes) {
  plan_->limits.max_receive_bytes = bytes < 0 ? std::numeric_limits<int64_t>::max() : bytes;
  return *this;
}

ServerBuilder& ServerBuilder::SetMaxSendMessageSize(int bytes) {
  plan_->limits.max_send_bytes = bytes < 0 ? std::numeric_limits<int64_t>::max() : bytes;
  return *this;
}

ServerBuilder& ServerBuilder::AddChannelArgument(const std::string& key, int value) {
  if (key == "ipcrpc.max_receive_message_length") return SetMaxReceiveMessageSize(value);
  if (key == "ipcrpc.max_send_message_length") return SetMaxSendMessageSize(value);
  if (key == "ipcrpc.max_concurrent_streams" && value > 0) plan_->limits.max_streams = static_cast<uint32_t>(value);
  return *this;
}

ServerBuilder& ServerBuilder::AddChannelArgument(const std::string&, const std::string&) { return *this; }

ServerBuilder& ServerBuilder::SetRuntime(std::shared_ptr<Runtime> runtime) {
  plan_->runtime = std::move(runtime);
  return *this;
}

const std::string& ServerBuilder::error() const { return plan_->error; }

std::unique_ptr<Server> ServerBuilder::BuildAndStart() {
  std::vector<Service*> services = plan_->services;
  std::vector<std::unique_ptr<Service>> own;
  auto names = std::make_shared<std::vector<std::string>>();
  if (reflection::Enabled()) {
    own = reflection::MakeServices([names] { return *names; });
    for (const auto& service : own) services.push_back(service.get());
  }
  rpc::MethodTable methods;
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

  std::vector<std::unique_ptr<Listener>> listeners;
  for (const Plan::Port& port : plan_->ports) {
    absl::StatusOr<Address> address = ParseAddress(port.address);
    absl::StatusOr<std::unique_ptr<Listener>> listener = address.ok() ? Listen(*address) : address.status();
    if (!listener.ok()) {
      plan_->error = Cat("cannot listen on ", port.address, ": ", MessageOf(listener.status()));
      return nullptr;
    }
    listeners.push_back(*std::move(listener));
  }
  auto core = std::make_shared<rpc::ServerCore>(std::move(methods), plan_->limits,
                                                plan_->runtime == nullptr ? IoRuntime::Default() : plan_->runtime->io());
  auto server = std::make_unique<RunningServer>(std::move(core), std::move(own));
  server->Listen(std::move(listeners));
  for (const Plan::Port& port : plan_->ports) {
    if (port.selected != nullptr) *port.selected = 1;
  }
  return server;
}

}  // namespace ipcrpc

#include "ipcrpc/prefork.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "services/child/crew.h"
#include "services/child/forwarded_call.h"

namespace ipcrpc {

using internal::RpcMethod;

namespace {

size_t SizeOf(const PreforkPool::Options& options) {
  return options.workers > 0 ? static_cast<size_t>(options.workers) : std::max(1u, std::thread::hardware_concurrency());
}

// Of "/package.Service/Method".
std::string ServiceOf(const std::string& method) {
  const size_t slash = method.rfind('/');
  return method.empty() || slash == 0 || slash == std::string::npos ? "" : method.substr(1, slash - 1);
}

}  // namespace

class PreforkPool::State {
 public:
  explicit State(Options its_options);

  const Options options;
  Crew crew;
  std::vector<std::unique_ptr<Front>> fronts;
  std::unique_ptr<ByName> by_name;
  std::vector<std::string> services;
};

// One generated service's place. Each of its methods is one of messages both ways here, whose handler knows what it is in truth.
class PreforkPool::Front final : public Service {
 public:
  Front(Crew& crew, const Service& generated) {
    SetAuthorization(generated.authorization());
    for (const auto& method : generated.methods()) {
      methods_of_.push_back(std::make_unique<Forwarding>(crew, method->method_type()));
      AddMethod(std::make_unique<internal::RpcServiceMethod>(method->name().c_str(), RpcMethod::BIDI_STREAMING,
                                                             methods_of_.back()->HandlerOf(method->name())));
    }
  }

 private:
  class Forwarding final : public CallbackGenericService {
   public:
    Forwarding(Crew& crew, RpcMethod::RpcType type) : crew_(crew), type_(type) {}
    std::unique_ptr<internal::MethodHandler> HandlerOf(const std::string& method) { return NewHandler(method); }
    ServerGenericBidiReactor* CreateReactor(GenericCallbackServerContext* context) override {
      return new ForwardedCall(crew_, context, type_);
    }

   private:
    Crew& crew_;
    const RpcMethod::RpcType type_;
  };

  std::vector<std::unique_ptr<Forwarding>> methods_of_;
};

class PreforkPool::ByName final : public CallbackGenericService {
 public:
  ByName(Crew& crew, std::vector<std::string> services) : crew_(crew), services_(std::move(services)) {}

  ServerGenericBidiReactor* CreateReactor(GenericCallbackServerContext* context) override {
    if (std::find(services_.begin(), services_.end(), ServiceOf(context->method())) == services_.end()) return nullptr;
    return new ForwardedCall(crew_, context, RpcMethod::BIDI_STREAMING);
  }

 private:
  Crew& crew_;
  const std::vector<std::string> services_;
};

PreforkPool::State::State(Options its_options) : options(std::move(its_options)), crew(SizeOf(options)) {
  const std::string name = options.worker.NameOrProgram();
  int number = 0;
  for (Hand& hand : crew.hands()) {
    SupervisedChild::Options one = options.worker;
    one.name = name + "-" + std::to_string(++number);
    one.on_up = [&hand, &all = this->options, name = one.name](const std::shared_ptr<Channel>& channel) {
      hand.up = true;
      if (all.worker.on_up) all.worker.on_up(channel);
      if (all.on_worker_up) all.on_worker_up(name);
    };
    one.on_down = [&hand, &all = this->options, name = one.name](const std::string& how) {
      hand.up = false;
      if (all.worker.on_down) all.worker.on_down(how);
      if (all.on_worker_down) all.on_worker_down(name, how);
    };
    hand.child = std::make_unique<SupervisedChild>(std::move(one));
  }
}

PreforkPool::PreforkPool(Options options) : state_(std::make_unique<State>(std::move(options))) {}
PreforkPool::~PreforkPool() { Stop(); }

Service* PreforkPool::AddFront(const Service& generated) {
  state_->fronts.push_back(std::make_unique<Front>(state_->crew, generated));
  if (!generated.methods().empty()) state_->services.push_back(ServiceOf(generated.methods().front()->name()));
  return state_->fronts.back().get();
}

CallbackGenericService* PreforkPool::FrontOf(std::vector<std::string> services) {
  state_->services.insert(state_->services.end(), services.begin(), services.end());
  state_->by_name = std::make_unique<ByName>(state_->crew, std::move(services));
  return state_->by_name.get();
}

Status PreforkPool::Start() {
  for (Hand& hand : state_->crew.hands()) {
    if (Status started = hand.child->Start(); !started.ok()) return started;
  }
  return Status::OK;
}

Status PreforkPool::WaitUntilUp(std::chrono::milliseconds patience) {
  const auto until = std::chrono::steady_clock::now() + patience;
  for (Hand& hand : state_->crew.hands()) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (Status up = hand.child->WaitUntilUp(std::max(left, std::chrono::milliseconds(0))); !up.ok()) return up;
  }
  return Status::OK;
}

void PreforkPool::BeginStop() {
  for (Hand& hand : state_->crew.hands()) hand.child->BeginStop();
}

void PreforkPool::Stop() {
  BeginStop();
  for (Hand& hand : state_->crew.hands()) hand.child->Stop();
}

std::vector<PreforkPool::Worker> PreforkPool::workers() const {
  std::vector<Worker> all;
  for (const Hand& hand : state_->crew.hands()) {
    // One whose end is just being noticed has no process any more, though nobody has been told yet.
    const pid_t pid = hand.child->pid();
    all.push_back({.name = hand.child->name(),
                   .pid = pid,
                   .up = pid != 0 && hand.up,
                   .calls_in_progress = hand.in_progress,
                   .calls_done = hand.done,
                   .restarts = hand.child->restarts()});
  }
  return all;
}

const std::vector<std::string>& PreforkPool::services() const { return state_->services; }

}  // namespace ipcrpc

#include "services/daemon/children.h"

#include <algorithm>
#include <utility>

namespace ipcrpc::hosting {
namespace {

// What the service manager has said is for the daemon itself.
void HideManager(SupervisedChild::Options& options) {
  for (const char* variable : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}) options.environment.push_back(variable);
}

// A try to start ends by itself in this time.
std::chrono::milliseconds PatienceWith(const SupervisedChild::Options& options) {
  return options.start_limit + 2 * options.stop_grace + std::chrono::seconds(1);
}

}  // namespace

SupervisedChild& Children::Add(SupervisedChild::Options options) {
  HideManager(options);
  patience_ = std::max(patience_, PatienceWith(options));
  const std::string name = options.NameOrProgram();
  options.on_up = [this, name, its_own = std::move(options.on_up)](const std::shared_ptr<Channel>& channel) {
    NoteUp(name);
    if (its_own) its_own(channel);
  };
  options.on_down = [this, name, its_own = std::move(options.on_down)](const std::string& how) {
    NoteDown(name, how);
    if (its_own) its_own(how);
  };
  return *children_.emplace_back(std::make_unique<SupervisedChild>(std::move(options)));
}

PreforkPool& Children::AddPool(PreforkPool::Options options) {
  HideManager(options.worker);
  patience_ = std::max(patience_, PatienceWith(options.worker));
  options.on_worker_up = [this, its_own = std::move(options.on_worker_up)](const std::string& worker) {
    NoteUp(worker);
    if (its_own) its_own(worker);
  };
  options.on_worker_down = [this, its_own = std::move(options.on_worker_down)](const std::string& worker, const std::string& how) {
    NoteDown(worker, how);
    if (its_own) its_own(worker, how);
  };
  return *pools_.emplace_back(std::make_unique<PreforkPool>(std::move(options)));
}

Status Children::Start() {
  Status status;
  // All begin before any is waited for.
  for (const auto& child : children_) status = status.ok() ? child->Start() : status;
  for (const auto& pool : pools_) status = status.ok() ? pool->Start() : status;
  for (const auto& child : children_) status = status.ok() ? child->WaitUntilUp(patience_) : status;
  for (const auto& pool : pools_) status = status.ok() ? pool->WaitUntilUp(patience_) : status;
  return status;
}

void Children::Follow(std::function<void()> changed) {
  const std::lock_guard lock(follow_mu_);
  changed_ = std::move(changed);
  if (changed_) changed_();
}

void Children::Stop() {
  Follow(nullptr);
  {
    const std::lock_guard lock(mu_);
    stopping_ = true;
  }
  for (const auto& child : children_) child->BeginStop();
  for (const auto& pool : pools_) pool->BeginStop();
  for (const auto& child : children_) child->Stop();
  for (const auto& pool : pools_) pool->Stop();
}

std::string Children::Troubles() const {
  const std::lock_guard lock(mu_);
  std::string text;
  for (const auto& [name, how] : down_) text += "; " + name + " " + how;
  return text;
}

std::map<std::string, bool> Children::Services() const {
  std::map<std::string, bool> services;
  for (const auto& pool : pools_) {
    bool up = false;
    for (const PreforkPool::Worker& worker : pool->workers()) up = up || worker.up;
    for (const std::string& service : pool->services()) services[service] = up;
  }
  return services;
}

void Children::NoteUp(const std::string& name) {
  log_.Log(LogSeverity::kInfo, name + " is up");
  {
    const std::lock_guard lock(mu_);
    down_.erase(name);
  }
  Changed();
}

void Children::NoteDown(const std::string& name, const std::string& how) {
  bool expected;
  {
    const std::lock_guard lock(mu_);
    expected = stopping_;
    down_[name] = how;
  }
  log_.Log(expected ? LogSeverity::kInfo : LogSeverity::kWarning, name + " " + how);
  Changed();
}

void Children::Changed() {
  const std::lock_guard lock(follow_mu_);
  if (changed_) changed_();
}

}  // namespace ipcrpc::hosting

#include "ipcrpc/child.h"

#include <cstdlib>
#include <memory>
#include <utility>

#include "services/child/supervisor.h"

namespace ipcrpc {

std::string ChildAddress() {
  static const std::string address = [] {
    constexpr char kName[] = "IPCRPC_CHILD_ADDRESS";
    const char* const value = getenv(kName);
    const std::string taken = value == nullptr ? "" : value;
    unsetenv(kName);
    return taken;
  }();
  return address;
}

std::string SupervisedChild::Options::NameOrProgram() const {
  if (!name.empty() || argv.empty()) return name;
  return argv[0].substr(argv[0].rfind('/') + 1);
}

SupervisedChild::SupervisedChild(Options options) : supervisor_(std::make_shared<Supervisor>(std::move(options))) {}
SupervisedChild::~SupervisedChild() { Stop(); }

Status SupervisedChild::Start() { return supervisor_->Start(supervisor_); }
Status SupervisedChild::WaitUntilUp(std::chrono::milliseconds patience) { return supervisor_->WaitUntilUp(patience); }
void SupervisedChild::Stop() { supervisor_->Stop(); }
void SupervisedChild::BeginStop() { supervisor_->BeginStop(); }

const std::shared_ptr<Channel>& SupervisedChild::channel() const { return supervisor_->channel(); }
const std::string& SupervisedChild::name() const { return supervisor_->name(); }
pid_t SupervisedChild::pid() const { return supervisor_->pid(); }
uint64_t SupervisedChild::restarts() const { return supervisor_->restarts(); }

}  // namespace ipcrpc

#include "rpc/message_fds.h"

#include <fcntl.h>

#include <utility>

#include "transport/base/scm_rights.h"
#include "transport/base/strings.h"
#include "transport/scheme.h"

namespace ipcrpc::rpc {
namespace {

std::string ThoseThatCan() {
  std::vector<std::string_view> names;
  for (const Scheme& scheme : Schemes()) {
    if (scheme.capabilities.passes_fds) names.push_back(scheme.name);
  }
  return Join(names, ", ");
}

}  // namespace

Status CheckFds(std::span<const UniqueFd> attached, const Link& link) {
  if (!link.capabilities().passes_fds) {
    return Status(StatusCode::FAILED_PRECONDITION, Cat("file descriptors cannot go over ", link.description(),
                                                       "; transports that pass them: ", ThoseThatCan()));
  }
  if (attached.size() > kMaxFdsPerMessage) {
    return Status(StatusCode::RESOURCE_EXHAUSTED, Cat(attached.size(), " file descriptors are attached to one message; ",
                                                      kMaxFdsPerMessage, " can go with it"));
  }
  for (const UniqueFd& fd : attached) {
    if (fcntl(fd.get(), F_GETFD) >= 0) continue;
    return Status(StatusCode::INVALID_ARGUMENT, Cat("the file descriptor ", fd.get(), " is attached to a message and is not open"));
  }
  return Status();
}

UnreadFds::~UnreadFds() {
  DropWaiting();
  Close(std::move(current_));
}

void UnreadFds::Push(std::vector<UniqueFd> fds) {
  count_->fetch_add(static_cast<uint32_t>(fds.size()), std::memory_order_relaxed);
  waiting_.push_back(std::move(fds));
}

void UnreadFds::Advance(bool has_some) {
  Close(std::exchange(current_, {}));
  if (!has_some || waiting_.empty()) return;
  current_ = std::move(waiting_.front());
  waiting_.pop_front();
}

std::vector<UniqueFd> UnreadFds::Take() {
  count_->fetch_sub(static_cast<uint32_t>(current_.size()), std::memory_order_relaxed);
  return std::exchange(current_, {});
}

void UnreadFds::DropWaiting() {
  for (std::vector<UniqueFd>& fds : waiting_) Close(std::move(fds));
  waiting_.clear();
}

void UnreadFds::Close(std::vector<UniqueFd> fds) {
  count_->fetch_sub(static_cast<uint32_t>(fds.size()), std::memory_order_relaxed);
  CloseElsewhere(std::move(fds));
}

}  // namespace ipcrpc::rpc

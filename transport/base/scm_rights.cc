#include "transport/base/scm_rights.h"

#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "transport/base/status_macros.h"

namespace ipcrpc {
namespace {

constexpr size_t kControlBytes = CMSG_SPACE(kMaxFdsPerMessage * sizeof(int));

// Beyond so many that wait, whoever closes waits itself.
constexpr int kMaxClosers = 16;
std::atomic<int> closers{0};

void* Close(void* argument) {
  delete static_cast<std::vector<UniqueFd>*>(argument);
  closers.fetch_sub(1, std::memory_order_relaxed);
  return nullptr;
}

}  // namespace

ssize_t SendWithFds(int socket, std::span<iovec> bytes, std::span<const int> fds) {
  IPCRPC_CHECK(fds.size() <= kMaxFdsPerMessage);
  alignas(cmsghdr) char control[kControlBytes] = {};
  msghdr message = {};
  message.msg_iov = bytes.data();
  message.msg_iovlen = bytes.size();
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(part), fds.data(), fds.size_bytes());
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  return sent;
}

ssize_t ReceiveWithFds(int socket, std::span<iovec> bytes, ArrivedFds* arrived) {
  alignas(cmsghdr) char control[kControlBytes];
  msghdr message = {};
  message.msg_iov = bytes.data();
  message.msg_iovlen = bytes.size();
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t got;
  do {
    got = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  if (got < 0 || (message.msg_controllen == 0 && (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) == 0)) return got;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
    const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
      arrived->fds.emplace_back(fd);
    }
  }
  // The kernel drops what there is no room for in `control`, and what there is no free number for.
  const bool cut = (message.msg_flags & MSG_CTRUNC) != 0;
  arrived->too_many = arrived->fds.size() > kMaxFdsPerMessage || (cut && arrived->fds.size() == kMaxFdsPerMessage);
  arrived->lost = cut && !arrived->too_many;
  arrived->bytes_cut = (message.msg_flags & MSG_TRUNC) != 0;
  return got;
}

void CloseElsewhere(std::vector<UniqueFd> fds) {
  if (fds.empty()) return;
  if (closers.fetch_add(1, std::memory_order_relaxed) >= kMaxClosers) {
    closers.fetch_sub(1, std::memory_order_relaxed);
    return;
  }
  auto argument = std::make_unique<std::vector<UniqueFd>>(std::move(fds));
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attributes, std::max<size_t>(PTHREAD_STACK_MIN, 64 * 1024));
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t thread;
  if (pthread_create(&thread, &attributes, Close, argument.get()) == 0) {
    argument.release();
  } else {
    closers.fetch_sub(1, std::memory_order_relaxed);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attributes);
}

}  // namespace ipcrpc

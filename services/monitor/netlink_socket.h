#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <linux/netlink.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// The two sockets of a collector: one that only listens, one that only asks. Kept apart, so that a long
// dump never pushes notifications out of the buffer they share.

namespace ipcrpc::monitor {

using MessageVisitor = std::function<void(const nlmsghdr*)>;

// Closes a descriptor.
class OwnedFd {
 public:
  explicit OwnedFd(int fd = -1) : fd_(fd) {}
  ~OwnedFd();
  OwnedFd(OwnedFd&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

// Takes in what the kernel tells everybody, datagram by datagram. One thread at a time.
class NetlinkFeed {
 public:
  // `protocol`: NETLINK_KOBJECT_UEVENT and so on; `group`: of those, one bit. `buffer_bytes`: see NetlinkEvents.
  static absl::StatusOr<NetlinkFeed> Open(int protocol, uint32_t group, int buffer_bytes);

  int fd() const { return fd_.get(); }

  // One datagram without waiting; empty when there is none, or when it was not the kernel's.
  // RESOURCE_EXHAUSTED: some before this were lost.
  absl::StatusOr<std::span<const uint8_t>> Receive();

 private:
  explicit NetlinkFeed(OwnedFd fd);

  OwnedFd fd_;
  std::vector<uint8_t> buffer_;
};

// Receives the kernel's notifications of the network. One thread at a time.
class NetlinkEvents {
 public:
  // Joins the groups at once: what happens from now on is in the buffer. `buffer_bytes` is what to ask
  // for; without CAP_NET_ADMIN the kernel gives at most net.core.rmem_max.
  static absl::StatusOr<NetlinkEvents> Open(const std::vector<int>& groups, int buffer_bytes);

  int fd() const { return fd_.get(); }
  // What the kernel gave of what was asked for.
  int buffer_bytes() const { return buffer_bytes_; }

  enum class Result { kEmpty, kMessages, kOverrun };

  // Takes one datagram without waiting and visits its messages. Datagrams of other senders than the kernel
  // are dropped (kMessages, nothing visited). kOverrun: the kernel had no room and dropped some before this.
  absl::StatusOr<Result> Receive(const MessageVisitor& visit);

  uint64_t foreign_datagrams() const { return foreign_datagrams_; }

 private:
  NetlinkEvents(OwnedFd fd, int buffer_bytes);

  OwnedFd fd_;
  int buffer_bytes_;
  std::vector<uint8_t> buffer_;
  uint64_t foreign_datagrams_ = 0;
};

// Asks the kernel. Blocks the caller until it has answered. One thread at a time.
class NetlinkQuery {
 public:
  static absl::StatusOr<NetlinkQuery> Open();

  // A request without NLM_F_ flags: type, fixed header, attributes; its length is nlmsg_len.
  // Visits what the kernel lists. It may change while it is listed; then the kernel says so, `begin_again`
  // is called with how many times it has been read, and the list is read anew, `tries` times at most.
  // ABORTED: it changed every time; what was visited last is there, but no one moment's state.
  // DEADLINE_EXCEEDED: no answer for 5 s. Else the kernel's refusal with its own words.
  absl::Status Dump(nlmsghdr* request, int tries, const std::function<void(int attempt)>& begin_again,
                    const MessageVisitor& visit);

  // Asks for one object.
  absl::Status Get(nlmsghdr* request, const MessageVisitor& visit);

 private:
  explicit NetlinkQuery(OwnedFd fd);

  enum class Progress { kMore, kDone };
  absl::Status Send(nlmsghdr* request, uint16_t flags);
  // One datagram of the answer to the last request.
  absl::StatusOr<Progress> Receive(bool is_dump, bool* interrupted, const MessageVisitor& visit);

  OwnedFd fd_;
  uint32_t sequence_ = 0;
  std::vector<uint8_t> buffer_;
};

}  // namespace ipcrpc::monitor

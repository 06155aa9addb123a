// A sockaddr_un, also for paths that do not fit into one.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "transport/base/fd.h"

namespace ipcrpc {

// Valid while it lives: a path over 107 bytes is reached through /proc/self/fd/N, N being its directory, held
// open here. A value, moved only.
class UnixSocketAddress {
 public:
  // INVALID_ARGUMENT: the last part of the path is too long even so; NOT_FOUND, PERMISSION_DENIED …: its
  // directory cannot be opened.
  static absl::StatusOr<UnixSocketAddress> ForFile(const std::string& path);
  // `name` without '@', 107 bytes at most.
  static UnixSocketAddress ForAbstract(std::string_view name);

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&address_); }
  socklen_t size() const { return size_; }

 private:
  sockaddr_un address_ = {};
  socklen_t size_ = 0;
  UniqueFd directory_;
};

}  // namespace ipcrpc

#include "transport/stream/buffer_size.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "transport/address_parameters.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"

namespace ipcrpc::stream {
namespace {

constexpr uint64_t kLeast = 4 * 1024;
constexpr uint64_t kMost = 256 * 1024 * 1024;

absl::Status SetSocketBuffer(int fd, int bytes, int option, int forced_option, std::string_view limit) {
  setsockopt(fd, SOL_SOCKET, option, &bytes, sizeof bytes);
  int got = 0;
  socklen_t size = sizeof got;
  // The kernel takes its limit without a word, and reports twice what was asked for.
  const auto enough = [&] { return getsockopt(fd, SOL_SOCKET, option, &got, &size) == 0 && got / 2 >= bytes; };
  if (enough()) return absl::OkStatus();
  setsockopt(fd, SOL_SOCKET, forced_option, &bytes, sizeof bytes);
  if (enough()) return absl::OkStatus();
  return absl::FailedPreconditionError(
      Cat("buffer=", bytes, ": the kernel gives a socket no more than ", got / 2, " bytes (", limit, ")"));
}

}  // namespace

absl::StatusOr<int> BufferParameter(const Address& address) {
  if (FindParameter(address, "buffer") == nullptr) return 0;
  ASSIGN_OR_RETURN(const uint64_t bytes, SizeParameter(address, "buffer", kLeast, kMost));
  return static_cast<int>(bytes);
}

absl::Status SetBuffer(int fd, int bytes) {
  if (bytes == 0) return absl::OkStatus();
  struct stat info;
  if (fstat(fd, &info) == 0 && S_ISSOCK(info.st_mode)) {
    RETURN_IF_ERROR(SetSocketBuffer(fd, bytes, SO_SNDBUF, SO_SNDBUFFORCE, "/proc/sys/net/core/wmem_max"));
    return SetSocketBuffer(fd, bytes, SO_RCVBUF, SO_RCVBUFFORCE, "/proc/sys/net/core/rmem_max");
  }
  if (fcntl(fd, F_SETPIPE_SZ, bytes) >= bytes) return absl::OkStatus();
  const int error = errno;
  return absl::FailedPreconditionError(Cat("buffer=", bytes, ": the kernel refuses a pipe of that size: ", strerror(error),
                                           error == EPERM ? " (see /proc/sys/fs/pipe-max-size)" : ""));
}

}  // namespace ipcrpc::stream

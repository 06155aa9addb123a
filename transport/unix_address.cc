#include "transport/unix_address.h"

#include <fcntl.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "transport/base/status_macros.h"
#include "transport/base/strings.h"

namespace ipcrpc {
namespace {

constexpr size_t kMaxPath = sizeof(sockaddr_un::sun_path) - 1;

}  // namespace

absl::StatusOr<UnixSocketAddress> UnixSocketAddress::ForFile(const std::string& path) {
  UnixSocketAddress result;
  result.address_.sun_family = AF_UNIX;
  std::string reachable = path;
  if (path.size() > kMaxPath) {
    const size_t slash = path.rfind('/');
    const std::string directory = slash == path.npos ? "." : path.substr(0, slash + 1);
    result.directory_.reset(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
    if (!result.directory_.valid()) return absl::ErrnoToStatus(errno, Cat("cannot open ", directory));
    reachable = Cat("/proc/self/fd/", result.directory_.get(), "/", path.substr(slash + 1));
    if (reachable.size() > kMaxPath) {
      return absl::InvalidArgumentError(Cat("the last part of ", path, " has ", path.size() - slash - 1,
                                            " bytes; a socket's can have about 80"));
    }
  }
  std::memcpy(result.address_.sun_path, reachable.c_str(), reachable.size() + 1);
  result.size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + reachable.size() + 1);
  return result;
}

UnixSocketAddress UnixSocketAddress::ForAbstract(std::string_view name) {
  IPCRPC_CHECK(name.size() <= kMaxPath);
  UnixSocketAddress result;
  result.address_.sun_family = AF_UNIX;
  std::memcpy(result.address_.sun_path + 1, name.data(), name.size());
  result.size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  return result;
}

}  // namespace ipcrpc

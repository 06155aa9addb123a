#include "services/monitor/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/net_namespace.h>
#include <linux/nsfs.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "services/monitor/attributes.h"
#include "services/monitor/net_requests.h"

namespace ipcrpc::monitor {
namespace {

std::string PathOf(const std::string& name) {
  return name.find('/') == std::string::npos ? "/run/netns/" + name : name;
}

// Absent when this namespace has no number for it.
std::optional<int32_t> NumberOf(int fd) {
  auto query = NetlinkQuery::Open();
  if (!query.ok()) return std::nullopt;
  std::optional<int32_t> number;
  Request request;
  absl::Status status = query->Get(NetnsIdRequest(&request, fd), [&](const nlmsghdr* message) {
    number = Attributes(AttributeBytes(message, sizeof(rtgenmsg)), NETNSA_MAX).S32(NETNSA_NSID);
  });
  return status.ok() && number && *number >= 0 ? number : std::nullopt;
}

}  // namespace

absl::StatusOr<OpenNetns> FindNetns(const NetnsPlace& place) {
  const std::string& name = place.name;
  const std::string path = place.path.empty() ? PathOf(name) : place.path;
  OpenNetns found{OwnedFd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)), {}};
  if (found.fd.get() < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot open the network namespace '", name, "' at ", path));
  }
  struct stat status;
  if (ioctl(found.fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET || fstat(found.fd.get(), &status) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(path, " is no network namespace; expected a name of `ip netns`, or "
                                                   "a path such as /proc/PID/ns/net"));
  }
  found.netns.set_name(name);
  found.netns.set_inode(status.st_ino);
  if (auto number = NumberOf(found.fd.get())) found.netns.set_nsid(*number);
  return found;
}

absl::Status InNetns(const OpenNetns& netns, const std::function<absl::Status()>& run) {
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string message;
  std::thread([&] {
    absl::Status status =
        setns(netns.fd.get(), CLONE_NEWNET) == 0
            ? run()
            : absl::ErrnoToStatus(errno, absl::StrCat("cannot enter the network namespace '", netns.netns.name(),
                                                      "' (needs CAP_SYS_ADMIN)"));
    code = status.code();
    message = std::string(status.message());  // a status is not for several threads
  }).join();
  return absl::Status(code, message);
}

}  // namespace ipcrpc::monitor

#include "transport/takeover/kept_sockets.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cstddef>
#include <string_view>
#include <utility>

#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/scheme.h"

namespace ipcrpc::takeover {
namespace {

// "/run/ipcrpc/monitor.sock", "@abstract"; "": it is no unix socket with a name that says where it is.
std::string PlaceOf(int socket) {
  sockaddr_un name = {};
  socklen_t size = sizeof name;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&name), &size) != 0 || name.sun_family != AF_UNIX)
    return "";
  const std::string_view path(name.sun_path, size - offsetof(sockaddr_un, sun_path));
  if (path.empty()) return "";
  if (path.front() == '\0') return Cat("@", path.substr(1));
  const std::string_view file = path.substr(0, path.find('\0'));
  return file.starts_with("/proc/self/fd/") ? "" : std::string(file);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Listener>> KeptSockets::Take(const Address& address) {
  ASSIGN_OR_RETURN(const Scheme* scheme, FindScheme(address.scheme));
  if (scheme->adopt == nullptr) return nullptr;
  for (auto socket = sockets_.begin(); socket != sockets_.end(); ++socket) {
    UniqueFd ours = UniqueFd::DuplicateOf(socket->get());
    if (!ours.valid())
      return absl::ResourceExhaustedError("no file descriptor left for a socket that was passed");
    std::vector<UniqueFd> handles;
    handles.push_back(std::move(ours));
    absl::StatusOr<std::unique_ptr<Listener>> listener = Adopt(address, std::move(handles));
    if (absl::IsFailedPrecondition(listener.status())) continue;  // of another address
    RETURN_IF_ERROR(listener.status());
    RETURN_IF_ERROR((*listener)->Own());
    (*listener)->Abandon();
    sockets_.erase(socket);
    return listener;
  }
  return nullptr;
}

absl::Status KeptSockets::CheckAllTaken() const {
  if (sockets_.empty()) return absl::OkStatus();
  std::vector<std::string> places;
  for (const UniqueFd& socket : sockets_) {
    const std::string place = PlaceOf(socket.get());
    struct stat info;
    const bool gone = !place.empty() && place.front() != '@' && lstat(place.c_str(), &info) != 0;
    places.push_back(place.empty() ? "one without a name" : Cat(place, gone ? " (its file is gone)" : ""));
  }
  return absl::InvalidArgumentError(
      Cat("sockets were passed that listen at none of the addresses: ", Join(places, ", ")));
}

int KeepSocketOf(Listener& listener) {
  const std::vector<int> handles = listener.handles();
  if (handles.empty() || PlaceOf(handles.front()).empty()) return -1;
  listener.Abandon();
  return handles.front();
}

}  // namespace ipcrpc::takeover

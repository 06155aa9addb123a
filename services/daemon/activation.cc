#include "services/daemon/activation.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cstdlib>

#include "services/daemon/addresses.h"

namespace ipcrpc::hosting {
namespace {

constexpr std::string_view kStorePrefix = "kept/";  // which no unit's name can begin with
constexpr size_t kLongestName = 255;  // of the manager

}  // namespace

std::vector<PassedSocket> TakePassedSockets() {
  std::vector<PassedSocket> sockets;
  char** names = nullptr;
  const int count = sd_listen_fds_with_names(/*unset_environment=*/1, &names);
  for (int i = 0; i < count; ++i) {
    sockets.push_back({names[i], UniqueFd(SD_LISTEN_FDS_START + i)});
    free(names[i]);
  }
  free(names);
  return sockets;
}

std::string StoreName(std::string_view address) {
  std::string name(kStorePrefix);
  name += PlaceIn(address);
  std::replace(name.begin(), name.end(), ':', '/');
  return name.substr(0, kLongestName);
}

bool IsStoreName(std::string_view name) { return name.starts_with(kStorePrefix); }

bool IsReachable(int socket) {
  sockaddr_un name = {};
  socklen_t size = sizeof name;
  if (getsockname(socket, reinterpret_cast<sockaddr*>(&name), &size) != 0) return false;
  struct stat info;
  return name.sun_path[0] == '\0' || lstat(name.sun_path, &info) == 0;
}

void Store(std::string_view address, int socket) {
  const std::string state = "FDSTORE=1\nFDNAME=" + StoreName(address);
  sd_pid_notify_with_fds(0, 0, state.c_str(), &socket, 1);
}

void Unstore(const std::string& store_name) {
  const std::string state = "FDSTOREREMOVE=1\nFDNAME=" + store_name;
  sd_notify(0, state.c_str());
}

}  // namespace ipcrpc::hosting

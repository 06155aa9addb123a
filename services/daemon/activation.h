// Listening sockets that the service manager keeps: those of a socket unit, by which it started us, and those
// that we had it keep while we are restarted (its "fd store").
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "ipcrpc/unique_fd.h"

namespace ipcrpc::hosting {

struct PassedSocket {
  std::string name;  // FileDescriptorName=, or the one by which it was stored
  UniqueFd fd;       // close-on-exec
};

// What was passed to this process (sd_listen_fds(3)); its children are not told. Before there are threads.
std::vector<PassedSocket> TakePassedSockets();

// By what name a socket of that address is stored: "kept/shm/monitor". The manager wants no colons.
std::string StoreName(std::string_view address);
bool IsStoreName(std::string_view name);

// Whether clients can still connect to it: not when its file has gone, as with a RuntimeDirectory= that was
// removed.
bool IsReachable(int socket);

// Has the manager keep the socket. Any thread.
void Store(std::string_view address, int socket);
// It need not keep it any more.
void Unstore(const std::string& store_name);

}  // namespace ipcrpc::hosting

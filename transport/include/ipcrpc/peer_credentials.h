// Who is at the other end of a connection, as far as the kernel tells.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "ipcrpc/export.h"

namespace ipcrpc {

// Of the process that connected, at the time when it did: later it may have changed its user, ended (and its pid be another
// process's), or handed the connection on.
struct IPCRPC_EXPORT PeerCredentials {
  // The kernel's overflow ids stand for "unknown to this user namespace" and match no rule of an AuthorizationPolicy.
  static constexpr uid_t kUnknownUid = 65534;
  static constexpr gid_t kUnknownGid = 65534;

  pid_t pid = 0;  // 0: unknown, or in a PID namespace that we do not see
  uid_t uid = kUnknownUid;
  gid_t gid = kUnknownGid;
  // The kernel vouches for them. Otherwise they are what the peer is taken for, and prove nothing.
  bool vouched = false;
  // Supplementary groups, which the kernel tells of the peers of unix sockets alone (shm:, unix:); elsewhere empty.
  std::vector<gid_t> groups = {};

  std::string ToString() const;  // "pid 12, uid 1000, gid 1000"
};

}  // namespace ipcrpc

// Who is at the other end of a link, as far as the kernel or the handshake vouches for it.
#pragma once

#include <sys/types.h>

#include <string>

namespace ipcrpc {

struct PeerIdentity {
  // The overflow uid (65534) stands for "unknown to this user namespace" and never matches a policy.
  static constexpr uid_t kUnknownUid = 65534;

  pid_t pid = 0;  // 0: unknown, or in a PID namespace that we do not see
  uid_t uid = kUnknownUid;
  gid_t gid = 65534;
  bool vouched = false;  // by the kernel

  std::string ToString() const;  // "pid 12, uid 1000, gid 1000"
};

}  // namespace ipcrpc

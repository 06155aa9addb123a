#include "transport/peer.h"

#include "transport/base/strings.h"

namespace ipcrpc {

std::string PeerCredentials::ToString() const {
  return Cat(pid == 0 ? std::string("unknown pid") : Cat("pid ", pid), ", uid ", uid, ", gid ", gid,
             vouched ? "" : " (not vouched for)");
}

}  // namespace ipcrpc

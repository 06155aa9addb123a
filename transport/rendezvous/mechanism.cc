#include "transport/rendezvous/mechanism.h"

#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "transport/fifo/fifo_transport.h"
#include "transport/mqueue/mqueue_transport.h"
#include "transport/netlink/netlink_transport.h"
#include "transport/sysvmq/sysvmq_transport.h"

namespace ipcrpc::rendezvous {

std::span<const Mechanism* const> Mechanisms() {
  static const std::array<const Mechanism*, 4> kMechanisms = {&FifoMechanism(), &MqueueMechanism(), &SysvmqMechanism(),
                                                           &NetlinkMechanism()};
  return kMechanisms;
}

void RemovePairNames(const Mechanism* mechanism, const std::string& stem, const Token& token, uid_t owner) {
  if (mechanism != nullptr) mechanism->RemovePair(stem, token, owner);
  const std::string fifo = LifeFifoOf(stem);
  struct stat info;
  if (lstat(fifo.c_str(), &info) == 0 && S_ISFIFO(info.st_mode)) unlink(fifo.c_str());
}

const Mechanism* FindMechanism(Kind kind) {
  for (const Mechanism* mechanism : Mechanisms()) {
    if (mechanism->kind() == kind) return mechanism;
  }
  return nullptr;
}

const Mechanism* FindMechanism(std::string_view scheme) {
  for (const Mechanism* mechanism : Mechanisms()) {
    if (mechanism->scheme() == scheme) return mechanism;
  }
  return nullptr;
}

}  // namespace ipcrpc::rendezvous

// What a server and its successor say to each other on a control socket (SOCK_SEQPACKET, one message a packet).
// docs/wire.md has the bytes.
//
//   successor   kAsk      the control places of all addresses that it wants, each ended by a zero byte
//   server      kOffer    one for each of them that it has: number = which; with descriptors: the control socket's, then
//                         those of Listener::handles()
//               kOffered  number = how many offers there were
//   successor   kConfirm  it is ready to listen in the server's place
//   server      kRelieved it has stopped to accept; the addresses are the successor's alone
//   server      kRefused  at any time: number = absl::StatusCode, text = why
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/address.h"
#include "transport/base/fd.h"

namespace ipcrpc::takeover {

enum class Kind : uint16_t { kAsk = 1, kOffer = 2, kOffered = 3, kConfirm = 4, kRelieved = 5, kRefused = 6 };

struct Message {
  Kind kind;
  uint32_t number = 0;
  std::string text;
  std::vector<UniqueFd> fds;
};

inline constexpr size_t kMaxTextBytes = 16 * 1024;
inline constexpr size_t kMaxFds = 8;

// Never blocks. UNAVAILABLE: the peer is gone, or its queue is full.
absl::Status Send(int socket, Kind kind, uint32_t number = 0, std::string_view text = {}, std::span<const int> fds = {});

// Never blocks. OK and nullopt: nothing there now. UNAVAILABLE: the peer has closed. INVALID_ARGUMENT: no message of this
// protocol; FAILED_PRECONDITION: of another version.
absl::StatusOr<std::optional<Message>> Receive(int socket);

// Where the control socket of a server at this address is: "/run/ipcrpc/monitor.shm.ctl", "@name.unix.ctl".
// INVALID_ARGUMENT: there is no room for it behind the name.
absl::StatusOr<std::string> ControlPlace(const Address& address);

}  // namespace ipcrpc::takeover

#include "transport/shm/parts.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <string>

#include "transport/address_parameters.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/shm/bell.h"
#include "transport/shm/ledger.h"
#include "transport/shm/memory.h"
#include "transport/trust.h"

namespace ipcrpc::shm {
namespace {

constexpr std::array<std::string_view, kSegmentKinds> kSegmentNames = {"memfd", "posix", "sysv"};
constexpr std::array<std::string_view, kWakeKinds> kWakeNames = {"futex", "eventfd", "sem", "sysvsem"};

// The number of a parameter's word; 0 when the address does not have it.
absl::StatusOr<uint8_t> WordParameter(const Address& address, std::string_view key, std::span<const std::string_view> words) {
  const std::string* text = FindParameter(address, key);
  if (text == nullptr) return uint8_t{0};
  const auto found = std::find(words.begin(), words.end(), *text);
  if (found == words.end()) return BadParameter(address, key, Cat("one of ", Join(words, ", ")));
  return static_cast<uint8_t>(found - words.begin());
}

absl::StatusOr<bool> SwitchParameter(const Address& address, std::string_view key) {
  static constexpr std::array<std::string_view, 2> kSwitch = {"0", "1"};
  ASSIGN_OR_RETURN(const uint8_t on, WordParameter(address, key, kSwitch));
  return on == 1;
}

// Something of it has a name or a number in the kernel that does not go with the process.
bool NeedsLedger(const Parts& parts) {
  return parts.segment != SegmentKind::kMemfd || parts.wake == WakeKind::kSysvSemaphore;
}

}  // namespace

std::string_view NameOf(SegmentKind kind) { return kSegmentNames[static_cast<uint8_t>(kind)]; }
std::string_view NameOf(WakeKind kind) { return kWakeNames[static_cast<uint8_t>(kind)]; }

absl::StatusOr<Parts> PartsOf(const Address& address) {
  Parts parts;
  ASSIGN_OR_RETURN(const uint8_t segment, WordParameter(address, "segment", kSegmentNames));
  ASSIGN_OR_RETURN(const uint8_t wake, WordParameter(address, "wake", kWakeNames));
  parts.segment = static_cast<SegmentKind>(segment);
  parts.wake = static_cast<WakeKind>(wake);
  ASSIGN_OR_RETURN(parts.lock, SwitchParameter(address, "lock"));
  ASSIGN_OR_RETURN(parts.prefault, SwitchParameter(address, "prefault"));
  ASSIGN_OR_RETURN(parts.hugepages, SwitchParameter(address, "hugepages"));
  if (parts.hugepages && parts.segment == SegmentKind::kPosix) {
    return BadParameter(address, "hugepages", "segment=memfd or sysv beside it: the files of /dev/shm cannot have huge pages");
  }
  if (NeedsLedger(parts)) {
    ASSIGN_OR_RETURN(parts.ledger, Ledger::Open());
  }
  return parts;
}

absl::Status CheckAvailable(const Parts& parts) {
  RETURN_IF_ERROR(MakeMemory(parts, 1, Sharing::kPeerReads).status());
  return MakeBell(parts).status();
}

absl::Status CheckTrusted(const Parts& parts, std::string_view whose, const PeerIdentity& peer) {
  if (parts.standard()) return absl::OkStatus();
  if (OfOurUid(peer)) return absl::OkStatus();
  return absl::PermissionDeniedError(
      Cat(whose, " choice of segment=", NameOf(parts.segment), " wake=", NameOf(parts.wake), parts.hugepages ? " hugepages=1" : "",
          " is for processes of one uid only, since either side could harm the other by it: the peer is ", peer.ToString(),
          ", we are uid ", geteuid(), "; leave these parameters out"));
}

}  // namespace ipcrpc::shm

// The parameters that places on disk have in common: ?mode=0666&group=adm on the side that makes them,
// ?uid=gnats on the side that finds them. INVALID_ARGUMENT says what would be right.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/address.h"

namespace ipcrpc {

// INVALID_ARGUMENT, naming the nearest known one, when the address has a parameter that is not `known`.
absl::Status CheckParameters(const Address& address, std::span<const std::string_view> known);
inline absl::Status CheckParameters(const Address& address, std::initializer_list<std::string_view> known) {
  return CheckParameters(address, std::span(known.begin(), known.size()));
}

// Null when the address does not have it.
const std::string* FindParameter(const Address& address, std::string_view key);

// The error about a parameter that the address has.
absl::Status BadParameter(const Address& address, std::string_view key, std::string_view expected);

// REQUIRES: the address has the parameter. A number or a name of this machine.
absl::StatusOr<uid_t> UidParameter(const Address& address, std::string_view key);
absl::StatusOr<gid_t> GidParameter(const Address& address, std::string_view key);

// `mode`, octal; 0600 when left out.
absl::StatusOr<mode_t> ModeParameter(const Address& address);

// REQUIRES: the address has the parameter. A number of bytes, also as "64K" or "1M" (of 1024), within bounds.
absl::StatusOr<uint64_t> SizeParameter(const Address& address, std::string_view key, uint64_t least, uint64_t most);

// A relative path as seen from the current directory.
absl::StatusOr<std::string> AbsolutePath(const std::string& path);

}  // namespace ipcrpc

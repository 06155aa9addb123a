// Addresses: SCHEME:REST[?key=value&…]. REST is a name ("monitor"), a path (with a slash) or "@abstract". A text
// without a scheme, or that starts with '/', '.' or '@', is `ipc:` and that.
//
// Percent-encoding: in REST and in values, %XX stands for a byte, so that '?', '&' and '%' can be part of a path
// (%3f, %26, %25); no other character needs it. `exec:` takes everything after the colon as it is.
// A name has letters, digits, '.', '_' and '-', not a '.' first, 64 bytes at most.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ipcrpc {

// A parsed address. A value; says nothing of whether anybody is there.
struct Address {
  enum class Kind { kName, kPath, kAbstract };

  std::string scheme;  // "shm"; "ipc" for a bare name
  Kind kind = Kind::kName;
  std::string rest;  // without the '@' of an abstract name
  std::map<std::string, std::string, std::less<>> parameters;

  // The transport is for the connecting side to choose.
  bool automatic() const { return scheme == "ipc"; }
  std::string ToString() const;
};

// INVALID_ARGUMENT naming the offending part, its position and what would be right (with the nearest
// known scheme). `exec:` takes everything after the colon.
absl::StatusOr<Address> ParseAddress(std::string_view text);

}  // namespace ipcrpc

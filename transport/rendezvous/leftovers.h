// What servers and clients of the rendezvous that died have left: places and pairs nobody lives at either end of. Nothing
// that anybody uses is touched: the locks of life.h tell.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "transport/rendezvous/mechanism.h"

namespace ipcrpc::rendezvous {

// The line in the file of a place.
std::string ReferenceLine(const Mechanism& mechanism, std::string_view reference);
// The reference in such a line; nothing when it is none of `mechanism`.
std::optional<std::string> ParseReference(const Mechanism& mechanism, std::string_view line);

// Makes the path of a place free. ALREADY_EXISTS: somebody listens there, or it is not ours. REQUIRES: the lock
// of its name.
absl::Status ClearPlace(const Mechanism& mechanism, const std::string& path);

// The file of a place that nobody lives at, whatever mechanism it is of.
struct DeadPlace {
  const Mechanism* mechanism;
  std::string reference;
  uid_t owner;
};
std::optional<DeadPlace> FindDeadPlace(const std::string& path);
// Removes it, if it is one. REQUIRES: the lock of the name.
void RemoveDeadPlace(const std::string& path);

// A pair that both sides have left.
struct DeadPair {
  std::string stem;
  Token token;
  Kind kind;
  pid_t server_pid;
  uid_t owner;
};
// `base`: of one name, or "" for all of `directory` whose name has no server now. REQUIRES: the lock of the name.
std::vector<DeadPair> FindDeadPairs(const std::string& directory, const std::string& base);
void RemoveDeadPair(const DeadPair& pair);
void RemoveDeadPairs(const std::string& base);

}  // namespace ipcrpc::rendezvous

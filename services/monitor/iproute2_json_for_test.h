#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <google/protobuf/message.h>

#include "services/monitor/json_for_test.h"

// Compares our objects with what `ip -j` prints, key by key, allowing what left_out.h names and no more.

namespace ipcrpc::monitor {

enum class Walk {
  // Every key that `ip` prints is ours, with the same value.
  kTheirKeys,
  // And every key of ours is `ip`'s, but for those of known kinds that ours always adds.
  kBothWays,
};

// The names and spellings that users get.
Json JsonOf(const google::protobuf::Message& message);

// `ours` are objects of one kind. `theirs` is the JSON of an `ip` command whose items are of that kind; the
// addresses of `ip addr` are taken out of their links. Each item of one side must have its own on the other.
// One line per difference; none when they agree.
std::vector<std::string> CompareWithIproute2(std::string_view command, Walk walk, const std::string& theirs,
                                             std::vector<Json> ours);

}  // namespace ipcrpc::monitor

// Descriptors that a process was given by whoever started it, which addresses name by their numbers.
//
// A number is good for one link. Its descriptor moves to another number, close-on-exec, and a stand-in takes
// its place: so the peer sees the end when the link ends, and the number does not come to mean another file, which a
// second use would take for the first.
//
// The flags of the open file description, O_NONBLOCK among them, are shared with others and never touched.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "transport/base/fd.h"

namespace ipcrpc {

enum class AdoptFor { kReading, kWriting, kBoth };

// FAILED_PRECONDITION naming the descriptor when it is not open, is neither a pipe nor a connected stream socket, does
// not serve that use, or carried a link before. `name` is for messages: "descriptor 3", "standard input".
absl::Status CheckAdoptable(int number, AdoptFor use, std::string_view name);

// REQUIRES: checked. The stand-in is `successor` where given (which stays the caller's).
absl::StatusOr<UniqueFd> Adopt(int number, std::string_view name, int successor = -1);

// Whether both are the same socket, or the two ends of one pipe.
bool SameFile(int a, int b);
bool IsSocket(int fd);

}  // namespace ipcrpc

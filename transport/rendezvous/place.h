// The file of a well-known place, from both sides.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/base/fd.h"
#include "transport/rendezvous/mechanism.h"

namespace ipcrpc::rendezvous {

// Gives a file, FIFO or queue behind `fd` to whom it is for; then, and only then, widens its mode.
absl::Status Grant(int fd, const Access& access, const std::string& what);

// Whether descriptor `fd` of process `pid` is seen to be open on what our `own_fd` is: /proc shows it, to those who may
// see it, and as long as it is.
bool HasOpen(pid_t pid, int fd, int own_fd);

// The client's view of a place that it believes.
struct FoundPlace {
  std::string path;
  std::string base;       // beside which the files of pairs are: without the suffix of a plain name
  std::string reference;  // "" for a FIFO
  UniqueFd file;          // invalid for a FIFO
  uid_t owner = 0;
};

// Searches the runtime directories for a plain name. UNAVAILABLE, PERMISSION_DENIED as Scheme::connect says.
absl::StatusOr<FoundPlace> FindPlace(const Mechanism& mechanism, const Address& address);

// Opens a file that must be a regular one, for reading. Errors have errno's code and no text.
struct ReferenceFile {
  UniqueFd file;
  std::string text;
  uid_t owner = 0;
};
absl::StatusOr<ReferenceFile> OpenReference(const std::string& path);

}  // namespace ipcrpc::rendezvous

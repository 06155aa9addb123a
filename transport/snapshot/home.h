// Where a publisher's segments live, and how readers find them there: at a name (named_home.h), or in memory without one
// that is handed out (memfd_home.cc).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/base/fd.h"
#include "transport/shm/mapping.h"

namespace ipcrpc::snapshot {

class Home {
 public:
  // INVALID_ARGUMENT: bad place or parameter; ALREADY_EXISTS: somebody alive has it, or what is there is not
  // a snapshot; FAILED_PRECONDITION: no runtime directory; PERMISSION_DENIED.
  static absl::StatusOr<std::unique_ptr<Home>> Take(const std::string& place);

  // Readers are told that it is over, and nothing is left; not in a forked child.
  virtual ~Home() = default;
  Home(const Home&) = delete;
  Home& operator=(const Home&) = delete;

  // At least `size` zeroes that nobody can find yet. RESOURCE_EXHAUSTED: no room.
  virtual absl::StatusOr<shm::Mapping> NewMemory(uint64_t size) = 0;
  // Lets readers find what NewMemory() gave last, and ends what was there.
  virtual absl::Status Place() = 0;

  // The file by which readers find it; empty when there is none.
  virtual std::string path() const = 0;
  // A descriptor of the memory, for a reader; invalid where readers find it by path().
  virtual UniqueFd Share() const = 0;

 protected:
  Home() = default;
};

}  // namespace ipcrpc::snapshot

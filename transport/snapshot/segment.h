// Memory that holds a snapshot: made and written here, or made elsewhere and only read here. Where the
// descriptor comes from is another's business (file_home.h); a sealed memfd will do as well as a file.
#pragma once

#include <boost/interprocess/mapped_region.hpp>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ipcrpc/raw_snapshot.h"
#include "transport/base/fd.h"
#include "transport/base/bus_guard.h"
#include "transport/snapshot/layout.h"

namespace ipcrpc::snapshot {

// A segment of our own. By one thread at a time.
class OwnSegment {
 public:
  // Bytes of a segment with slots of `slot_bytes` each (a multiple of kAlign).
  static uint64_t Bytes(const SnapshotSchema& schema, uint64_t slot_bytes);
  // Maps `fd`, zeroes of Bytes() length, and writes the header, as of this process.
  static absl::StatusOr<OwnSegment> Make(const UniqueFd& fd, const SnapshotSchema& schema,
                                         uint64_t slot_bytes);

  // Makes `data` publication `epoch`. REQUIRES: epoch grows, and is not kMoved; size <= capacity().
  void Publish(uint64_t epoch, const void* data, size_t size);
  void Beat();

  uint64_t capacity() const { return CapacityOf(slot_bytes_); }
  // Somebody cut the file short: nothing written arrives any more.
  bool broken() const { return guard_.broken(); }

 private:
  Header* header() { return static_cast<Header*>(region_.get_address()); }

  boost::interprocess::mapped_region region_;
  BusGuard guard_;
  uint64_t slot_bytes_ = 0;
  uint64_t slots_offset_ = 0;
};

// The constants of a segment, copied out and checked.
struct Shape {
  uint64_t size = 0;
  uint64_t slot_bytes = 0;
  uint64_t slots_offset = 0;
  pid_t writer_pid = 0;
  uint64_t writer_start = 0;
  uint64_t writer_namespace = 0;
  SnapshotSchema schema;
};

// FAILED_PRECONDITION: not a snapshot, or of another layout version; DATA_LOSS: not well-formed. The messages
// start with `place`.
absl::StatusOr<Shape> ReadShape(const UniqueFd& fd, const std::string& place);

// A segment of another's, mapped read-only.
class ViewedSegment {
 public:
  static absl::StatusOr<ViewedSegment> Map(const UniqueFd& fd, const Shape& shape, bool guard);

  const std::atomic<uint64_t>& latest() const { return header()->latest; }
  int64_t heartbeat_ns() const { return header()->heartbeat_ns.load(std::memory_order_relaxed); }

  enum class Outcome {
    kCopied,
    kBusy,     // was overwritten meanwhile, or is about to be
    kInvalid,  // no writer of ours leaves such a slot; or the file was cut short
  };
  // Copies publication `epoch` to `to`, of slot_bytes.
  Outcome Copy(uint64_t epoch, uint64_t* to, size_t& size) const;

  // The file was cut short; what was read is not to be believed.
  bool broken() const { return guard_.broken(); }

 private:
  const Header* header() const { return static_cast<const Header*>(region_.get_address()); }

  boost::interprocess::mapped_region region_;
  BusGuard guard_;
  uint64_t slot_bytes_ = 0;
  uint64_t slots_offset_ = 0;
};

// Marks the snapshot in `fd`, open for writing, as over, if it is one; all its readers and sleepers see that.
// Through the file, so that it reaches them also where our own mapping is broken.
void MarkMoved(const UniqueFd& fd);

}  // namespace ipcrpc::snapshot

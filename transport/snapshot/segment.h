// Memory that holds a snapshot: written here, or written elsewhere and only read here. Where the memory comes from is
// another's business (home.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ipcrpc/raw_snapshot.h"
#include "transport/shm/mapping.h"
#include "transport/snapshot/layout.h"

namespace ipcrpc::snapshot {

using shm::Mapping;

class ViewedSegment;

// A segment of our own. By one thread at a time.
class OwnSegment {
 public:
  // Bytes of a segment with slots of `slot_bytes` each (a multiple of kAlign).
  static uint64_t Bytes(const SnapshotSchema& schema, uint64_t slot_bytes);
  // Writes the header, as of this process. REQUIRES: `memory` is at least Bytes() zeroes.
  OwnSegment(Mapping memory, const SnapshotSchema& schema, uint64_t slot_bytes);

  // Makes `data` publication `epoch`. REQUIRES: epoch grows, and is not kMoved; size <= capacity().
  void Publish(uint64_t epoch, const void* data, size_t size);
  void Beat();

  uint64_t capacity() const { return CapacityOf(slot_bytes_); }
  // As a reader sees it, on any thread, and for longer than this.
  ViewedSegment View() const;
  // Somebody cut the file short: nothing written arrives any more.
  bool broken() const { return memory_.broken(); }

 private:
  Header* header() { return reinterpret_cast<Header*>(memory_.data()); }

  Mapping memory_;
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
absl::StatusOr<Shape> ReadShape(const Mapping& memory, const std::string& place);

// How often a reader tries when the writer is faster.
inline constexpr int kReadAttempts = 8;

// A segment of another's, mapped read-only.
class ViewedSegment {
 public:
  ViewedSegment(Mapping memory, const Shape& shape)
      : ViewedSegment(std::move(memory), shape.slot_bytes, shape.slots_offset) {}
  ViewedSegment(Mapping memory, uint64_t slot_bytes, uint64_t slots_offset)
      : memory_(std::move(memory)), slot_bytes_(slot_bytes), slots_offset_(slots_offset) {}

  const std::atomic<uint64_t>& latest() const { return header()->latest; }
  int64_t heartbeat_ns() const { return header()->heartbeat_ns.load(std::memory_order_relaxed); }

  uint64_t slot_bytes() const { return slot_bytes_; }

  enum class Outcome {
    kCopied,
    kBusy,     // was overwritten meanwhile, or is about to be
    kInvalid,  // no writer of ours leaves such a slot; or the file was cut short
  };
  // Copies publication `epoch` to `to`, of slot_bytes.
  Outcome Copy(uint64_t epoch, uint64_t* to, size_t& size) const;

  // The file was cut short; what was read is not to be believed.
  bool broken() const { return memory_.broken(); }

 private:
  const Header* header() const { return reinterpret_cast<const Header*>(memory_.data()); }

  Mapping memory_;
  uint64_t slot_bytes_ = 0;
  uint64_t slots_offset_ = 0;
};

// Marks the snapshot in `memory`, mapped for writing anew, as over, if it is one; all its readers and sleepers see that.
// (The mapping that was written through may be broken.)
void MarkMoved(const Mapping& memory);

}  // namespace ipcrpc::snapshot

#include "transport/snapshot/segment.h"

#include <unistd.h>

#include <climits>
#include <cstring>
#include <new>
#include <utility>

#include "transport/base/atomics.h"
#include "transport/base/clock.h"
#include "transport/base/futex.h"
#include "transport/base/process.h"
#include "transport/base/strings.h"

namespace ipcrpc::snapshot {
namespace {

// Stores them, and says their sum.
uint64_t StoreWords(std::atomic<uint64_t>* to, const void* data, size_t size) {
  uint64_t sum = 0;
  const char* from = static_cast<const char*>(data);
  for (; size >= sizeof(uint64_t); size -= sizeof(uint64_t), from += sizeof(uint64_t)) {
    uint64_t word;
    std::memcpy(&word, from, sizeof word);
    (to++)->store(word, std::memory_order_relaxed);
    sum += word;
  }
  if (size == 0) return sum;
  uint64_t word = 0;
  std::memcpy(&word, from, size);
  to->store(word, std::memory_order_relaxed);
  return sum + word;
}

// Loads them, and says their sum. The lines that another processor has written come one by one to a loop over single words,
// which is long before it meets the next; asked for ahead of it they come together.
uint64_t LoadWords(const std::atomic<uint64_t>* from, size_t count, uint64_t* to) {
  constexpr size_t kLine = 8;  // words
  constexpr size_t kAhead = 16 * kLine;
  const std::atomic<uint64_t>* const end = from + count + 1;  // with the seal
  for (const std::atomic<uint64_t>* line = from; line < end && line < from + kAhead; line += kLine) __builtin_prefetch(line);
  uint64_t sum = 0, other = 0;
  for (; count >= kLine; count -= kLine, from += kLine, to += kLine) {
    if (count > kAhead) __builtin_prefetch(from + kAhead);
    for (size_t i = 0; i < kLine; i += 2) {
      sum += to[i] = from[i].load(std::memory_order_relaxed);
      other += to[i + 1] = from[i + 1].load(std::memory_order_relaxed);
    }
  }
  for (size_t i = 0; i < count; ++i) sum += to[i] = from[i].load(std::memory_order_relaxed);
  return sum + other;
}

void Wake(const std::atomic<uint64_t>& latest) { FutexWake(FutexWord(latest), FutexScope::kShared, INT_MAX); }

}  // namespace

// ---- OwnSegment --------------------------------------------------------------------------------

uint64_t OwnSegment::Bytes(const SnapshotSchema& schema, uint64_t slot_bytes) {
  return SegmentBytes(SlotsOffset(schema.type_name.size() + schema.descriptors.size()), slot_bytes);
}

OwnSegment::OwnSegment(Mapping memory, const SnapshotSchema& schema, uint64_t slot_bytes)
    : memory_(std::move(memory)),
      slot_bytes_(slot_bytes),
      slots_offset_(SlotsOffset(schema.type_name.size() + schema.descriptors.size())) {
  auto* header = new (memory_.data()) Header();
  header->magic = kMagic;
  header->version = kLayoutVersion;
  header->slots = kSlots;
  header->size = Bytes(schema, slot_bytes);
  header->slot_bytes = slot_bytes;
  header->slots_offset = slots_offset_;
  header->fingerprint = schema.fingerprint;
  header->type_name_bytes = static_cast<uint32_t>(schema.type_name.size());
  header->descriptor_bytes = static_cast<uint32_t>(schema.descriptors.size());
  header->writer_pid = static_cast<uint32_t>(getpid());
  header->writer_start = ProcessStartTime(getpid());
  header->writer_namespace = PidNamespace();
  char* after = reinterpret_cast<char*>(header + 1);
  after += schema.type_name.copy(after, schema.type_name.size());
  schema.descriptors.copy(after, schema.descriptors.size());
}

void OwnSegment::Publish(uint64_t epoch, const void* data, size_t size) {
  Header* const own = header();
  auto* slot = reinterpret_cast<Slot*>(memory_.data() + SlotOffset(slots_offset_, slot_bytes_, epoch));
  slot->sequence.store(2 * epoch - 1, std::memory_order_relaxed);
  ReleaseFence();  // pairs with the acquire fence in ViewedSegment::Copy
  slot->length.store(size, std::memory_order_relaxed);
  const uint64_t sum = StoreWords(slot->words(), data, size);
  slot->words()[WordsFor(size)].store(SealOf(epoch, sum), std::memory_order_relaxed);
  slot->sequence.store(2 * epoch, std::memory_order_release);
  Beat();
  own->latest.store(epoch, std::memory_order_release);
  Wake(own->latest);
}

ViewedSegment OwnSegment::View() const { return {memory_, slot_bytes_, slots_offset_}; }

void OwnSegment::Beat() { header()->heartbeat_ns.store(MonotonicNs(), std::memory_order_relaxed); }

// ---- Shape -------------------------------------------------------------------------------------

absl::StatusOr<Shape> ReadShape(const Mapping& memory, const std::string& place) {
  if (memory.size() < sizeof(Header)) {
    return absl::FailedPreconditionError(Cat(place, " is not a snapshot: it has ", memory.size(),
                                             " bytes, a header alone has ", sizeof(Header)));
  }
  // A copy of the constants, as bytes: whatever the memory has, and whoever changes it, reading the copy is defined.
  alignas(Header) std::byte bytes[sizeof(Header)] = {};
  std::memcpy(bytes, memory.data(), offsetof(Header, latest));
  const auto* header = reinterpret_cast<const Header*>(bytes);
  if (memory.broken()) return absl::DataLossError(Cat(place, " was cut short while it was read"));
  if (header->magic != kMagic)
    return absl::FailedPreconditionError(Cat(place, " is not a snapshot: it does not begin like one"));
  if (header->version != kLayoutVersion) {
    return absl::FailedPreconditionError(Cat(place, " is a snapshot of layout version ", header->version,
                                             "; this program reads version ", kLayoutVersion));
  }
  Shape shape;
  shape.size = header->size;
  shape.slot_bytes = header->slot_bytes;
  shape.slots_offset = header->slots_offset;
  shape.writer_pid = static_cast<pid_t>(header->writer_pid);
  shape.writer_start = header->writer_start;
  shape.writer_namespace = header->writer_namespace;
  shape.schema.fingerprint = header->fingerprint;
  const uint64_t name_bytes = header->type_name_bytes, descriptor_bytes = header->descriptor_bytes;

  const bool in_bounds = header->slots == kSlots && shape.slot_bytes > 0 &&
                         shape.slot_bytes <= kMaxSlotBytes && shape.slot_bytes % kAlign == 0 &&
                         name_bytes <= kMaxTypeNameBytes && descriptor_bytes <= kMaxDescriptorBytes;
  if (!in_bounds || shape.slots_offset != SlotsOffset(name_bytes + descriptor_bytes) ||
      shape.size != SegmentBytes(shape.slots_offset, shape.slot_bytes)) {
    return absl::DataLossError(Cat("the header of ", place, " does not add up: ", header->slots, " slots of ",
                                   shape.slot_bytes, " bytes from ", shape.slots_offset, " on, in ",
                                   shape.size, " bytes"));
  }
  if (memory.size() < shape.size) {
    return absl::DataLossError(
        Cat(place, " has ", memory.size(), " bytes where its header says ", shape.size));
  }
  const char* after = reinterpret_cast<const char*>(memory.data() + sizeof(Header));
  shape.schema.type_name.assign(after, name_bytes);
  shape.schema.descriptors.assign(after + name_bytes, descriptor_bytes);
  if (memory.broken()) return absl::DataLossError(Cat(place, " was cut short while it was read"));
  return shape;
}

// ---- ViewedSegment -----------------------------------------------------------------------------

ViewedSegment::Outcome ViewedSegment::Copy(uint64_t epoch, uint64_t* to, size_t& size) const {
  const auto* slot = reinterpret_cast<const Slot*>(memory_.data() + SlotOffset(slots_offset_, slot_bytes_, epoch));
  if (slot->sequence.load(std::memory_order_acquire) != 2 * epoch) return Outcome::kBusy;
  const uint64_t length = slot->length.load(std::memory_order_relaxed);
  bool sealed = false;
  if (length <= CapacityOf(slot_bytes_)) {
    const std::atomic<uint64_t>* words = slot->words();
    const size_t count = WordsFor(length);
    const uint64_t sum = LoadWords(words, count, to);
    sealed = words[count].load(std::memory_order_relaxed) == SealOf(epoch, sum);
  }
  AcquireFence();  // pairs with the release fence in OwnSegment::Publish
  if (slot->sequence.load(std::memory_order_relaxed) != 2 * epoch) return Outcome::kBusy;
  if (!sealed) return Outcome::kInvalid;
  size = length;
  return Outcome::kCopied;
}

void MarkMoved(const Mapping& memory) {
  // It may have been cut short; what counts is that `latest` is still there.
  if (memory.size() < offsetof(Header, latest) + sizeof(uint64_t)) return;
  auto* header = reinterpret_cast<Header*>(memory.data());
  if (header->magic != kMagic || header->version != kLayoutVersion) return;
  header->latest.store(kMoved, std::memory_order_release);
  Wake(header->latest);
}

}  // namespace ipcrpc::snapshot

#include "transport/snapshot/segment.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <new>
#include <utility>

#include "transport/base/atomics.h"
#include "transport/base/clock.h"
#include "transport/base/futex.h"
#include "transport/base/process.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"

namespace ipcrpc::snapshot {
namespace {

namespace bip = boost::interprocess;

// What Boost maps: a descriptor that was checked before, so that nobody puts another file in its place.
struct Mappable {
  int fd;
  bip::mapping_handle_t get_mapping_handle() const {
    return bip::ipcdetail::mapping_handle_from_file_handle(fd);
  }
};

absl::StatusOr<bip::mapped_region> Map(int fd, size_t size, bip::mode_t mode) {
  try {
    return bip::mapped_region(Mappable{fd}, mode, 0, size);
  } catch (const bip::interprocess_exception& error) {
    return absl::ResourceExhaustedError(Cat("cannot map ", size, " bytes of a snapshot: ", error.what()));
  }
}

// Bytes at `offset`; false when the file ends before.
bool ReadAt(int fd, uint64_t offset, void* to, size_t size) {
  while (size > 0) {
    const ssize_t n = pread(fd, to, size, static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    to = static_cast<char*>(to) + n;
    offset += static_cast<uint64_t>(n);
    size -= static_cast<size_t>(n);
  }
  return true;
}

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

void Wake(const std::atomic<uint64_t>& latest) { FutexWake(FutexWord(latest), FutexScope::kShared, INT_MAX); }

}  // namespace

// ---- OwnSegment --------------------------------------------------------------------------------

uint64_t OwnSegment::Bytes(const SnapshotSchema& schema, uint64_t slot_bytes) {
  return SegmentBytes(SlotsOffset(schema.type_name.size() + schema.descriptors.size()), slot_bytes);
}

absl::StatusOr<OwnSegment> OwnSegment::Make(const UniqueFd& fd, const SnapshotSchema& schema,
                                            uint64_t slot_bytes) {
  OwnSegment segment;
  const uint64_t size = Bytes(schema, slot_bytes);
  ASSIGN_OR_RETURN(segment.region_, Map(fd.get(), size, bip::read_write));
  segment.guard_ =
      BusGuard(segment.region_.get_address(), segment.region_.get_size(), BusGuard::Access::kReadWrite);
  segment.slot_bytes_ = slot_bytes;
  segment.slots_offset_ = SlotsOffset(schema.type_name.size() + schema.descriptors.size());

  auto* header = new (segment.region_.get_address()) Header();
  header->magic = kMagic;
  header->version = kLayoutVersion;
  header->slots = kSlots;
  header->size = size;
  header->slot_bytes = slot_bytes;
  header->slots_offset = segment.slots_offset_;
  header->fingerprint = schema.fingerprint;
  header->type_name_bytes = static_cast<uint32_t>(schema.type_name.size());
  header->descriptor_bytes = static_cast<uint32_t>(schema.descriptors.size());
  header->writer_pid = static_cast<uint32_t>(getpid());
  header->writer_start = ProcessStartTime(getpid());
  header->writer_namespace = PidNamespace();
  char* after = reinterpret_cast<char*>(header + 1);
  after += schema.type_name.copy(after, schema.type_name.size());
  schema.descriptors.copy(after, schema.descriptors.size());
  return segment;
}

void OwnSegment::Publish(uint64_t epoch, const void* data, size_t size) {
  Header* const own = header();
  auto* slot = reinterpret_cast<Slot*>(static_cast<std::byte*>(region_.get_address()) +
                                       SlotOffset(slots_offset_, slot_bytes_, epoch));
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

void OwnSegment::Beat() { header()->heartbeat_ns.store(MonotonicNs(), std::memory_order_relaxed); }

// ---- Shape -------------------------------------------------------------------------------------

absl::StatusOr<Shape> ReadShape(const UniqueFd& fd, const std::string& place) {
  // As bytes: whatever the file has, reading it as numbers is defined.
  alignas(Header) std::byte bytes[sizeof(Header)];
  struct stat info;
  if (fstat(fd.get(), &info) != 0) return absl::ErrnoToStatus(errno, Cat("cannot examine ", place));
  if (!ReadAt(fd.get(), 0, bytes, sizeof bytes)) {
    return absl::FailedPreconditionError(Cat(place, " is not a snapshot: it has ", info.st_size,
                                             " bytes, a header alone has ", sizeof(Header)));
  }
  const auto* header = reinterpret_cast<const Header*>(bytes);
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
  if (static_cast<uint64_t>(info.st_size) < shape.size) {
    return absl::DataLossError(
        Cat(place, " has ", info.st_size, " bytes where its header says ", shape.size));
  }
  shape.schema.type_name.resize(name_bytes);
  shape.schema.descriptors.resize(descriptor_bytes);
  if (!ReadAt(fd.get(), sizeof(Header), shape.schema.type_name.data(), name_bytes) ||
      !ReadAt(fd.get(), sizeof(Header) + name_bytes, shape.schema.descriptors.data(), descriptor_bytes)) {
    return absl::DataLossError(Cat(place, " was cut short while it was read"));
  }
  return shape;
}

// ---- ViewedSegment -----------------------------------------------------------------------------

absl::StatusOr<ViewedSegment> ViewedSegment::Map(const UniqueFd& fd, const Shape& shape, bool guard) {
  ViewedSegment segment;
  ASSIGN_OR_RETURN(segment.region_, snapshot::Map(fd.get(), shape.size, bip::read_only));
  if (guard)
    segment.guard_ =
        BusGuard(segment.region_.get_address(), segment.region_.get_size(), BusGuard::Access::kRead);
  segment.slot_bytes_ = shape.slot_bytes;
  segment.slots_offset_ = shape.slots_offset;
  return segment;
}

ViewedSegment::Outcome ViewedSegment::Copy(uint64_t epoch, uint64_t* to, size_t& size) const {
  const auto* slot = reinterpret_cast<const Slot*>(static_cast<const std::byte*>(region_.get_address()) +
                                                   SlotOffset(slots_offset_, slot_bytes_, epoch));
  if (slot->sequence.load(std::memory_order_acquire) != 2 * epoch) return Outcome::kBusy;
  const uint64_t length = slot->length.load(std::memory_order_relaxed);
  bool sealed = false;
  if (length <= CapacityOf(slot_bytes_)) {
    const std::atomic<uint64_t>* words = slot->words();
    const size_t count = WordsFor(length);
    uint64_t sum = 0;
    for (size_t i = 0; i < count; ++i) sum += to[i] = words[i].load(std::memory_order_relaxed);
    sealed = words[count].load(std::memory_order_relaxed) == SealOf(epoch, sum);
  }
  AcquireFence();  // pairs with the release fence in OwnSegment::Publish
  if (slot->sequence.load(std::memory_order_relaxed) != 2 * epoch) return Outcome::kBusy;
  if (!sealed) return Outcome::kInvalid;
  size = length;
  return Outcome::kCopied;
}

void MarkMoved(const UniqueFd& fd) {
  struct stat info;
  uint64_t magic = 0;
  uint32_t version = 0;
  // It may have been cut short; what counts is that `latest` is still there.
  if (fstat(fd.get(), &info) != 0 ||
      info.st_size < static_cast<off_t>(offsetof(Header, latest) + sizeof(uint64_t)) ||
      !ReadAt(fd.get(), offsetof(Header, magic), &magic, sizeof magic) || magic != kMagic ||
      !ReadAt(fd.get(), offsetof(Header, version), &version, sizeof version) || version != kLayoutVersion) {
    return;
  }
  absl::StatusOr<bip::mapped_region> region = Map(fd.get(), sizeof(Header), bip::read_write);
  if (!region.ok()) return;
  const BusGuard guard(region->get_address(), region->get_size(), BusGuard::Access::kReadWrite);
  auto* header = static_cast<Header*>(region->get_address());
  header->latest.store(kMoved, std::memory_order_release);
  Wake(header->latest);
}

}  // namespace ipcrpc::snapshot

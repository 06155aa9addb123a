// RawSnapshotPublisher: which segment is written, and when it has to be another.
#include <unistd.h>

#include <algorithm>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "ipcrpc/raw_snapshot.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/snapshot/error.h"
#include "transport/snapshot/home.h"
#include "transport/snapshot/segment.h"

namespace ipcrpc {
namespace {

using snapshot::Home;
using snapshot::OwnSegment;

// A quarter more than is needed now, in whole pages; so that growth is rare.
uint64_t SlotBytesFor(size_t size) {
  constexpr uint64_t kPage = 4096;
  return std::min((size + size / 4 + kPage) / kPage * kPage,
                  snapshot::kMaxSlotBytes);  // and room for the seal
}

// The number after `epoch`. Its low half is never that of kMoved, which has to change the futex word.
uint64_t Next(uint64_t epoch) {
  ++epoch;
  return static_cast<uint32_t>(epoch) == static_cast<uint32_t>(snapshot::kMoved) ? epoch + 1 : epoch;
}

// Where a segment's numbers begin: beyond those of any writer before, which publish less than once a
// microsecond.
uint64_t NowMicros() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

}  // namespace

struct RawSnapshotPublisher::State {
  State(std::string at, SnapshotSchema what) : place(std::move(at)), schema(std::move(what)) {}

  const std::string place;
  const SnapshotSchema schema;
  const pid_t owner = getpid();

  mutable std::mutex mu;
  std::unique_ptr<Home> home;
  std::optional<OwnSegment> segment;
  uint64_t epoch = 0;

  absl::Status Publish(const void* data, size_t size);
  absl::Status PublishInNew(const void* data, size_t size);
};

absl::Status RawSnapshotPublisher::State::Publish(const void* data, size_t size) {
  if (owner != getpid()) {
    return absl::FailedPreconditionError(
        Cat("snapshot '", place, "' belongs to pid ", owner, ", of which this process was forked"));
  }
  constexpr uint64_t kMost = snapshot::CapacityOf(snapshot::kMaxSlotBytes);
  if (size > kMost) {
    return absl::ResourceExhaustedError(
        Cat("snapshot '", place, "': ", size, " bytes to publish, ", kMost, " is the most"));
  }
  if (!segment || size > segment->capacity() || segment->broken()) return PublishInNew(data, size);
  epoch = Next(epoch);
  segment->Publish(epoch, data, size);
  return absl::OkStatus();
}

absl::Status RawSnapshotPublisher::State::PublishInNew(const void* data, size_t size) {
  if (schema.type_name.size() > snapshot::kMaxTypeNameBytes ||
      schema.descriptors.size() > snapshot::kMaxDescriptorBytes) {
    return absl::ResourceExhaustedError(Cat("snapshot '", place, "': type name and descriptors of ",
                                            schema.type_name.size(), " and ", schema.descriptors.size(),
                                            " bytes; ", snapshot::kMaxTypeNameBytes, " and ",
                                            snapshot::kMaxDescriptorBytes, " are the most"));
  }
  if (home == nullptr) {
    ASSIGN_OR_RETURN(home, Home::Take(place));
  }
  const uint64_t slot_bytes = SlotBytesFor(size);
  ASSIGN_OR_RETURN(shm::Mapping memory, home->NewMemory(OwnSegment::Bytes(schema, slot_bytes)));
  memory.Inherit();
  OwnSegment grown(std::move(memory), schema, slot_bytes);
  const uint64_t first = Next(std::max(epoch, NowMicros()));
  grown.Publish(first, data, size);
  RETURN_IF_ERROR(home->Place());
  epoch = first;
  segment.reset();
  segment.emplace(std::move(grown));
  return absl::OkStatus();
}

RawSnapshotPublisher::RawSnapshotPublisher(std::string place, SnapshotSchema schema)
    : state_(new State(std::move(place), std::move(schema))) {}

RawSnapshotPublisher::~RawSnapshotPublisher() = default;

SnapshotError RawSnapshotPublisher::Publish(const void* data, size_t size) {
  const std::lock_guard lock(state_->mu);
  return snapshot::ToError(state_->Publish(data, size));
}

void RawSnapshotPublisher::Beat() {
  const std::lock_guard lock(state_->mu);
  if (state_->segment && state_->owner == getpid()) state_->segment->Beat();
}

std::string RawSnapshotPublisher::name() const { return state_->place.substr(0, state_->place.find('?')); }
const SnapshotSchema& RawSnapshotPublisher::schema() const { return state_->schema; }

UniqueFd RawSnapshotPublisher::Share() const {
  const std::lock_guard lock(state_->mu);
  return state_->segment ? state_->home->Share() : UniqueFd();
}

uint64_t RawSnapshotPublisher::CopyLatest(std::string* message) const {
  std::optional<snapshot::ViewedSegment> view;
  {
    // Not while copying: the writer waits for nobody.
    const std::lock_guard lock(state_->mu);
    if (!state_->segment) return 0;
    view.emplace(state_->segment->View());
  }
  std::vector<uint64_t> words(view->slot_bytes() / sizeof(uint64_t));
  for (int attempt = 0; attempt < snapshot::kReadAttempts; ++attempt) {
    const uint64_t epoch = view->latest().load(std::memory_order_acquire);
    size_t size = 0;
    if (epoch == snapshot::kMoved || view->Copy(epoch, words.data(), size) != snapshot::ViewedSegment::Outcome::kCopied) continue;
    message->assign(reinterpret_cast<const char*>(words.data()), size);
    return epoch;
  }
  return 0;
}

std::string RawSnapshotPublisher::path() const {
  const std::lock_guard lock(state_->mu);
  return state_->home == nullptr ? "" : state_->home->path();
}

}  // namespace ipcrpc

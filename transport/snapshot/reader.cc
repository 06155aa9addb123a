// RawSnapshotReader: which segment is read, and what to do when it is over, silent or broken.
#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <set>
#include <utility>

#include "ipcrpc/raw_snapshot.h"
#include "transport/base/atomics.h"
#include "transport/base/clock.h"
#include "transport/base/futex.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/snapshot/error.h"
#include "transport/names.h"
#include "transport/snapshot/file_names.h"
#include "transport/snapshot/finder.h"
#include "transport/snapshot/memfd_home.h"

namespace ipcrpc {
namespace {

using shm::Mapping;
using snapshot::ViewedSegment;

// How long a death may go unseen by who waits.
constexpr int64_t kLookEveryNs = 1'000'000'000;
// How often who waits asks a source that tells by value.
constexpr int64_t kAskEveryNs = 100'000'000;

// What a reader without a segment looks at: always other than what it has.
constexpr std::atomic<uint64_t> kNothing{snapshot::kMoved};

absl::Status DeadWriter(const SnapshotWriter& writer, const std::string& path) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(writer.silence).count();
  if (writer.state == SnapshotWriter::State::kDead) {
    return absl::UnavailableError(
        Cat("the writer of ", path, " is dead: pid ", writer.pid, ", last heard of ", seconds, " s ago"));
  }
  return absl::UnavailableError(Cat("the writer of ", path, " has been silent for ", seconds,
                                    " s, and its process (pid ", writer.pid,
                                    " of another PID namespace) cannot be seen from here"));
}

// Memory to copy a publication to.
struct Buffer {
  std::unique_ptr<uint64_t[]> words;
  uint64_t bytes = 0;

  // Grows to `wanted`, and keeps the first `used` bytes.
  void Reserve(uint64_t wanted, size_t used) {
    if (bytes >= wanted) return;
    auto larger = std::make_unique_for_overwrite<uint64_t[]>(wanted / sizeof(uint64_t));
    if (used != 0) std::memcpy(larger.get(), words.get(), used);
    words = std::move(larger);
    bytes = wanted;
  }
};

}  // namespace

struct RawSnapshotReader::State {
  State(std::string at, std::unique_ptr<SnapshotSource> from, SnapshotReaderOptions how, SnapshotSchema what)
      : place(from == nullptr ? std::move(at) : from->name()), source(std::move(from)), options(how), expected(std::move(what)) {}

  const std::string place;  // or the source's name
  const std::unique_ptr<SnapshotSource> source;
  const SnapshotReaderOptions options;
  const SnapshotSchema expected;

  std::optional<ViewedSegment> segment;
  snapshot::FoundSegment file;  // what `segment` reads, or read last; without its memory
  bool by_value = false;                       // the source could not tell where it is
  std::optional<SnapshotSource::Answer> told;  // by value, to a waiter; for the next Read()
  int64_t looked_ns = 0;  // when we last asked the system about writer and file

  Buffer current;  // what the user has
  Buffer spare;
  uint64_t revision = 0;
  size_t size = 0;

  absl::Status Open();
  absl::StatusOr<snapshot::FoundSegment> FindNamed() const;
  absl::StatusOr<snapshot::FoundSegment> FindBySource();
  absl::Status CheckSchema(const SnapshotSchema& schema, const std::string& path) const;
  absl::Status Read();
  absl::Status ReadSegment();
  absl::Status AskForMessage(SnapshotSource::Answer& answer);
  absl::Status ReadByValue();
  absl::Status CutShort();
  absl::Status CheckSilence();
  absl::Status Look();
  absl::Status Wait(int64_t deadline_ns);
  absl::Status WaitByValue(int64_t deadline_ns);
  SnapshotWriter Writer() const;
  bool Lives(const SnapshotWriter& writer) const;

  bool Changed() const { return !segment || segment->latest().load(std::memory_order_acquire) != revision; }
};

// ---- finding it --------------------------------------------------------------------------------

absl::Status RawSnapshotReader::State::CheckSchema(const SnapshotSchema& schema, const std::string& path) const {
  if (!expected.type_name.empty() && schema.type_name != expected.type_name) {
    return absl::FailedPreconditionError(
        Cat(path, " holds ", schema.type_name.empty() ? "no known message type" : schema.type_name, "; expected ",
            expected.type_name));
  }
  if (options.same_schema_only && schema.fingerprint != expected.fingerprint) {
    return absl::FailedPreconditionError(
        Cat(path, " holds another version of ", schema.type_name, " than this program knows"));
  }
  return absl::OkStatus();
}

absl::StatusOr<snapshot::FoundSegment> RawSnapshotReader::State::FindNamed() const {
  ASSIGN_OR_RETURN(const snapshot::ReadPlace where, snapshot::ParseReadPlace(place));
  return snapshot::Find(where, options.guard_sigbus);
}

// UNIMPLEMENTED: only by value.
absl::StatusOr<snapshot::FoundSegment> RawSnapshotReader::State::FindBySource() {
  SnapshotSource::Answer answer;
  absl::Status asked = snapshot::FromError(source->Ask(false, 0, &answer));
  if (absl::IsFailedPrecondition(asked) || absl::IsResourceExhausted(asked)) return absl::UnimplementedError("by value");
  RETURN_IF_ERROR(asked);
  if (answer.memory.valid()) {
    ASSIGN_OR_RETURN(Mapping memory, snapshot::MapMemfd(std::move(answer.memory)));
    memory.Inherit();
    snapshot::FoundSegment found = {.memory = std::move(memory), .path = place, .file = {}, .shape = {}};
    ASSIGN_OR_RETURN(found.shape, snapshot::ReadShape(found.memory, place));
    return found;
  }
  absl::StatusOr<snapshot::FoundSegment> found = snapshot::Find({.paths = {answer.path}, .believe = {}}, options.guard_sigbus);
  if (found.ok()) return found;
  // The server sees another file there than we do, or we may not read it.
  return absl::UnimplementedError("by value");
}

absl::Status RawSnapshotReader::State::Open() {
  absl::StatusOr<snapshot::FoundSegment> found = source == nullptr ? FindNamed() : FindBySource();
  by_value = source != nullptr && absl::IsUnimplemented(found.status());
  if (by_value) return absl::OkStatus();
  RETURN_IF_ERROR(found.status());
  RETURN_IF_ERROR(CheckSchema(found->shape.schema, found->path));
  ViewedSegment view(std::exchange(found->memory, {}), found->shape);
  file = *std::move(found);
  // Now, so that reading allocates nothing.
  current.Reserve(file.shape.slot_bytes, size);
  spare.Reserve(file.shape.slot_bytes, 0);
  segment.emplace(std::move(view));
  return absl::OkStatus();
}

// ---- reading -----------------------------------------------------------------------------------

absl::Status RawSnapshotReader::State::CutShort() {
  segment.reset();
  return absl::DataLossError(Cat(file.path, " was cut short while it was read"));
}

absl::Status RawSnapshotReader::State::Read() {
  if (by_value) return ReadByValue();
  const absl::Status status = ReadSegment();
  // Too busy for us; its writer's process has it, too.
  const bool ask = by_value || (source != nullptr && absl::IsAborted(status));
  return ask ? ReadByValue() : status;
}

absl::Status RawSnapshotReader::State::AskForMessage(SnapshotSource::Answer& answer) {
  absl::Status asked = snapshot::FromError(source->Ask(true, revision, &answer));
  if (asked.ok()) asked = CheckSchema(answer.schema, place);
  if (asked.ok() && answer.message.size() > snapshot::CapacityOf(snapshot::kMaxSlotBytes)) {
    asked = absl::DataLossError(Cat(place, " was told with ", answer.message.size(), " bytes, more than a snapshot can have"));
  }
  // Whoever answers the next time may be another.
  if (!asked.ok()) by_value = false;
  return asked;
}

absl::Status RawSnapshotReader::State::ReadByValue() {
  if (!told) {
    SnapshotSource::Answer answer;
    RETURN_IF_ERROR(AskForMessage(answer));
    told = std::move(answer);
  }
  const SnapshotSource::Answer answer = *std::exchange(told, std::nullopt);
  if (!segment) {
    file = {.memory = {}, .path = place, .file = {}, .shape = {}};
    file.shape.schema = answer.schema;
  }
  if (answer.revision == revision) return absl::OkStatus();
  spare.Reserve(snapshot::AlignUp(answer.message.size() + 1), 0);
  std::memcpy(spare.words.get(), answer.message.data(), answer.message.size());
  std::swap(current, spare);
  if (segment) spare.Reserve(segment->slot_bytes(), 0);
  revision = answer.revision;
  size = answer.message.size();
  return absl::OkStatus();
}

absl::Status RawSnapshotReader::State::ReadSegment() {
  bool opened = false, over = false;
  for (int attempt = 0; attempt < snapshot::kReadAttempts; ++attempt) {
    if (!segment) {
      RETURN_IF_ERROR(Open());
      if (!segment) return absl::OkStatus();  // by value
      opened = true;
    }
    const uint64_t epoch = segment->latest().load(std::memory_order_acquire);
    if (segment->broken()) return CutShort();
    over = epoch == snapshot::kMoved;
    if (over) {
      segment.reset();
      continue;
    }
    if (epoch == revision && !opened) return CheckSilence();
    size_t length = 0;
    // Nobody finds a segment before something is published in it.
    const ViewedSegment::Outcome outcome =
        epoch == 0 ? ViewedSegment::Outcome::kInvalid : segment->Copy(epoch, spare.words.get(), length);
    if (segment->broken()) return CutShort();
    if (outcome == ViewedSegment::Outcome::kCopied) {
      std::swap(current, spare);
      revision = epoch;
      size = length;
      return CheckSilence();
    }
    if (outcome == ViewedSegment::Outcome::kInvalid) {
      segment.reset();
      return absl::DataLossError(
          Cat(file.path, " was cut short, or is not well-formed: no writer leaves it like this"));
    }
    CpuRelax();
  }
  // Nobody is going to put another in its place: it is on the point of being removed.
  if (over)
    return absl::NotFoundError(Cat("no such snapshot: ", file.path, " is over, its writer has stopped"));
  return absl::AbortedError(
      Cat("snapshot '", place, "' changed faster than it could be read, ", snapshot::kReadAttempts, " times"));
}

// ---- its writer --------------------------------------------------------------------------------

SnapshotWriter RawSnapshotReader::State::Writer() const {
  SnapshotWriter writer = snapshot::WriterOf(file.shape);
  if (segment)
    writer.silence = std::chrono::nanoseconds(std::max<int64_t>(0, MonotonicNs() - segment->heartbeat_ns()));
  return writer;
}

// Whether what we read is still what its writer writes; asks the system.
absl::Status RawSnapshotReader::State::Look() {
  looked_ns = MonotonicNs();
  if (file.file != snapshot::FileId() && snapshot::FileAt(file.path) != file.file) {
    // Somebody put another in its place without a word to us: Changed().
    segment.reset();
    return absl::OkStatus();
  }
  const SnapshotWriter writer = Writer();
  if (Lives(writer)) return absl::OkStatus();
  const absl::Status dead = DeadWriter(writer, file.path);
  if (source == nullptr) return dead;
  // Its successor has no name to mark the old one's memory by.
  segment.reset();
  if (const absl::Status asked = Open(); !asked.ok()) return absl::UnavailableError(Cat(MessageOf(dead), "; ", MessageOf(asked)));
  return !segment || Lives(Writer()) ? absl::OkStatus() : dead;
}

bool RawSnapshotReader::State::Lives(const SnapshotWriter& writer) const {
  const bool silent = options.max_silence.count() > 0 && writer.silence > options.max_silence;
  return writer.state == SnapshotWriter::State::kAlive || (writer.state == SnapshotWriter::State::kInvisible && !silent);
}

absl::Status RawSnapshotReader::State::CheckSilence() {
  if (options.max_silence.count() == 0) return absl::OkStatus();
  const int64_t heard_ns = std::max(segment->heartbeat_ns(), looked_ns);
  if (MonotonicNs() - heard_ns <= options.max_silence.count()) return absl::OkStatus();
  const absl::Status status = Look();
  if (!status.ok()) looked_ns = 0;  // say so again the next time
  return status;
}

absl::Status RawSnapshotReader::State::WaitByValue(int64_t deadline_ns) {
  for (;;) {
    SnapshotSource::Answer answer;
    RETURN_IF_ERROR(AskForMessage(answer));
    if (answer.revision != revision) {
      told = std::move(answer);
      return absl::OkStatus();
    }
    const int64_t now = MonotonicNs();
    if (now >= deadline_ns) return absl::DeadlineExceededError(Cat("snapshot '", place, "' did not change in time"));
    const timespec pause = ToTimespec(std::min(deadline_ns - now, kAskEveryNs));
    nanosleep(&pause, nullptr);
  }
}

absl::Status RawSnapshotReader::State::Wait(int64_t deadline_ns) {
  if (by_value) return WaitByValue(deadline_ns);
  while (!Changed()) {
    const int64_t now = MonotonicNs();
    if (now - looked_ns >= kLookEveryNs) {
      const absl::Status status = Look();
      if (!status.ok()) looked_ns = 0;
      RETURN_IF_ERROR(status);
      continue;
    }
    if (now >= deadline_ns)
      return absl::DeadlineExceededError(Cat("snapshot '", place, "' did not change in time"));
    FutexWait(snapshot::FutexWord(segment->latest()), static_cast<uint32_t>(revision), FutexScope::kShared,
              std::min(deadline_ns, looked_ns + kLookEveryNs));
  }
  return absl::OkStatus();
}

// ---- the public face ---------------------------------------------------------------------------

RawSnapshotReader::RawSnapshotReader(std::string place, SnapshotReaderOptions options,
                                     SnapshotSchema expected)
    : state_(new State(std::move(place), nullptr, options, std::move(expected))), latest_(&kNothing) {}

RawSnapshotReader::RawSnapshotReader(std::unique_ptr<SnapshotSource> source, SnapshotReaderOptions options,
                                     SnapshotSchema expected)
    : state_(new State("", std::move(source), options, std::move(expected))), latest_(&kNothing) {}

RawSnapshotReader::~RawSnapshotReader() = default;

SnapshotSource::~SnapshotSource() = default;

SnapshotError RawSnapshotReader::Read() {
  const absl::Status status = state_->Read();
  latest_ = state_->segment ? &state_->segment->latest() : &kNothing;
  revision_ = state_->revision;
  data_ = state_->current.words.get();
  size_ = state_->size;
  return snapshot::ToError(status);
}

SnapshotError RawSnapshotReader::WaitForChange(std::chrono::steady_clock::time_point deadline) {
  // steady_clock is CLOCK_MONOTONIC.
  const absl::Status status = state_->Wait(std::chrono::nanoseconds(deadline.time_since_epoch()).count());
  latest_ = state_->segment ? &state_->segment->latest() : &kNothing;
  return snapshot::ToError(status);
}

SnapshotWriter RawSnapshotReader::writer() const { return state_->Writer(); }
const SnapshotSchema& RawSnapshotReader::schema() const { return state_->file.shape.schema; }
const std::string& RawSnapshotReader::path() const { return state_->file.path; }

std::vector<std::string> ListSnapshots() {
  std::set<std::string> names;
  for (const std::string& directory : ClientDirectories()) {
    DIR* dir = opendir(directory.c_str());
    if (dir == nullptr) continue;
    while (const dirent* entry = readdir(dir)) {
      const std::string_view name = entry->d_name;
      if (name.size() > snapshot::kSuffix.size() && name.ends_with(snapshot::kSuffix)) {
        names.emplace(name.substr(0, name.size() - snapshot::kSuffix.size()));
      }
    }
    closedir(dir);
  }
  return {names.begin(), names.end()};
}

}  // namespace ipcrpc

// Snapshots of a message of 1 KiB, as their readers and their writer find them; and what is beneath, bare. Run by ipcrpc_bench as the
// systems are: one process serves, and the other is measured.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <string>
#include <string_view>

#include "bench/process.h"
#include "bench/sample.h"
#include "echo.pb.h"
#include "ipcrpc/snapshot.h"

namespace ipcrpc::bench {
namespace {

constexpr char kPlace[] = "bench";
constexpr uint64_t kPerSecond = 10'000;
constexpr int kBatch = 1000;

// Its number is as long as any, so that each has the same size.
void Fill(uint64_t number, size_t bytes, Echo* message) {
  message->set_id(number | uint64_t{1} << 62);
  message->mutable_payload()->assign(bytes, static_cast<char>('a' + number % 26));
}

// A turn every 100 µs, by the clock; those that were missed are left out.
class Pace {
 public:
  explicit Pace(double ticks_per_us) : ticks_(static_cast<uint64_t>(ticks_per_us * 1e6 / kPerSecond)), next_(Now()) {}
  void Await() {
    while (Now() < next_) Pause();
    next_ = std::max(next_ + ticks_, Now());
  }

 private:
  const uint64_t ticks_;
  uint64_t next_;
};

// What a clock takes that is read twice.
uint64_t ClockTicks() {
  uint64_t least = ~uint64_t{0};
  for (int i = 0; i < 10'000; ++i) {
    const uint64_t before = Now();
    least = std::min(least, Now() - before);
  }
  return least;
}

// Measures `timed` alone, which `wait` lets happen each time.
template <typename Wait, typename Timed>
void MeasureEach(Sample& sample, Wait&& wait, Timed&& timed) {
  const uint64_t clock = ClockTicks();
  Meter meter(sample);
  for (const uint64_t warm = Now() + sample.warmup_ticks; Now() < warm;) wait(), timed();
  meter.Start();
  const uint64_t began = Now();
  for (uint64_t after = began; after - began < sample.measure_ticks;) {
    wait();
    const uint64_t before = Now();
    timed();
    after = Now();
    sample.latency.Add(after - before - std::min(clock, after - before));
  }
  meter.Stop(Now() - began);
}

// ---- by hand: messages in four places and the number of the newest, nothing else ----------------------------------

struct Bare {
  struct Place {
    uint64_t bytes;
    alignas(64) char data[4096];
  };
  alignas(64) std::atomic<uint64_t> newest;
  alignas(64) Place places[4];
};

Bare* MapBare(int flags) {
  const int fd = open((std::string(getenv("IPCRPC_RUNTIME_DIR")) + "/bare-snapshot").c_str(), flags | O_CLOEXEC, 0600);
  if (fd < 0 || ((flags & O_CREAT) != 0 && ftruncate(fd, sizeof(Bare)) != 0)) Fail("no file to share the snapshot in");
  void* memory = mmap(nullptr, sizeof(Bare), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
  close(fd);
  if (memory == MAP_FAILED) Fail("mmap");
  return static_cast<Bare*>(memory);
}

void ServeBare(const ReadySignal& ready, size_t bytes) {
  Bare* const bare = MapBare(O_RDWR | O_CREAT | O_TRUNC);
  Pace pace(TicksPerMicrosecond());
  Echo message;
  for (uint64_t number = 1;; ++number) {
    Fill(number, bytes, &message);
    Bare::Place& place = bare->places[number % 4];
    place.bytes = message.ByteSizeLong();
    message.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(place.data));
    bare->newest.store(number, std::memory_order_release);
    if (number == 1) ready.Tell();
    pace.Await();
  }
}

void DriveBare(Sample& sample) {
  const Bare* const bare = MapBare(O_RDWR);
  uint64_t seen = 0;
  char copy[sizeof(Bare::Place::data)];
  Echo message;
  const auto changed = [&] { return bare->newest.load(std::memory_order_acquire) != seen; };
  MeasureEach(
      sample, [&] { while (!changed()) Pause(); },
      [&] {
        seen = bare->newest.load(std::memory_order_acquire);
        const Bare::Place& place = bare->places[seen % 4];
        const size_t size = place.bytes;
        std::memcpy(copy, place.data, size);
        if (!message.ParseFromArray(copy, static_cast<int>(size))) Fail("a torn message");
      });
}

// ---- snapshots ---------------------------------------------------------------------------------------------------

void ServeSnapshot(const ReadySignal& ready, size_t bytes, bool changing) {
  SnapshotPublisher<Echo> publisher(kPlace);
  Pace pace(TicksPerMicrosecond());
  Echo message;
  for (uint64_t number = 1;; ++number) {
    Fill(number, bytes, &message);
    if (const Status status = publisher.Publish(message); !status.ok()) Fail(status.error_message());
    if (number == 1) ready.Tell();
    while (!changing) pause();
    pace.Await();
  }
}

void DriveUnchanged(Sample& sample) {
  SnapshotReader<Echo> reader(kPlace);
  if (reader.Read() == nullptr) Fail(reader.status().error_message());
  Measure(sample, [&] {
    for (int i = 0; i < kBatch; ++i) {
      if (reader.Read() == nullptr) Fail(reader.status().error_message());
      asm volatile("" ::: "memory");
    }
  });
}

void DriveChanged(Sample& sample) {
  SnapshotReader<Echo> reader(kPlace);
  const Echo* now = reader.Read();
  if (now == nullptr) Fail(reader.status().error_message());
  MeasureEach(
      sample, [&] { while (!reader.Changed()) Pause(); },
      [&] {
        if ((now = reader.Read()) == nullptr) Fail(reader.status().error_message());
      });
}

// Readers that do nothing else, each in a process.
void ServeReaders(const ReadySignal& ready, int count) {
  for (int i = 0; i < count; ++i) {
    if (fork() != 0) continue;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    SnapshotReader<Echo> reader(kPlace);
    for (;;) {
      if (reader.Read() == nullptr && reader.status().error_code() != StatusCode::NOT_FOUND) Fail(reader.status().error_message());
    }
  }
  ready.Tell();
  for (;;) pause();
}

void DriveWriter(Sample& sample) {
  SnapshotPublisher<Echo> publisher(kPlace);
  Pace pace(sample.ticks_per_us);
  Echo message;
  uint64_t number = 0;
  MeasureEach(
      sample,
      [&] {
        Fill(++number, sample.order.bytes, &message);
        pace.Await();
      },
      [&] {
        if (const Status status = publisher.Publish(message); !status.ok()) Fail(status.error_message());
      });
}

int Main(int argc, char** argv) {
  const std::string_view variant = argc > 1 ? argv[1] : "", role = argc > 2 ? argv[2] : "";
  if (role == "serve" && argc == 6) {
    const ReadySignal ready(atoi(argv[4]));
    const SharedMemory memory(atoi(argv[5]), sizeof(Sample));
    const size_t bytes = memory.As<Sample>()->order.bytes;
    if (variant == "bare") ServeBare(ready, bytes);
    if (variant.starts_with("publish")) ServeReaders(ready, atoi(variant.substr(7).data()));
    ServeSnapshot(ready, bytes, variant == "changed");
  }
  if (role == "drive" && argc == 5) {
    const SharedMemory memory(atoi(argv[4]), sizeof(Sample));
    Sample& sample = *memory.As<Sample>();
    if (variant == "bare") DriveBare(sample);
    if (variant == "unchanged") DriveUnchanged(sample);
    if (variant == "changed") DriveChanged(sample);
    if (variant.starts_with("publish")) DriveWriter(sample);
    return 0;
  }
  fprintf(stderr, "%s is run by ipcrpc_bench\n", argv[0]);
  return 2;
}

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) { return ipcrpc::bench::Main(argc, argv); }

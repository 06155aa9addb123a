// Writers that publish flat out and are killed at any moment, readers in processes of their own that must
// never see anything torn.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "ipcrpc/raw_snapshot.h"
#include "transport/base/clock.h"
#include "transport/snapshot/memory.h"
#include "transport/testing/child.h"
#include "transport/testing/temp_dir.h"

namespace ipcrpc {
namespace {

// What is published: `count` words, all made from `number`, so that any mixture shows.
struct Payload {
  uint64_t number;
  uint64_t count;
};
uint64_t WordAt(uint64_t number, uint64_t i) { return number * 0x9e37'79b9'7f4a'7c15 + i; }

std::vector<uint64_t> Make(uint64_t number, uint64_t count) {
  std::vector<uint64_t> words(2 + count);
  words[0] = number;
  words[1] = count;
  for (uint64_t i = 0; i < count; ++i) words[2 + i] = WordAt(number, i);
  return words;
}

bool Whole(const void* data, size_t size) {
  Payload head;
  if (size < sizeof head) return false;
  std::memcpy(&head, data, sizeof head);
  if (size != sizeof head + head.count * 8) return false;
  const auto* words = static_cast<const uint64_t*>(data) + 2;
  for (uint64_t i = 0; i < head.count; ++i) {
    if (words[i] != WordAt(head.number, i)) return false;
  }
  return true;
}

// What the processes of the test share beside the snapshot.
struct Shared {
  std::atomic<bool> stop;
  std::atomic<uint64_t> published;  // by all writers, so numbers never repeat
  std::atomic<uint64_t> read;
  std::atomic<uint64_t> busy;
  std::atomic<uint64_t> cut;  // truncated files met
  std::atomic<uint64_t> torn;
  std::atomic<uint64_t> backward;
  std::atomic<uint64_t> other;  // unexpected errors
};

class TortureTest : public testing::TestWithParam<std::string> {
 protected:
  TortureTest()
      : shared_(new (mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0))
                    Shared()) {}
  ~TortureTest() override { munmap(shared_, sizeof(Shared)); }

  int Read() {
    RawSnapshotReader reader("torture");
    uint64_t last = 0;
    while (!shared_->stop) {
      const SnapshotError error = reader.Read();
      switch (static_cast<absl::StatusCode>(error.code)) {
        case absl::StatusCode::kOk:
          break;
        case absl::StatusCode::kNotFound:  // between two writers
          continue;
        case absl::StatusCode::kAborted:
          ++shared_->busy;
          continue;
        case absl::StatusCode::kDataLoss:
        case absl::StatusCode::kFailedPrecondition:  // not even a header is left
          ++shared_->cut;
          continue;
        default:
          ++shared_->other;
          continue;
      }
      if (reader.revision() == last) continue;
      ++shared_->read;
      if (reader.revision() < last) ++shared_->backward;
      last = reader.revision();
      if (!Whole(reader.data(), reader.size())) ++shared_->torn;
    }
    return 0;
  }

  // Publishes until killed. Sizes grow within a writer's life, so that segments move, too.
  int Write(uint64_t seed) {
    std::mt19937_64 random(seed);
    RawSnapshotPublisher publisher("torture?home=" + GetParam(), {.fingerprint = 1, .type_name = "test.Torture"});
    for (uint64_t i = 0; !shared_->stop; ++i) {
      const std::vector<uint64_t> words = Make(++shared_->published, random() % (100 + i));
      if (const SnapshotError error = publisher.Publish(words.data(), words.size() * 8); !error.ok()) {
        fprintf(stderr, "a writer stopped: %s\n", error.message.c_str());
        return 1;
      }
    }
    return 0;
  }

  std::string path() const { return dir_.path() + "/torture.snap"; }
  // Where the memory is, if not in the file.
  std::optional<shm::LeftBehind> Elsewhere() const {
    return snapshot::ReadReference(UniqueFd(open(path().c_str(), O_RDONLY | O_CLOEXEC)));
  }
  // What is the memory. Its writer may put another in its place meanwhile: then what was is of no account.
  std::string MemoryFile() const {
    const std::optional<shm::LeftBehind> elsewhere = Elsewhere();
    return elsewhere ? "/dev/shm/" + elsewhere->name : path();
  }

  // Waits until `count` has grown by `by`.
  static bool Grows(const std::atomic<uint64_t>& count, uint64_t by) {
    const int64_t give_up = MonotonicNs() + 60'000'000'000;
    for (const uint64_t start = count; count < start + by;) {
      if (MonotonicNs() > give_up) return false;
      usleep(100);
    }
    return true;
  }

  TempRuntimeDir dir_;
  Shared* const shared_;
};

INSTANTIATE_TEST_SUITE_P(Homes, TortureTest, testing::Values("file", "posix", "sysv"),
                         [](const auto& home) { return home.param; });

TEST_P(TortureTest, ReadersNeverSeeTornDataWhoeverIsKilled) {
  std::vector<std::unique_ptr<Child>> readers;
  for (int i = 0; i < 3; ++i) readers.push_back(std::make_unique<Child>([this] { return Read(); }));
  std::mt19937_64 random(20);
  std::vector<std::optional<shm::LeftBehind>> left;
  for (int round = 0; round < 100; ++round) {
    Child writer([this, round] { return Write(static_cast<uint64_t>(round)); });
    ASSERT_TRUE(Grows(shared_->published, 50));
    ASSERT_TRUE(Grows(shared_->read, 3)) << "round " << round;
    usleep(random() % 2000);
    writer.Kill(SIGKILL);
    ASSERT_EQ(writer.Wait(), -SIGKILL);
    RawSnapshotReader stale("torture");
    const SnapshotError error = stale.Read();
    ASSERT_TRUE(error.ok()) << error.message;
    EXPECT_TRUE(Whole(stale.data(), stale.size()));
    EXPECT_EQ(stale.writer().state, SnapshotWriter::State::kDead);
    EXPECT_EQ(stale.WaitForChange(std::chrono::steady_clock::time_point::max()).code, static_cast<int>(absl::StatusCode::kUnavailable));
    left.push_back(Elsewhere());
    // A reader, too, may die at any moment.
    readers[static_cast<size_t>(round) % readers.size()] = std::make_unique<Child>([this] { return Read(); });
  }
  {
    // Ends as it should: then nothing is left.
    Child last([this] { return Write(99); });
    ASSERT_TRUE(Grows(shared_->published, 50));
    shared_->stop = true;
    EXPECT_EQ(last.Wait(), 0);
  }
  for (auto& reader : readers) EXPECT_EQ(reader->Wait(), 0);
  EXPECT_EQ(shared_->torn, 0u);
  EXPECT_EQ(shared_->backward, 0u);
  EXPECT_EQ(shared_->cut, 0u);
  EXPECT_EQ(shared_->other, 0u);
  EXPECT_TRUE(dir_.empty());
  for (const std::optional<shm::LeftBehind>& memory : left) {
    EXPECT_EQ(memory.has_value(), GetParam() != "file");
    EXPECT_FALSE(memory && shm::Exists(*memory, geteuid())) << memory->Describe();
  }
  std::printf("%lu published, %lu read, %lu times busy\n", shared_->published.load(), shared_->read.load(),
              shared_->busy.load());
}

// Nobody can cut a System V segment short.
class CutTortureTest : public TortureTest {};
INSTANTIATE_TEST_SUITE_P(Homes, CutTortureTest, testing::Values("file", "posix"), [](const auto& home) { return home.param; });

TEST_P(CutTortureTest, ReadersAndWriterSurviveFilesCutUnderThem) {
  std::vector<std::unique_ptr<Child>> readers;
  for (int i = 0; i < 2; ++i) readers.push_back(std::make_unique<Child>([this] { return Read(); }));
  Child writer([this] { return Write(1); });
  std::mt19937_64 random(21);
  for (int round = 0; round < 100; ++round) {
    ASSERT_TRUE(Grows(shared_->published, 20));
    ASSERT_TRUE(Grows(shared_->read, 1)) << "round " << round;
    const bool cut = truncate(MemoryFile().c_str(), static_cast<off_t>(random() % 8192)) == 0;
    ASSERT_TRUE(cut || errno == ENOENT) << "neither cut nor outgrown";
  }
  shared_->stop = true;
  EXPECT_EQ(writer.Wait(), 0);
  for (auto& reader : readers) EXPECT_EQ(reader->Wait(), 0);
  EXPECT_EQ(shared_->torn, 0u);
  EXPECT_EQ(shared_->other, 0u);
  EXPECT_GT(shared_->cut, 0u);
  std::printf("%lu published, %lu read, %lu times cut short\n", shared_->published.load(),
              shared_->read.load(), shared_->cut.load());
}

// The same in one process, where ThreadSanitizer sees it.
TEST_P(TortureTest, ThreadsThatPublishBeatAndRead) {
  RawSnapshotPublisher publisher("torture?home=" + GetParam(), {.fingerprint = 1, .type_name = "test.Torture"});
  std::vector<std::thread> threads;
  for (int i = 0; i < 2; ++i) threads.emplace_back([this] { Read(); });
  threads.emplace_back([&] {
    while (!shared_->stop) publisher.Beat();
  });
  for (uint64_t i = 0; i < 2000 || shared_->read < 100; ++i) {
    const std::vector<uint64_t> words = Make(++shared_->published, i % 700);
    ASSERT_TRUE(publisher.Publish(words.data(), words.size() * 8).ok());
  }
  shared_->stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(shared_->torn, 0u);
  EXPECT_EQ(shared_->backward, 0u);
  EXPECT_EQ(shared_->cut, 0u);
  EXPECT_EQ(shared_->other, 0u);
}

// The check itself: a torn payload is seen.
TEST(TortureCheckTest, AMixtureIsNotWhole) {
  std::vector<uint64_t> words = Make(5, 10);
  EXPECT_TRUE(Whole(words.data(), words.size() * 8));
  words[7] = WordAt(4, 5);
  EXPECT_FALSE(Whole(words.data(), words.size() * 8));
  EXPECT_FALSE(Whole(Make(5, 10).data(), 8));
}

}  // namespace
}  // namespace ipcrpc

// Servers that hand out what they publish flat out, killed again and again as their readers are: nobody reads what was not
// published, a reader says that its writer is dead, and has the next one's messages.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "ipcrpc/ipcrpc.h"
#include "ipcrpc/snapshot_service.h"
#include "services/snapshot/testdata/weather.pb.h"
#include "transport/testing/child.h"
#include "transport/testing/temp_dir.h"

namespace ipcrpc {
namespace {

using ipcrpc::testing::weather::Report;
using std::chrono::steady_clock;
using namespace std::chrono_literals;

// A sanitizer takes its time.
#if defined(__SANITIZE_ADDRESS__)
constexpr int kRounds = 15;
#else
constexpr int kRounds = 100;
#endif
constexpr int kReaders = 3;
constexpr std::chrono::milliseconds kMaxSilence(20);

// All of it follows from the number, so that any mixture shows.
void Fill(int number, Report* report) {
  report->Clear();
  report->set_degrees(number);
  // Now and then it outgrows its memory.
  for (int i = 0; i < number % 50 + number / 100 % 400; ++i) report->add_remarks(std::to_string(number) + " remark " + std::to_string(i));
}

bool Whole(const Report& report) {
  Report expected;
  Fill(static_cast<int>(report.degrees()), &expected);
  return expected.SerializeAsString() == report.SerializeAsString();
}

// Beside the snapshots.
struct Shared {
  std::atomic<bool> stop;
  std::atomic<int> published;
  std::atomic<uint64_t> read;
  std::atomic<uint64_t> wrong;
  std::atomic<uint64_t> backward;
  std::atomic<uint64_t> other;  // errors that are none of those to be expected
  std::atomic<uint64_t> said_dead[kReaders];
};

class SnapshotCampaignTest : public ::testing::TestWithParam<const char*> {
 protected:
  SnapshotCampaignTest()
      : shared_(new (mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Shared()) {}
  ~SnapshotCampaignTest() override { munmap(shared_, sizeof(Shared)); }

  std::string address() const { return std::string(GetParam()) + ":station"; }

  std::unique_ptr<Child> StartServer() {
    return std::make_unique<Child>([this] {
      SnapshotPublisher<Report> publisher("weather?home=memfd");
      SnapshotService snapshots(publisher);
      ServerBuilder builder;
      builder.AddListeningPort(address()).RegisterService(&snapshots);
      const std::unique_ptr<Server> server = builder.BuildAndStart();
      if (server == nullptr) return 1;
      Report report;
      while (!shared_->stop) {
        Fill(++shared_->published, &report);
        if (!publisher.Publish(report).ok()) return 2;
      }
      return 0;
    });
  }

  std::unique_ptr<Child> StartReader(int which) {
    return std::make_unique<Child>([this, which] {
      SnapshotReader<Report> reader(CreateChannel(address()), "weather", {.max_silence = kMaxSilence});
      uint64_t last = 0;
      while (!shared_->stop) {
        const Report* report = reader.Read();
        if (report == nullptr) {
          const StatusCode code = reader.status().error_code();
          if (code == StatusCode::UNAVAILABLE) {
            ++shared_->said_dead[which];
          } else if (code != StatusCode::NOT_FOUND && code != StatusCode::ABORTED) {
            std::fprintf(stderr, "a reader: %s\n", reader.status().error_message().c_str());
            ++shared_->other;
          }
          continue;
        }
        if (reader.revision() == last) continue;
        ++shared_->read;
        if (reader.revision() < last) ++shared_->backward;
        last = reader.revision();
        if (!Whole(*report)) ++shared_->wrong;
      }
      return 0;
    });
  }

  template <typename Count>
  static bool Grows(const std::atomic<Count>& count, Count by) {
    const auto give_up = steady_clock::now() + 60s;
    for (const Count start = count; count < start + by;) {
      if (steady_clock::now() > give_up) return false;
      usleep(100);
    }
    return true;
  }

  TempRuntimeDir dir_;
  Shared* const shared_;
};

// By descriptor, and by value.
INSTANTIATE_TEST_SUITE_P(Addresses, SnapshotCampaignTest, ::testing::Values("unix", "shm", "fifo"));

TEST_P(SnapshotCampaignTest, NobodyReadsWhatIsWrongAndTheDeadAreKnown) {
  std::vector<std::unique_ptr<Child>> readers;
  for (int i = 0; i < kReaders; ++i) readers.push_back(StartReader(i));
  for (int round = 0; round < kRounds; ++round) {
    const std::unique_ptr<Child> server = StartServer();
    ASSERT_TRUE(Grows(shared_->published, 50));
    ASSERT_TRUE(Grows(shared_->read, uint64_t{3})) << "round " << round;
    server->Kill(SIGKILL);
    ASSERT_EQ(server->Wait(), -SIGKILL);
    // With nobody there to answer, each says so.
    for (const std::atomic<uint64_t>& said : shared_->said_dead) ASSERT_TRUE(Grows(said, uint64_t{1})) << "round " << round;
    readers[static_cast<size_t>(round % kReaders)] = StartReader(round % kReaders);
  }
  {
    const std::unique_ptr<Child> last = StartServer();
    ASSERT_TRUE(Grows(shared_->read, uint64_t{3}));
    shared_->stop = true;
    EXPECT_EQ(last->Wait(), 0);
  }
  for (const std::unique_ptr<Child>& reader : readers) EXPECT_EQ(reader->Wait(), 0);
  EXPECT_EQ(shared_->wrong, 0u);
  EXPECT_EQ(shared_->backward, 0u);
  EXPECT_EQ(shared_->other, 0u);
  EXPECT_TRUE(dir_.empty());
  std::printf("%d published, %lu read\n", shared_->published.load(), shared_->read.load());
}

// The check itself.
TEST(SnapshotCampaignCheckTest, AMixtureIsNotWhole) {
  Report report;
  Fill(149, &report);
  EXPECT_TRUE(Whole(report));
  report.set_remarks(3, "148 remark 3");
  EXPECT_FALSE(Whole(report));
}

}  // namespace
}  // namespace ipcrpc

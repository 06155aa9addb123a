// Snapshots that a reader is handed instead of finding them: sealed memory, what does in its place, and what a hostile
// server may hand out.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "ipcrpc/raw_snapshot.h"
#include "transport/snapshot/layout.h"
#include "transport/snapshot/snapshot_for_test.h"
#include "transport/testing/child.h"
#include "transport/testing/temp_dir.h"

namespace ipcrpc {
namespace {

using std::chrono::steady_clock;
using testing::HasSubstr;
using namespace std::chrono_literals;

// Answers with what it is told to.
class Source final : public SnapshotSource {
 public:
  using Answering = std::function<SnapshotError(bool by_value, uint64_t known, Answer* answer)>;
  explicit Source(Answering answering) : answering_(std::move(answering)) {}
  SnapshotError Ask(bool by_value, uint64_t known, Answer* answer) override { return answering_(by_value, known, answer); }
  std::string name() const override { return "weather"; }

 private:
  const Answering answering_;
};

// A server of `publisher`, which passes descriptors or not, and counts the questions.
struct Server {
  RawSnapshotPublisher* publisher;
  bool passes_fds = true;
  std::atomic<int> asked{0};

  std::unique_ptr<SnapshotSource> NewSource() {
    return std::make_unique<Source>([this](bool by_value, uint64_t known, SnapshotSource::Answer* answer) -> SnapshotError {
      ++asked;
      answer->schema = publisher->schema();
      if (!by_value && !passes_fds) return {.code = static_cast<int>(absl::StatusCode::kFailedPrecondition), .message = "no"};
      if (!by_value) answer->memory = publisher->Share();
      if (!by_value && answer->memory.valid()) return {};
      answer->path = publisher->path();
      if (!by_value && !answer->path.empty()) return {};
      answer->revision = publisher->CopyLatest(&answer->message);
      if (answer->revision == known) answer->message.clear();
      if (answer->revision == 0) return {.code = static_cast<int>(absl::StatusCode::kNotFound), .message = "nothing yet"};
      return {};
    });
  }
};

TEST(SnapshotSourceTest, SealedMemoryIsReadWithoutFurtherQuestions) {
  RawSnapshotPublisher publisher("weather?home=memfd", kSchema);
  Server server{.publisher = &publisher};
  RawSnapshotReader reader(server.NewSource(), {}, kSchema);
  EXPECT_THAT(reader.Read(), Fails(absl::StatusCode::kNotFound));
  EXPECT_EQ(publisher.name(), "weather");
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  EXPECT_EQ(publisher.path(), "");
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), "sun");
  EXPECT_EQ(reader.schema().descriptors, "descriptors");
  EXPECT_EQ(reader.writer().state, SnapshotWriter::State::kAlive);
  const int asked = server.asked;
  for (const std::string text : {"rain", "", "snow"}) {
    EXPECT_FALSE(reader.Changed());
    ASSERT_THAT(Publish(publisher, text), Succeeds());
    EXPECT_TRUE(reader.Changed());
    ASSERT_THAT(reader.Read(), Succeeds());
    EXPECT_EQ(Text(reader), text);
  }
  EXPECT_EQ(server.asked, asked);
  // Outgrown: one more.
  ASSERT_THAT(Publish(publisher, std::string(100'000, 'x')), Succeeds());
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), std::string(100'000, 'x'));
  EXPECT_EQ(server.asked, asked + 1);
}

TEST(SnapshotSourceTest, ReadersCanNeitherWriteNorCutSealedMemory) {
  RawSnapshotPublisher publisher("weather?home=memfd", kSchema);
  EXPECT_FALSE(publisher.Share().valid());
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  const UniqueFd memory = publisher.Share();
  EXPECT_NE(ftruncate(memory.get(), 0), 0);
  EXPECT_NE(ftruncate(memory.get(), 1 << 20), 0);
  EXPECT_LT(pwrite(memory.get(), "x", 1, 0), 0);
  EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0), MAP_FAILED);
  ASSERT_THAT(Publish(publisher, "rain"), Succeeds()) << "which the writer can";
}

TEST(SnapshotSourceTest, WhatCannotBePassedIsToldByValue) {
  RawSnapshotPublisher publisher("weather?home=memfd", kSchema);
  Server server{.publisher = &publisher, .passes_fds = false};
  RawSnapshotReader reader(server.NewSource(), {}, kSchema);
  uint64_t before = 0;
  for (const std::string& text : {std::string("sun"), std::string(), std::string(50'000, 'x'), std::string("rain")}) {
    ASSERT_THAT(Publish(publisher, text), Succeeds());
    EXPECT_TRUE(reader.Changed());
    ASSERT_THAT(reader.Read(), Succeeds());
    EXPECT_EQ(Text(reader), text);
    EXPECT_GT(reader.revision(), before);
    before = reader.revision();
  }
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), "rain") << "the same revision, so not told again";
  EXPECT_EQ(reader.writer().state, SnapshotWriter::State::kInvisible);
  EXPECT_EQ(reader.path(), "weather");

  EXPECT_THAT(reader.WaitForChange(steady_clock::now() + 10ms), Fails(absl::StatusCode::kDeadlineExceeded));
  std::thread writer([&] { EXPECT_THAT(Publish(publisher, "snow"), Succeeds()); });
  EXPECT_THAT(reader.WaitForChange(steady_clock::now() + 1h), Succeeds());
  writer.join();
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), "snow");
}

TEST(SnapshotSourceTest, AFileIsFoundByItsPathOrToldByValue) {
  TempRuntimeDir dir;
  RawSnapshotPublisher publisher("weather", kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  Server server{.publisher = &publisher};
  {
    RawSnapshotReader reader(server.NewSource(), {}, kSchema);
    ASSERT_THAT(reader.Read(), Succeeds());
    EXPECT_EQ(reader.path(), publisher.path());
    ASSERT_THAT(Publish(publisher, "rain"), Succeeds());
    ASSERT_THAT(reader.Read(), Succeeds());
    EXPECT_EQ(Text(reader), "rain");
    EXPECT_EQ(server.asked, 1);
  }
  ASSERT_EQ(chmod(publisher.path().c_str(), 0622), 0);  // not to be believed any more
  RawSnapshotReader reader(server.NewSource(), {}, kSchema);
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), "rain");
  EXPECT_EQ(reader.path(), "weather");
}

TEST(SnapshotSourceTest, AWriterThatIsTooFastIsAskedByValue) {
  RawSnapshotPublisher publisher("weather?home=memfd", kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  Server server{.publisher = &publisher};
  // Memory that says it changes while it is read, however often.
  const auto size = static_cast<size_t>(lseek(publisher.Share().get(), 0, SEEK_END));
  UniqueFd busy(memfd_create("busy", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  std::string bytes(size, 0);
  ASSERT_EQ(pread(publisher.Share().get(), bytes.data(), size, 0), static_cast<ssize_t>(size));
  const uint64_t latest = 12345;
  std::memcpy(bytes.data() + offsetof(snapshot::Header, latest), &latest, sizeof latest);
  ASSERT_EQ(write(busy.get(), bytes.data(), size), static_cast<ssize_t>(size));
  ASSERT_EQ(fcntl(busy.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL), 0);
  const std::unique_ptr<SnapshotSource> good = server.NewSource();
  RawSnapshotReader reader(std::make_unique<Source>([&](bool by_value, uint64_t known, SnapshotSource::Answer* answer) {
                             if (by_value) return good->Ask(true, known, answer);
                             answer->memory = UniqueFd::DuplicateOf(busy.get());
                             return SnapshotError();
                           }),
                           {}, kSchema);
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), "sun");
}

TEST(SnapshotSourceTest, AnotherTypeIsRefusedEitherWay) {
  RawSnapshotPublisher publisher("weather?home=memfd", kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  for (const bool passes : {true, false}) {
    Server server{.publisher = &publisher, .passes_fds = passes};
    const SnapshotError error = RawSnapshotReader(server.NewSource(), {}, {.type_name = "test.Other"}).Read();
    EXPECT_THAT(error, Fails(absl::StatusCode::kFailedPrecondition));
    EXPECT_THAT(error.message, HasSubstr("expected test.Other"));
  }
}

TEST(SnapshotSourceTest, WhatIsNoSealedMemoryIsRefused) {
  constexpr int kAll = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
  const auto memfd = [](off_t size, int seals, std::string_view text = "") {
    UniqueFd fd(memfd_create("made up", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    EXPECT_EQ(ftruncate(fd.get(), size), 0);
    EXPECT_EQ(pwrite(fd.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
    EXPECT_EQ(fcntl(fd.get(), F_ADD_SEALS, seals), 0);
    return fd;
  };
  const auto read = [](UniqueFd fd) {
    RawSnapshotReader reader(std::make_unique<Source>([&](bool, uint64_t, SnapshotSource::Answer* answer) {
                               answer->memory = UniqueFd::DuplicateOf(fd.get());
                               return SnapshotError();
                             }),
                             {}, kSchema);
    return reader.Read();
  };
  EXPECT_THAT(read(memfd(8192, kAll & ~F_SEAL_SHRINK)), Fails(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(read(memfd(8192, kAll & ~F_SEAL_FUTURE_WRITE)), Fails(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(read(memfd(0, kAll)), Fails(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(read(memfd(off_t{1} << 40, kAll)), Fails(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(read(memfd(100, kAll)), Fails(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(read(memfd(8192, kAll)), Fails(absl::StatusCode::kFailedPrecondition)) << "sealed zeroes";
  EXPECT_THAT(read(memfd(8192, kAll, "iprssn01\1")), Fails(absl::StatusCode::kDataLoss)) << "a header of zeroes";
  EXPECT_THAT(read(UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC))), Fails(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(read(UniqueFd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC))), Fails(absl::StatusCode::kInvalidArgument));
}

// A server that went without a word, and the next one.
TEST(SnapshotSourceTest, ADeadWriterIsSaidToBeAndItsSuccessorAskedFor) {
  int channel[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel), 0);
  const UniqueFd ours(channel[0]), theirs(channel[1]);
  std::unique_ptr<RawSnapshotPublisher> successor;
  Child writer([&] {
    RawSnapshotPublisher publisher("weather?home=memfd", kSchema);
    if (!Publish(publisher, "sun").ok()) return 1;
    const UniqueFd memory = publisher.Share();
    // Its number, and then /proc tells the reader of it.
    const int fd = memory.get();
    if (write(theirs.get(), &fd, sizeof fd) != sizeof fd) return 2;
    pause();
    return 3;
  });
  int fd = -1;
  ASSERT_EQ(::read(ours.get(), &fd, sizeof fd), static_cast<ssize_t>(sizeof fd));
  const UniqueFd memory(open(("/proc/" + std::to_string(writer.pid()) + "/fd/" + std::to_string(fd)).c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(memory.valid());
  RawSnapshotReader reader(std::make_unique<Source>([&](bool, uint64_t, SnapshotSource::Answer* answer) {
                          answer->memory = successor == nullptr ? UniqueFd::DuplicateOf(memory.get()) : successor->Share();
                          return SnapshotError();
                        }),
                        {}, kSchema);
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(reader.writer().state, SnapshotWriter::State::kAlive);
  writer.Kill(SIGKILL);
  writer.Wait();
  EXPECT_EQ(reader.writer().state, SnapshotWriter::State::kDead);
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), "sun") << "what it had stays";
  const SnapshotError error = reader.WaitForChange(steady_clock::now() + 1h);
  EXPECT_THAT(error, Fails(absl::StatusCode::kUnavailable));
  EXPECT_THAT(error.message, HasSubstr("is dead"));

  successor = std::make_unique<RawSnapshotPublisher>("weather?home=memfd", kSchema);
  ASSERT_THAT(Publish(*successor, "rain"), Succeeds());
  EXPECT_THAT(reader.WaitForChange(steady_clock::now() + 1h), Succeeds());
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), "rain");
}

}  // namespace
}  // namespace ipcrpc

#include "ipcrpc/raw_snapshot.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "transport/base/strings.h"
#include "transport/names.h"
#include "transport/snapshot/layout.h"
#include "transport/snapshot/snapshot_for_test.h"
#include "transport/testing/child.h"
#include "transport/testing/no_system_calls.h"
#include "transport/testing/temp_dir.h"

namespace ipcrpc {
namespace {

using snapshot::Header;
using std::chrono::steady_clock;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using namespace std::chrono_literals;

class RawSnapshotTest : public testing::Test {
 protected:
  std::string Path(std::string_view file) const { return Cat(dir_.path(), "/", file); }
  std::string MessageOfRead(const std::string& place) {
    RawSnapshotReader reader(place);
    return reader.Read().message;
  }
  // Changes the file's header as no writer of ours would.
  void Damage(const std::string& path, size_t offset, uint64_t value, size_t size = 8) {
    const int fd = open(path.c_str(), O_WRONLY);
    ASSERT_EQ(pwrite(fd, &value, size, static_cast<off_t>(offset)), static_cast<ssize_t>(size));
    close(fd);
  }

  TempRuntimeDir dir_;
};

TEST_F(RawSnapshotTest, AReaderSeesWhatWasPublishedLast) {
  RawSnapshotPublisher publisher("weather", kSchema);
  RawSnapshotReader reader("weather");
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  EXPECT_TRUE(reader.Changed());
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), "sun");
  EXPECT_FALSE(reader.Changed());
  const uint64_t first = reader.revision();
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(reader.revision(), first);

  for (const std::string text : {"rain", "", "snow, and eight bytes more"}) {
    ASSERT_THAT(Publish(publisher, text), Succeeds());
    EXPECT_TRUE(reader.Changed());
    ASSERT_THAT(reader.Read(), Succeeds());
    EXPECT_EQ(Text(reader), text);
  }
  EXPECT_EQ(reader.revision(), first + 3);
  EXPECT_EQ(reader.path(), Path("weather.snap"));
  EXPECT_EQ(publisher.path(), Path("weather.snap"));
}

TEST_F(RawSnapshotTest, TheSchemaTravelsWithIt) {
  RawSnapshotPublisher publisher("weather", kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  RawSnapshotReader reader("weather");
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(reader.schema().fingerprint, 7u);
  EXPECT_EQ(reader.schema().type_name, "test.Text");
  EXPECT_EQ(reader.schema().descriptors, "descriptors");
}

TEST_F(RawSnapshotTest, AnotherTypeIsRefusedAndAnotherVersionWhenAsked) {
  RawSnapshotPublisher publisher("weather", kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  const SnapshotError other = RawSnapshotReader("weather", {}, {.type_name = "test.Other"}).Read();
  EXPECT_THAT(other, Fails(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(other.message, AllOf(HasSubstr("test.Text"), HasSubstr("expected test.Other")));

  const SnapshotSchema newer = {.fingerprint = 8, .type_name = "test.Text"};
  EXPECT_THAT(RawSnapshotReader("weather", {}, newer).Read(), Succeeds());
  EXPECT_THAT(RawSnapshotReader("weather", {.same_schema_only = true}, newer).Read(),
              Fails(absl::StatusCode::kFailedPrecondition));
}

TEST_F(RawSnapshotTest, GrowsAndItsReadersFollow) {
  RawSnapshotPublisher publisher("weather", kSchema);
  RawSnapshotReader reader("weather");
  uint64_t before = 0;
  for (size_t size = 1; size < 4'000'000; size = size * 3 + 1) {
    std::string text(size, static_cast<char>('a' + size % 26));
    ASSERT_THAT(Publish(publisher, text), Succeeds());
    EXPECT_TRUE(reader.Changed());
    ASSERT_THAT(reader.Read(), Succeeds());
    EXPECT_EQ(Text(reader), text);
    EXPECT_GT(reader.revision(), before);
    before = reader.revision();
  }
  EXPECT_FALSE(std::filesystem::exists(Path("weather.snap.new")));
}

TEST_F(RawSnapshotTest, WhatAReaderHasStaysWhenTheNextReadFails) {
  auto publisher = std::make_unique<RawSnapshotPublisher>("weather", kSchema);
  RawSnapshotReader reader("weather");
  ASSERT_THAT(Publish(*publisher, "sun"), Succeeds());
  ASSERT_THAT(reader.Read(), Succeeds());
  publisher.reset();
  EXPECT_TRUE(reader.Changed());
  EXPECT_THAT(reader.Read(), Fails(absl::StatusCode::kNotFound));
  EXPECT_EQ(Text(reader), "sun");
  EXPECT_TRUE(dir_.empty()) << "a clean stop leaves nothing";

  RawSnapshotPublisher next("weather", kSchema);
  ASSERT_THAT(Publish(next, "rain"), Succeeds());
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), "rain");
}

TEST_F(RawSnapshotTest, ANameHasOneWriter) {
  RawSnapshotPublisher publisher("weather", kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  Child other([] {
    RawSnapshotPublisher second("weather", kSchema);
    const SnapshotError error = Publish(second, "rain");
    return error.code == static_cast<int>(absl::StatusCode::kAlreadyExists) &&
                   error.message.find(Cat("pid ", getppid())) != std::string::npos
               ? 0
               : 1;
  });
  EXPECT_EQ(other.Wait(), 0);
  RawSnapshotPublisher here("weather", kSchema);
  EXPECT_THAT(Publish(here, "rain"), Fails(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(RawSnapshotReader("weather").Read(), Succeeds());
}

TEST_F(RawSnapshotTest, AForkedChildIsNotTheWriter) {
  RawSnapshotPublisher publisher("weather", kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  {
    auto inherited = std::make_unique<RawSnapshotPublisher>("inherited", kSchema);
    ASSERT_THAT(Publish(*inherited, "sun"), Succeeds());
    Child child([&] {
      const bool refused =
          Publish(publisher, "rain").code == static_cast<int>(absl::StatusCode::kFailedPrecondition);
      inherited.reset();
      return refused ? 0 : 1;
    });
    EXPECT_EQ(child.Wait(), 0);
    EXPECT_TRUE(std::filesystem::exists(Path("inherited.snap")));
  }
  RawSnapshotReader reader("weather");
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), "sun");
}

TEST_F(RawSnapshotTest, PathsAreFilesOfTheUsersChoice) {
  const std::string path = Path("elsewhere.bin");
  {
    RawSnapshotPublisher publisher(path, kSchema);
    ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
    RawSnapshotReader reader(path);
    ASSERT_THAT(reader.Read(), Succeeds());
    EXPECT_EQ(Text(reader), "sun");
  }
  EXPECT_TRUE(dir_.empty());

  std::ofstream(path) << "somebody's own text";
  RawSnapshotPublisher publisher(path, kSchema);
  const SnapshotError error = Publish(publisher, "sun");
  EXPECT_THAT(error, Fails(absl::StatusCode::kAlreadyExists));
  EXPECT_THAT(error.message, AllOf(HasSubstr(path), HasSubstr("not a snapshot")));

  std::filesystem::rename(path, path + ".new");
  EXPECT_THAT(Publish(publisher, "sun"), Fails(absl::StatusCode::kAlreadyExists));
  EXPECT_EQ(std::filesystem::file_size(path + ".new"), 19u) << "it is not ours to remove";
}

TEST_F(RawSnapshotTest, ModesAreAsAskedAndNeverWritableByOthers) {
  struct stat info;
  {
    RawSnapshotPublisher publisher("weather", kSchema);
    ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
    ASSERT_EQ(stat(Path("weather.snap").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0600u);
  }
  {
    RawSnapshotPublisher publisher(Cat("weather?mode=0644&group=", getegid()), kSchema);
    ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
    ASSERT_THAT(Publish(publisher, std::string(100'000, 'x')), Succeeds());
    ASSERT_EQ(stat(Path("weather.snap").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0644u) << "also after growing";
  }
  for (const char* mode : {"0666", "0660", "0755", "rw"}) {
    RawSnapshotPublisher publisher(Cat("weather?mode=", mode), kSchema);
    const SnapshotError error = Publish(publisher, "sun");
    EXPECT_THAT(error, Fails(absl::StatusCode::kInvalidArgument));
    EXPECT_THAT(error.message, HasSubstr(mode));
  }
}

TEST_F(RawSnapshotTest, BadPlacesAreExplained) {
  EXPECT_THAT(MessageOfRead("weather"), AllOf(HasSubstr("no such snapshot"), HasSubstr(Path("weather.snap")),
                                              HasSubstr("/run/ipcrpc/weather.snap")));
  EXPECT_THAT(MessageOfRead("shm:weather"), HasSubstr("expected a name"));
  EXPECT_THAT(MessageOfRead("@weather"), HasSubstr("expected a name"));
  EXPECT_THAT(MessageOfRead("weather?uuid=0"), HasSubstr("did you mean 'uid'"));
  EXPECT_THAT(MessageOfRead("a b"), HasSubstr("cannot be part of a name"));
  EXPECT_THAT(MessageOfRead(dir_.path()), HasSubstr("not a regular file"));
  RawSnapshotPublisher publisher(Path("no/such/directory.snap"), kSchema);
  EXPECT_THAT(Publish(publisher, "sun"), Fails(absl::StatusCode::kFailedPrecondition));
}

TEST_F(RawSnapshotTest, ListsTheNames) {
  RawSnapshotPublisher one("weather.rome", kSchema), two("weather.oslo", kSchema);
  ASSERT_THAT(Publish(one, "sun"), Succeeds());
  ASSERT_THAT(Publish(two, "snow"), Succeeds());
  std::vector<std::string> names = ListSnapshots();
  std::erase_if(names, [](const std::string& name) { return !name.starts_with("weather."); });
  EXPECT_THAT(names, ElementsAre("weather.oslo", "weather.rome"));
}

// ---- files that are not to be believed ---------------------------------------------------------

TEST_F(RawSnapshotTest, WhatIsNoSnapshotIsRefused) {
  const std::string path = Path("weather.snap");
  std::ofstream(path) << "short";
  chmod(path.c_str(), 0600);
  EXPECT_THAT(RawSnapshotReader("weather").Read(), Fails(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(MessageOfRead("weather"), HasSubstr("it has 5 bytes"));
  std::ofstream(path) << std::string(5000, 'x');
  EXPECT_THAT(MessageOfRead("weather"), HasSubstr("does not begin like one"));
  std::filesystem::remove(path);
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  EXPECT_THAT(MessageOfRead("weather"), HasSubstr("not a regular file"));
}

TEST_F(RawSnapshotTest, HeadersThatDoNotAddUpAreRefused) {
  const std::string path = Path("weather.snap");
  const auto read_with = [&](size_t offset, uint64_t value, size_t size = 8) {
    RawSnapshotPublisher publisher("weather", kSchema);
    EXPECT_THAT(Publish(publisher, "sun"), Succeeds());
    Damage(path, offset, value, size);
    return RawSnapshotReader("weather").Read();
  };
  const SnapshotError version = read_with(offsetof(Header, version), 2, 4);
  EXPECT_THAT(version, Fails(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(version.message, HasSubstr("layout version 2"));
  for (const size_t offset :
       {offsetof(Header, size), offsetof(Header, slot_bytes), offsetof(Header, slots_offset)}) {
    for (const uint64_t value :
         {uint64_t{0}, uint64_t{63}, uint64_t{1} << 20, ~uint64_t{0}, ~uint64_t{0} << 12}) {
      EXPECT_THAT(read_with(offset, value), Fails(absl::StatusCode::kDataLoss)) << offset << " = " << value;
    }
  }
  EXPECT_THAT(read_with(offsetof(Header, slots), 3, 4), Fails(absl::StatusCode::kDataLoss));
  EXPECT_THAT(read_with(offsetof(Header, type_name_bytes), ~0u, 4), Fails(absl::StatusCode::kDataLoss));
  EXPECT_THAT(read_with(offsetof(Header, descriptor_bytes), ~0u, 4), Fails(absl::StatusCode::kDataLoss));
  // What changes while it is read: a reader gives up after 8 attempts.
  EXPECT_THAT(read_with(offsetof(Header, latest), 1), Fails(absl::StatusCode::kAborted));
  // Over, and still there: its writer died when it was about to remove it.
  EXPECT_THAT(read_with(offsetof(Header, latest), snapshot::kMoved), Fails(absl::StatusCode::kNotFound));
  EXPECT_THAT(read_with(offsetof(Header, latest), 0), Fails(absl::StatusCode::kDataLoss));
}

TEST_F(RawSnapshotTest, AnImpossibleLengthIsRefused) {
  RawSnapshotPublisher publisher("weather", kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  RawSnapshotReader reader("weather");
  ASSERT_THAT(reader.Read(), Succeeds());
  const uint64_t slots = snapshot::SlotsOffset(kSchema.type_name.size() + kSchema.descriptors.size());
  const uint64_t slot_bytes =
      (std::filesystem::file_size(Path("weather.snap")) - slots) / snapshot::kSlots - sizeof(snapshot::Slot);
  ASSERT_THAT(Publish(publisher, "rain"), Succeeds());
  const uint64_t slot = snapshot::SlotOffset(slots, slot_bytes, reader.revision() + 1);
  Damage(Path("weather.snap"), slot + offsetof(snapshot::Slot, length), slot_bytes + 1);
  EXPECT_THAT(reader.Read(), Fails(absl::StatusCode::kDataLoss));
  EXPECT_EQ(Text(reader), "sun");
}

TEST_F(RawSnapshotTest, FilesThatOthersMayWriteAreRefused) {
  RawSnapshotPublisher publisher("weather", kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  ASSERT_EQ(chmod(Path("weather.snap").c_str(), 0620), 0);
  const SnapshotError error = RawSnapshotReader("weather").Read();
  EXPECT_THAT(error, Fails(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(error.message, HasSubstr("mode 0620"));
}

TEST_F(RawSnapshotTest, FilesOfStrangersAreRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give a file to somebody else";
  RawSnapshotPublisher publisher("weather", kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  ASSERT_EQ(chown(Path("weather.snap").c_str(), 12345, static_cast<gid_t>(-1)), 0);
  const SnapshotError error = RawSnapshotReader("weather").Read();
  EXPECT_THAT(error, Fails(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(error.message, HasSubstr("uid 12345"));
  EXPECT_THAT(RawSnapshotReader("weather?uid=12345").Read(), Succeeds());
  EXPECT_THAT(RawSnapshotReader("weather?uid=12346").Read(), Fails(absl::StatusCode::kPermissionDenied));
}

TEST_F(RawSnapshotTest, AFileCutShortIsAnErrorNotACrash) {
  RawSnapshotPublisher publisher("weather", kSchema);
  const std::string large(100'000, 'x');
  ASSERT_THAT(Publish(publisher, large), Succeeds());
  RawSnapshotReader reader("weather");
  ASSERT_THAT(reader.Read(), Succeeds());

  // The header is still there, the slots are not.
  ASSERT_THAT(Publish(publisher, large), Succeeds());
  ASSERT_EQ(truncate(Path("weather.snap").c_str(), 4096), 0);
  EXPECT_THAT(reader.Read(), Fails(absl::StatusCode::kDataLoss));
  EXPECT_EQ(Text(reader), large);
  EXPECT_THAT(reader.Read(), Fails(absl::StatusCode::kDataLoss)) << "as it is found: too short";

  // The writer finds its file broken at its next publication, or the one after, and makes another.
  ASSERT_THAT(Publish(publisher, large), Succeeds());
  ASSERT_THAT(Publish(publisher, "mended"), Succeeds());
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), "mended");

  ASSERT_EQ(truncate(Path("weather.snap").c_str(), 0), 0);
  EXPECT_TRUE(reader.Changed());
  EXPECT_THAT(reader.Read(), Fails(absl::StatusCode::kDataLoss));
}

TEST_F(RawSnapshotTest, WithoutTheGuardACutFileIsTheUsersAffair) {
  RawSnapshotPublisher publisher("weather", kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  Child child([] {
    RawSnapshotReader reader("weather", {.guard_sigbus = false});
    if (!reader.Read().ok()) return 1;
    // The writer's guard is inherited, but it does not cover what the reader maps.
    if (truncate(reader.path().c_str(), 0) != 0) return 2;
    return reader.Changed() ? 3 : 4;
  });
#if defined(__SANITIZE_ADDRESS__) || defined(IPCRPC_TSAN)
  EXPECT_NE(child.Wait(), 3);
#else
  EXPECT_EQ(child.Wait(), -SIGBUS);
#endif
}

// ---- writers that are gone ---------------------------------------------------------------------

// A writer that publishes `text` and dies without a word.
void PublishAndDie(const std::string& place, const std::string& text) {
  Child writer([&] {
    auto* publisher = new RawSnapshotPublisher(place, kSchema);
    if (!Publish(*publisher, text).ok()) return 1;
    kill(getpid(), SIGKILL);
    return 2;
  });
  ASSERT_EQ(writer.Wait(), -SIGKILL);
}

TEST_F(RawSnapshotTest, ADeadWriterIsRecognised) {
  PublishAndDie("weather", "sun");
  RawSnapshotReader reader("weather");
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), "sun");
  EXPECT_EQ(reader.writer().state, SnapshotWriter::State::kDead);

  const SnapshotError waited = reader.WaitForChange(steady_clock::now() + 60s);
  EXPECT_THAT(waited, Fails(absl::StatusCode::kUnavailable));
  EXPECT_THAT(waited.message, AllOf(HasSubstr("dead"), HasSubstr(Cat("pid ", reader.writer().pid))));

  RawSnapshotReader wary("weather", {.max_silence = std::chrono::nanoseconds(1)});
  EXPECT_THAT(wary.Read(), Fails(absl::StatusCode::kUnavailable));
  EXPECT_EQ(Text(wary), "sun");
  EXPECT_THAT(wary.Read(), Fails(absl::StatusCode::kUnavailable)) << "says so each time";
}

TEST_F(RawSnapshotTest, ALivingWriterMayBeSilent) {
  RawSnapshotPublisher publisher("weather", kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  RawSnapshotReader wary("weather", {.max_silence = std::chrono::nanoseconds(1)});
  EXPECT_THAT(wary.Read(), Succeeds());
  EXPECT_THAT(wary.Read(), Succeeds());
  EXPECT_EQ(wary.writer().state, SnapshotWriter::State::kAlive);
  EXPECT_EQ(wary.writer().pid, getpid());
  const auto before = wary.writer().silence;
  EXPECT_GT(before.count(), 0);
  publisher.Beat();
  EXPECT_LT(wary.writer().silence, before + 1s);
}

TEST_F(RawSnapshotTest, TheNextWriterTakesOverAndReadersFollow) {
  PublishAndDie("weather", "sun");
  RawSnapshotReader reader("weather");
  ASSERT_THAT(reader.Read(), Succeeds());
  const uint64_t before = reader.revision();
  EXPECT_FALSE(reader.Changed());

  RawSnapshotPublisher publisher("weather", kSchema);
  ASSERT_THAT(Publish(publisher, "rain"), Succeeds());
  EXPECT_TRUE(reader.Changed()) << "the dead writer's file was marked";
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), "rain");
  EXPECT_GT(reader.revision(), before);
}

TEST_F(RawSnapshotTest, TheNextWriterTakesOverAPathToo) {
  const std::string path = Path("elsewhere.bin");
  PublishAndDie(path, "sun");
  RawSnapshotReader reader(path);
  ASSERT_THAT(reader.Read(), Succeeds());
  RawSnapshotPublisher publisher(path, kSchema);
  ASSERT_THAT(Publish(publisher, "rain"), Succeeds());
  EXPECT_TRUE(reader.Changed());
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), "rain");
}

// A writer that grew died when the larger file was at its name, and readers of the one before had not been
// told.
TEST_F(RawSnapshotTest, TheNextWriterTellsTheReadersOfAWriterThatDiedWhileItGrew) {
  for (const std::string& place : {std::string("weather"), Path("elsewhere.bin")}) {
    PublishAndDie(place, "sun");
    RawSnapshotReader reader(place);
    ASSERT_THAT(reader.Read(), Succeeds());
    // As growing leaves it before its last steps.
    const std::string displaced = Cat(reader.path(), ".new");
    ASSERT_EQ(rename(reader.path().c_str(), displaced.c_str()), 0);
    std::filesystem::copy_file(displaced, reader.path());
    EXPECT_FALSE(reader.Changed());

    RawSnapshotPublisher publisher(place, kSchema);
    ASSERT_THAT(Publish(publisher, "rain"), Succeeds());
    EXPECT_TRUE(reader.Changed());
    ASSERT_THAT(reader.Read(), Succeeds());
    EXPECT_EQ(Text(reader), "rain");
    EXPECT_FALSE(std::filesystem::exists(displaced));
  }
}

TEST_F(RawSnapshotTest, ASweepEndsWhatTheDeadLeft) {
  PublishAndDie("weather", "sun");
  RawSnapshotReader reader("weather");
  ASSERT_THAT(reader.Read(), Succeeds());
  std::ofstream(Path("weather.snap.new")) << "half made";
  SweepDirectory(dir_.path());
  EXPECT_TRUE(dir_.empty());
  EXPECT_THAT(reader.Read(), Fails(absl::StatusCode::kNotFound));
}

TEST_F(RawSnapshotTest, AFileReplacedBehindOurBackIsFoundByWhoWaits) {
  RawSnapshotPublisher publisher("weather", kSchema), other("other", kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  ASSERT_THAT(Publish(other, "rain"), Succeeds());
  RawSnapshotReader reader("weather");
  ASSERT_THAT(reader.Read(), Succeeds());
  ASSERT_EQ(rename(Path("other.snap").c_str(), Path("weather.snap").c_str()), 0);
  ASSERT_THAT(reader.WaitForChange(steady_clock::now() + 60s), Succeeds());
  ASSERT_THAT(reader.Read(), Succeeds());
  EXPECT_EQ(Text(reader), "rain");
}

// ---- waiting -----------------------------------------------------------------------------------

TEST_F(RawSnapshotTest, WaitingEndsAtTheDeadline) {
  RawSnapshotPublisher publisher("weather", kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  RawSnapshotReader reader("weather");
  EXPECT_THAT(reader.WaitForChange(steady_clock::now()), Succeeds()) << "nothing read yet";
  ASSERT_THAT(reader.Read(), Succeeds());
  const auto start = steady_clock::now();
  EXPECT_THAT(reader.WaitForChange(start + 50ms), Fails(absl::StatusCode::kDeadlineExceeded));
  EXPECT_GE(steady_clock::now() - start, 50ms);
}

TEST_F(RawSnapshotTest, PublishingGrowingAndStoppingWakeWhoWaits) {
  auto publisher = std::make_unique<RawSnapshotPublisher>("weather", kSchema);
  ASSERT_THAT(Publish(*publisher, "0"), Succeeds());
  std::atomic<int> read{0};
  std::string last;
  SnapshotError end;
  std::thread waiter([&] {
    RawSnapshotReader reader("weather");
    for (;;) {
      end = reader.Read();
      if (!end.ok()) break;
      last = Text(reader);
      ++read;
      read.notify_all();
      // Longer than the test may take: only a wake ends it.
      if (!reader.WaitForChange(steady_clock::now() + 1h).ok()) break;
    }
    read = 100;
    read.notify_all();
  });
  const auto wait_for = [&](int count) {
    for (int seen = read; seen < count; seen = read) read.wait(seen);
  };
  wait_for(1);
  for (int i = 1; i < 20; ++i) {
    const std::string text =
        i % 5 == 0 ? std::string(static_cast<size_t>(i) * 10'000, 'x') : std::to_string(i);
    ASSERT_THAT(Publish(*publisher, text), Succeeds());
    wait_for(i + 1);
  }
  publisher.reset();
  waiter.join();
  EXPECT_EQ(last, "19");
  EXPECT_THAT(end, Fails(absl::StatusCode::kNotFound));
}

// ---- no system calls ---------------------------------------------------------------------------

#if IPCRPC_CAN_FORBID_SYSTEM_CALLS

TEST_F(RawSnapshotTest, ForbiddenSystemCallsAreSeen) {
  Child child([]() -> int {
    ForbidSystemCalls();
    syscall(SYS_getpid);
    return 0;
  });
  EXPECT_EQ(child.Wait(), -SIGSYS);
}

TEST_F(RawSnapshotTest, OnlyTheFirstReadMakesSystemCalls) {
  RawSnapshotPublisher publisher("weather", kSchema);
  ASSERT_THAT(Publish(publisher, std::string(3000, 'a')), Succeeds());
  int to_child[2], from_child[2];
  ASSERT_EQ(pipe(to_child), 0);
  ASSERT_EQ(pipe(from_child), 0);
  Child child([&]() -> int {
    RawSnapshotReader reader("weather", {.max_silence = 1h});
    if (!reader.Read().ok()) return 1;
    ForbidSystemCalls();
    char letter = 'a';
    do {
      for (int i = 0; i < 1000; ++i) {
        if (reader.Changed() && i > 0) _exit(2);
        if (!reader.Read().ok() || Text(reader).find_first_not_of(letter) != std::string_view::npos) _exit(3);
      }
      if (write(from_child[1], &letter, 1) != 1) _exit(4);
    } while (read(to_child[0], &letter, 1) == 1 && letter != 0);
    _exit(0);
  });
  close(from_child[1]);  // so that its death ends our reading
  char letter = 'a';
  ASSERT_EQ(read(from_child[0], &letter, 1), 1);
  for (letter = 'b'; letter <= 'z'; ++letter) {
    ASSERT_THAT(Publish(publisher, std::string(3000 - static_cast<size_t>(letter), letter)), Succeeds());
    ASSERT_EQ(write(to_child[1], &letter, 1), 1);
    ASSERT_EQ(read(from_child[0], &letter, 1), 1);
  }
  letter = 0;
  ASSERT_EQ(write(to_child[1], &letter, 1), 1);
  EXPECT_EQ(child.Wait(), 0);
  for (const int fd : {to_child[0], to_child[1], from_child[0]}) close(fd);
}

#endif

}  // namespace
}  // namespace ipcrpc

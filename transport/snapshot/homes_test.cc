// What holds wherever a snapshot that has a name keeps its memory, and what readers make of memory that was tampered with.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "ipcrpc/raw_snapshot.h"
#include "transport/base/fd.h"
#include "transport/base/strings.h"
#include "transport/names.h"
#include "transport/snapshot/memory.h"
#include "transport/snapshot/snapshot_for_test.h"
#include "transport/testing/child.h"
#include "transport/testing/temp_dir.h"

namespace ipcrpc {
namespace {

using shm::LeftBehind;
using testing::HasSubstr;

class SnapshotHomeTest : public testing::TestWithParam<std::string> {
 protected:
  std::string place(const std::string& more = "") const { return Cat("weather?home=", GetParam(), more); }
  std::string path() const { return dir_.path() + "/weather.snap"; }

  // Where the memory is; nothing for a file, which is it.
  std::optional<LeftBehind> Elsewhere() const {
    return snapshot::ReadReference(UniqueFd(open(path().c_str(), O_RDONLY | O_CLOEXEC)));
  }
  // The file that is the memory; empty for System V.
  std::string MemoryFile() const {
    if (GetParam() == "file") return path();
    return GetParam() == "posix" ? "/dev/shm/" + Elsewhere()->name : "";
  }
  static int IdOf(const LeftBehind& what) { return shmget(static_cast<key_t>(what.key), 0, 0); }
  static bool Exists(const std::optional<LeftBehind>& what) { return what && shm::Exists(*what, geteuid()); }

  // A writer that publishes and dies without a word.
  void PublishAndDie(const std::string& text) {
    Child writer([&] {
      auto* publisher = new RawSnapshotPublisher(place(), kSchema);
      if (!Publish(*publisher, text).ok()) return 1;
      kill(getpid(), SIGKILL);
      return 2;
    });
    ASSERT_EQ(writer.Wait(), -SIGKILL);
  }

  void ExpectText(RawSnapshotReader& reader, std::string_view text) {
    ASSERT_THAT(reader.Read(), Succeeds());
    EXPECT_EQ(Text(reader), text);
  }

  TempRuntimeDir dir_;
};

INSTANTIATE_TEST_SUITE_P(Homes, SnapshotHomeTest, testing::Values("file", "posix", "sysv"),
                         [](const auto& home) { return home.param; });

TEST_P(SnapshotHomeTest, ReadersFindItByNameAloneAndFollowIt) {
  RawSnapshotReader reader("weather");
  std::vector<std::optional<LeftBehind>> memories;
  {
    RawSnapshotPublisher publisher(place(), kSchema);
    for (size_t size = 1; size < 1'000'000; size = size * 5 + 1) {
      const std::string text(size, static_cast<char>('a' + size % 26));
      ASSERT_THAT(Publish(publisher, text), Succeeds());
      EXPECT_TRUE(reader.Changed());
      ExpectText(reader, text);
      memories.push_back(Elsewhere());
    }
    EXPECT_EQ(Exists(memories.back()), GetParam() != "file");
    EXPECT_EQ(std::count_if(memories.begin(), memories.end(), Exists), GetParam() == "file" ? 0 : 1)
        << "what was outgrown is gone";
  }
  EXPECT_TRUE(reader.Changed());
  EXPECT_THAT(reader.Read(), Fails(absl::StatusCode::kNotFound));
  EXPECT_TRUE(dir_.empty());
  EXPECT_FALSE(Exists(memories.back())) << "a clean stop leaves nothing";
}

TEST_P(SnapshotHomeTest, ADeadWritersReadersAreToldByTheNext) {
  PublishAndDie("sun");
  const std::optional<LeftBehind> left = Elsewhere();
  RawSnapshotReader reader("weather");
  ExpectText(reader, "sun");
  EXPECT_EQ(reader.writer().state, SnapshotWriter::State::kDead);
  EXPECT_FALSE(reader.Changed());
  RawSnapshotPublisher next("weather", kSchema);  // in a file, whatever was before
  ASSERT_THAT(Publish(next, "rain"), Succeeds());
  EXPECT_TRUE(reader.Changed());
  ExpectText(reader, "rain");
  EXPECT_FALSE(Exists(left));
}

TEST_P(SnapshotHomeTest, WhatTheDeadLeftIsListedAndSwept) {
  PublishAndDie("sun");
  const std::optional<LeftBehind> left = Elsewhere();
  RawSnapshotReader reader("weather");
  ExpectText(reader, "sun");
  std::string found;
  for (const LeftOver& thing : FindLeftOvers(dir_.path())) found += Cat(thing.kind, " ", thing.name, "\n");
  EXPECT_THAT(found, HasSubstr(Cat("snap ", path())));
  if (left) {
    EXPECT_TRUE(Exists(left));
    EXPECT_THAT(found, HasSubstr(Cat("memory ", left->Describe())));
  }
  SweepDirectory(dir_.path());
  EXPECT_TRUE(dir_.empty());
  EXPECT_FALSE(Exists(left));
  EXPECT_TRUE(reader.Changed()) << "who reads it is told";
  EXPECT_THAT(reader.Read(), Fails(absl::StatusCode::kNotFound));
}

TEST_P(SnapshotHomeTest, WhatAWriterLeftUnfinishedIsSwept) {
  std::optional<LeftBehind> left;
  {
    PublishAndDie("sun");
    left = Elsewhere();
    std::filesystem::rename(path(), path() + ".new");
  }
  RawSnapshotPublisher next(place(), kSchema);
  ASSERT_THAT(Publish(next, "rain"), Succeeds());
  EXPECT_FALSE(Exists(left));
  EXPECT_FALSE(std::filesystem::exists(path() + ".new"));
}

TEST_P(SnapshotHomeTest, ModesAreAsAsked) {
  RawSnapshotPublisher publisher(place(Cat("&mode=0644&group=", getegid())), kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  struct stat info;
  ASSERT_EQ(stat(path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0644u);
  if (GetParam() == "sysv") {
    shmid_ds segment;
    ASSERT_EQ(shmctl(IdOf(*Elsewhere()), IPC_STAT, &segment), 0);
    EXPECT_EQ(segment.shm_perm.mode & 0777, 0644u);
  } else {
    ASSERT_EQ(stat(MemoryFile().c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0644u);
  }
}

TEST_P(SnapshotHomeTest, AnotherUserReadsWhatTheModeAllows) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can become somebody else";
  ASSERT_EQ(chmod(dir_.path().c_str(), 0755), 0);
  const auto read_as_another = [&] {
    Child reader([] {
      if (setresuid(12345, 12345, 12345) != 0) return -1;
      return RawSnapshotReader("weather").Read().code;
    });
    return reader.Wait();
  };
  for (const bool may : {true, false}) {
    RawSnapshotPublisher publisher(place(may ? "&mode=0644" : ""), kSchema);
    ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
    EXPECT_EQ(read_as_another(), static_cast<int>(may ? absl::StatusCode::kOk : absl::StatusCode::kPermissionDenied));
    if (may || GetParam() == "file") continue;
    ASSERT_EQ(chmod(path().c_str(), 0644), 0) << "which names the memory, but does not open it";
    EXPECT_EQ(read_as_another(), static_cast<int>(absl::StatusCode::kPermissionDenied));
  }
}

// ---- memory that was tampered with ---------------------------------------------------------------

TEST_P(SnapshotHomeTest, MemoryThatOthersMayWriteIsRefused) {
  RawSnapshotPublisher publisher(place(), kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  if (GetParam() == "sysv") {
    shmid_ds segment;
    ASSERT_EQ(shmctl(IdOf(*Elsewhere()), IPC_STAT, &segment), 0);
    segment.shm_perm.mode = 0620;
    ASSERT_EQ(shmctl(IdOf(*Elsewhere()), IPC_SET, &segment), 0);
  } else {
    ASSERT_EQ(chmod(MemoryFile().c_str(), 0620), 0);
  }
  const SnapshotError error = RawSnapshotReader("weather").Read();
  EXPECT_THAT(error, Fails(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(error.message, HasSubstr("mode 0620"));
}

TEST_P(SnapshotHomeTest, MemoryOfAnotherOwnerIsRefused) {
  if (geteuid() != 0) GTEST_SKIP() << "only root can give things to somebody else";
  RawSnapshotPublisher publisher(place(), kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  if (GetParam() == "sysv") {
    shmid_ds segment;
    ASSERT_EQ(shmctl(IdOf(*Elsewhere()), IPC_STAT, &segment), 0);
    segment.shm_perm.uid = 12345;
    ASSERT_EQ(shmctl(IdOf(*Elsewhere()), IPC_SET, &segment), 0);
  } else {
    ASSERT_EQ(chown(MemoryFile().c_str(), 12345, static_cast<gid_t>(-1)), 0);
  }
  const std::string file = MemoryFile();
  const SnapshotError error = RawSnapshotReader("weather").Read();
  EXPECT_THAT(error, Fails(absl::StatusCode::kPermissionDenied));
  EXPECT_THAT(error.message, HasSubstr("uid 12345"));
  if (file.empty()) return;
  ASSERT_EQ(chown(file.c_str(), geteuid(), static_cast<gid_t>(-1)), 0);  // or its writer leaves it
}

// Nobody can change the size of a System V segment.
class ResizableSnapshotHomeTest : public SnapshotHomeTest {};
INSTANTIATE_TEST_SUITE_P(Homes, ResizableSnapshotHomeTest, testing::Values("file", "posix"), [](const auto& home) { return home.param; });

TEST_P(ResizableSnapshotHomeTest, MemoryThatWasCutOrGrownIsNoCrash) {
  RawSnapshotPublisher publisher(place(), kSchema);
  const std::string large(100'000, 'x');
  ASSERT_THAT(Publish(publisher, large), Succeeds());
  RawSnapshotReader reader("weather");
  ExpectText(reader, large);
  const std::string memory = MemoryFile();
  const auto size = static_cast<off_t>(std::filesystem::file_size(memory));

  ASSERT_EQ(truncate(memory.c_str(), off_t{1} << 40), 0) << "of which almost all is holes";
  RawSnapshotReader another("weather");
  ExpectText(another, large);
  for (const off_t cut : {size - 1, off_t{8192}, off_t{100}, off_t{0}}) {
    ASSERT_THAT(Publish(publisher, large), Succeeds());
    ASSERT_EQ(truncate(memory.c_str(), cut), 0);
    const int code = RawSnapshotReader("weather").Read().code;
    EXPECT_TRUE(code == static_cast<int>(absl::StatusCode::kDataLoss) ||
                code == static_cast<int>(absl::StatusCode::kFailedPrecondition))
        << cut << ": " << code;
    if (const SnapshotError error = reader.Read(); error.ok()) {
      ExpectText(reader, large);
    } else {
      EXPECT_THAT(error, Fails(absl::StatusCode::kDataLoss)) << cut;
      break;  // its mapping is gone
    }
  }
  // The writer notices sooner or later, and makes another.
  for (int i = 0; i < 3; ++i) ASSERT_THAT(Publish(publisher, "mended"), Succeeds());
  ExpectText(reader, "mended");
}

TEST_P(SnapshotHomeTest, MemoryThatIsGoneIsNotFound) {
  RawSnapshotPublisher publisher(place(), kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  RawSnapshotReader reader("weather");
  ExpectText(reader, "sun");
  if (GetParam() == "sysv") {
    ASSERT_EQ(shmctl(IdOf(*Elsewhere()), IPC_RMID, nullptr), 0);
  } else {
    std::filesystem::remove(MemoryFile());
  }
  EXPECT_THAT(RawSnapshotReader("weather").Read(), Fails(absl::StatusCode::kNotFound));
  // Who has it mapped goes on.
  ASSERT_THAT(Publish(publisher, "rain"), Succeeds());
  ExpectText(reader, "rain");
}

// A file is its own memory.
class ReferredSnapshotHomeTest : public SnapshotHomeTest {};
INSTANTIATE_TEST_SUITE_P(Homes, ReferredSnapshotHomeTest, testing::Values("posix", "sysv"), [](const auto& home) { return home.param; });

TEST_P(ReferredSnapshotHomeTest, AReferenceThatWasTamperedWithIsAnError) {
  RawSnapshotPublisher publisher(place(), kSchema);
  ASSERT_THAT(Publish(publisher, "sun"), Succeeds());
  const std::optional<LeftBehind> memory = Elsewhere();
  const auto read_with = [&](const std::string& text) {
    std::ofstream(path(), std::ios::trunc) << text;
    return RawSnapshotReader("weather").Read();
  };
  for (const std::string text :
       {"", "x", "posix-memory", "posix-memory ../../etc/passwd 1\n", "posix-memory passwd 1\n", "sysv-memory 0 1\n",
        "sysv-memory zz 1\n", "sysv-semaphores 12345678 1\n"}) {
    EXPECT_THAT(read_with(text), Fails(absl::StatusCode::kFailedPrecondition)) << text;
  }
  EXPECT_THAT(read_with(std::string(100'000, ' ')), Fails(absl::StatusCode::kFailedPrecondition));
  // Of another namespace.
  const SnapshotError error = read_with(Cat("sysv-memory 12345678 ", shm::RealmOf(LeftBehind::Kind::kSysvMemory) + 1, "\n"));
  EXPECT_THAT(error, Fails(absl::StatusCode::kFailedPrecondition));
  EXPECT_THAT(error.message, HasSubstr("of another IPC namespace"));
  EXPECT_THAT(read_with(Cat(shm::LedgerLine(*memory), "\n")), Succeeds());  // and its writer can remove it
}

TEST(SnapshotHomesTest, UnknownHomesAreExplained) {
  TempRuntimeDir dir;
  RawSnapshotPublisher publisher("weather?home=disk", kSchema);
  const SnapshotError error = Publish(publisher, "sun");
  EXPECT_THAT(error, Fails(absl::StatusCode::kInvalidArgument));
  EXPECT_THAT(error.message, HasSubstr("file, posix, sysv or memfd"));
  RawSnapshotPublisher open("weather?home=memfd&mode=0666", kSchema);
  EXPECT_THAT(Publish(open, "sun"), Fails(absl::StatusCode::kInvalidArgument));
}

}  // namespace
}  // namespace ipcrpc

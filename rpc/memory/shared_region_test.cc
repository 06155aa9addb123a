#include "rpc/memory/shared_region.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "transport/base/strings.h"

namespace ipcrpc::rpc {
namespace {

using Kind = SharedRegion::Kind;
using Region = absl::StatusOr<std::shared_ptr<SharedRegion>>;

constexpr size_t kPage = 4096;
constexpr int kPoolSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
constexpr int kSealedSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;

void FillWith(std::span<std::byte> bytes, char letter) { std::memset(bytes.data(), letter, bytes.size()); }

Region SealedLetters(size_t bytes) {
  return SharedRegion::MakeSealed(bytes, [](std::span<std::byte> room) { FillWith(room, 'a'); });
}

bool IsAll(const SharedRegion& region, char letter) {
  return std::all_of(region.data(), region.data() + region.size(), [letter](std::byte byte) { return byte == std::byte(letter); });
}

// As a hostile peer may make it: `bytes` long, the first `present` of which there are.
UniqueFd Memfd(off_t bytes, off_t present, int seals, unsigned flags = MFD_ALLOW_SEALING) {
  UniqueFd fd(memfd_create("test", MFD_CLOEXEC | flags));
  EXPECT_TRUE(fd.valid());
  EXPECT_EQ(ftruncate(fd.get(), bytes), 0);
  if (present != 0) {
    EXPECT_EQ(fallocate(fd.get(), 0, 0, present), 0);
  }
  if (seals != 0) {
    EXPECT_EQ(fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  }
  return fd;
}

Region MapCopy(Kind kind, const SharedRegion& of, uint64_t bytes) {
  return SharedRegion::Map(kind, UniqueFd::DuplicateOf(of.fd()), bytes);
}

void ExpectRefused(const Region& region, std::string_view why) {
  ASSERT_FALSE(region.ok()) << why;
  EXPECT_EQ(region.status().code(), absl::StatusCode::kInvalidArgument) << region.status();
  EXPECT_NE(MessageOf(region.status()).find(why), std::string_view::npos) << region.status() << " should say: " << why;
}

// How many bytes of it are in memory.
uint64_t PresentBytes(int fd) {
  struct stat info;
  EXPECT_EQ(fstat(fd, &info), 0);
  return static_cast<uint64_t>(info.st_blocks) * 512;
}

// What a process that has the descriptor might try.
void ExpectNobodyElseCanChange(int fd, size_t size) {
  char letter = 'x';
  EXPECT_EQ(write(fd, &letter, 1), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(pwrite(fd, &letter, 1, 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), MAP_FAILED);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(ftruncate(fd, 0), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(ftruncate(fd, static_cast<off_t>(size + kPage)), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kPage), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
  EXPECT_EQ(errno, EPERM);
  // Opened anew it is no more than that.
  const UniqueFd again(open(Cat("/proc/self/fd/", fd).c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(again.valid());
  EXPECT_EQ(mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, again.get(), 0), MAP_FAILED);
  EXPECT_EQ(errno, EPERM);
}

TEST(SharedRegionTest, APoolIsZeroedAndAllThere) {
  const Region pool = SharedRegion::MakePool(10 * kPage + 1);
  ASSERT_TRUE(pool.ok()) << pool.status();
  EXPECT_EQ((*pool)->kind(), Kind::kPool);
  EXPECT_EQ((*pool)->size(), 11 * kPage) << "whole pages";
  EXPECT_EQ(PresentBytes((*pool)->fd()), 11 * kPage);
  EXPECT_TRUE(IsAll(**pool, '\0'));
  EXPECT_EQ(fcntl((*pool)->fd(), F_GET_SEALS), kPoolSeals);
  EXPECT_EQ(fcntl((*pool)->fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

TEST(SharedRegionTest, APeerReadsWhatTheMakerOfAPoolWrites) {
  const Region pool = SharedRegion::MakePool(4 * kPage);
  ASSERT_TRUE(pool.ok()) << pool.status();
  const Region seen = MapCopy(Kind::kPool, **pool, 4 * kPage);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_NE((*seen)->data(), (*pool)->data());
  for (const char letter : {'a', 'b'}) {
    FillWith({(*pool)->data(), (*pool)->size()}, letter);
    EXPECT_TRUE(IsAll(**seen, letter));
  }
}

TEST(SharedRegionTest, NobodyButItsMakerChangesAPool) {
  const Region pool = SharedRegion::MakePool(4 * kPage);
  ASSERT_TRUE(pool.ok()) << pool.status();
  FillWith({(*pool)->data(), (*pool)->size()}, 'a');
  ExpectNobodyElseCanChange((*pool)->fd(), (*pool)->size());
  EXPECT_EQ(madvise((*pool)->data(), kPage, MADV_REMOVE), -1) << "not even its maker makes a hole";
  const Region seen = MapCopy(Kind::kPool, **pool, 4 * kPage);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_EQ(mprotect((*seen)->data(), (*seen)->size(), PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(errno, EACCES);
  EXPECT_TRUE(IsAll(**pool, 'a'));
}

TEST(SharedRegionTest, SealedMemoryHasWhatItWasFilledWith) {
  for (const size_t bytes : {size_t{1}, kPage, 3 * kPage + 17}) {
    const Region sealed = SealedLetters(bytes);
    ASSERT_TRUE(sealed.ok()) << sealed.status();
    EXPECT_EQ((*sealed)->kind(), Kind::kSealed);
    EXPECT_EQ((*sealed)->size(), bytes);
    EXPECT_TRUE(IsAll(**sealed, 'a'));
    EXPECT_EQ(fcntl((*sealed)->fd(), F_GET_SEALS), kSealedSeals | F_SEAL_SEAL);
    const Region seen = MapCopy(Kind::kSealed, **sealed, bytes);
    ASSERT_TRUE(seen.ok()) << seen.status();
    EXPECT_TRUE(IsAll(**seen, 'a'));
    EXPECT_TRUE(MapCopy(Kind::kSealed, **sealed, 0).ok()) << "of any size";
  }
}

TEST(SharedRegionTest, NobodyChangesSealedMemory) {
  const Region sealed = SealedLetters(4 * kPage);
  ASSERT_TRUE(sealed.ok()) << sealed.status();
  ExpectNobodyElseCanChange((*sealed)->fd(), (*sealed)->size());
  // A private mapping may be written, by who has it, for himself.
  void* const own = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, (*sealed)->fd(), 0);
  ASSERT_NE(own, MAP_FAILED);
  std::memset(own, 'x', kPage);
  munmap(own, kPage);
  EXPECT_TRUE(IsAll(**sealed, 'a'));
  const Region seen = MapCopy(Kind::kSealed, **sealed, 4 * kPage);
  ASSERT_TRUE(seen.ok()) << seen.status();
  EXPECT_TRUE(IsAll(**seen, 'a'));
}

TEST(SharedRegionTest, WhatFillingThrowsComesOutAndNothingIsLeft) {
  const UniqueFd before(memfd_create("next", MFD_CLOEXEC));
  EXPECT_THROW(SharedRegion::MakeSealed(kPage, [](std::span<std::byte>) { throw 7; }).IgnoreError(), int);
  const UniqueFd after(memfd_create("next", MFD_CLOEXEC));
  EXPECT_EQ(after.get(), before.get() + 1) << "a descriptor is left open";
}

TEST(SharedRegionTest, TellsThatThereIsNotSoMuch) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  const Region pool = SharedRegion::MakePool(kPage), sealed = SealedLetters(kPage);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_EQ(pool.status().code(), absl::StatusCode::kResourceExhausted) << pool.status();
  EXPECT_EQ(sealed.status().code(), absl::StatusCode::kResourceExhausted) << sealed.status();
}

// In a process of its own: what is disabled is read once.
TEST(SharedRegionDeathTest, TellsThatTheSystemRefusesIt) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto try_it = [] {
    setenv("IPCRPC_DISABLE", "memfd_create", 1);
    const absl::Status pool = SharedRegion::MakePool(kPage).status(), sealed = SealedLetters(kPage).status();
    std::fprintf(stderr, "%s\n", pool.ToString().c_str());
    _exit(pool.code() == absl::StatusCode::kFailedPrecondition && sealed == pool ? 0 : 1);
  };
  EXPECT_EXIT(try_it(), testing::ExitedWithCode(0), "memfd_create is refused here .by IPCRPC_DISABLE.");
}

TEST(SharedRegionTest, HasALeastAndAMostSize) {
  constexpr uint64_t kTooMuch = (uint64_t{1} << 32) + 1;
  ExpectRefused(SharedRegion::MakePool(0), "no bytes");
  ExpectRefused(SharedRegion::MakePool(kTooMuch), "it may have");
  ExpectRefused(SharedRegion::MakePool(SIZE_MAX), "it may have");
  ExpectRefused(SealedLetters(0), "no bytes");
  ExpectRefused(SealedLetters(kTooMuch), "it may have");
  ExpectRefused(SharedRegion::Map(Kind::kPool, Memfd(0, 0, kPoolSeals), 0), "no bytes");
  ExpectRefused(SharedRegion::Map(Kind::kSealed, Memfd(0, 0, kSealedSeals), 0), "no bytes");
  ExpectRefused(SharedRegion::Map(Kind::kPool, Memfd(kTooMuch, 0, kPoolSeals), kTooMuch), "it may have");
}

TEST(SharedRegionTest, EachSealIsDue) {
  for (const auto& [kind, seals] : {std::pair(Kind::kPool, kPoolSeals), std::pair(Kind::kSealed, kSealedSeals)}) {
    EXPECT_TRUE(SharedRegion::Map(kind, Memfd(kPage, kPage, seals), kPage).ok());
    ExpectRefused(SharedRegion::Map(kind, Memfd(kPage, kPage, 0), kPage), "lacks seals");
    for (const int seal : {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL}) {
      if ((seals & seal) == 0) continue;
      ExpectRefused(SharedRegion::Map(kind, Memfd(kPage, kPage, seals & ~seal), kPage), "lacks seals");
    }
  }
  ExpectRefused(SharedRegion::Map(Kind::kPool, Memfd(kPage, kPage, 0, 0), kPage), "lacks seals");  // no sealing allowed
  EXPECT_TRUE(SharedRegion::Map(Kind::kSealed, Memfd(kPage, kPage, kSealedSeals | F_SEAL_SEAL), kPage).ok());
}

TEST(SharedRegionTest, TellsOfItsEndWhoHasNotThoughtBetter) {
  std::vector<int> told;
  const auto kept = std::make_shared<int>(0);
  {
    const Region region = SharedRegion::MakePool(kPage);
    ASSERT_TRUE(region.ok());
    (*region)->AtEnd([&] { told.push_back(1); });
    const uint64_t second = (*region)->AtEnd([&, kept] { told.push_back(2); });
    (*region)->AtEnd([&] { told.push_back(3); });
    (*region)->NotAtEnd(second);
    (*region)->NotAtEnd(second);
    EXPECT_EQ(kept.use_count(), 1) << "what it would have run is gone at once";
    EXPECT_TRUE(told.empty());
  }
  EXPECT_EQ(told, (std::vector<int>{1, 3}));
}

TEST(SharedRegionTest, OneKindIsNotTheOther) {
  const Region pool = SharedRegion::MakePool(kPage), sealed = SealedLetters(kPage);
  ASSERT_TRUE(pool.ok() && sealed.ok());
  ExpectRefused(MapCopy(Kind::kSealed, **pool, kPage), "lacks seals");
  ExpectRefused(MapCopy(Kind::kPool, **sealed, kPage), "lacks seals");
}

TEST(SharedRegionTest, IsOfTheSizeThatIsAnnounced) {
  for (const uint64_t announced : {uint64_t{1}, uint64_t{kPage - 1}, uint64_t{kPage + 1}, uint64_t{1} << 63}) {
    ExpectRefused(SharedRegion::Map(Kind::kPool, Memfd(kPage, kPage, kPoolSeals), announced), "were announced");
    ExpectRefused(SharedRegion::Map(Kind::kSealed, Memfd(kPage, kPage, kSealedSeals), announced), "were announced");
  }
}

TEST(SharedRegionTest, MayHaveNoHole) {
  ExpectRefused(SharedRegion::Map(Kind::kPool, Memfd(2 * kPage, 0, kPoolSeals), 2 * kPage), "has holes");
  ExpectRefused(SharedRegion::Map(Kind::kPool, Memfd(2 * kPage, kPage, kPoolSeals), 2 * kPage), "has holes");
  ExpectRefused(SharedRegion::Map(Kind::kSealed, Memfd(kPage + 1, kPage, kSealedSeals), kPage + 1), "has holes");
}

TEST(SharedRegionTest, NothingButAMemfdWillDo) {
  int sockets[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
  const UniqueFd other_end(sockets[1]);
  ExpectRefused(SharedRegion::Map(Kind::kPool, UniqueFd(sockets[0]), kPage), "not a memfd");
  for (const char* path : {"/dev/zero", "/dev/null", "/", "/proc/self/status"}) {
    ExpectRefused(SharedRegion::Map(Kind::kSealed, UniqueFd(open(path, O_RDONLY | O_CLOEXEC)), kPage), "not a memfd");
  }
  ExpectRefused(SharedRegion::Map(Kind::kSealed, UniqueFd(), kPage), "not a memfd");
  // A file of /dev/shm knows seals, and has but the one that forbids them.
  const std::string name = Cat("/ipcrpc_shared_region_test.", getpid());
  UniqueFd named(shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  ASSERT_TRUE(named.valid());
  shm_unlink(name.c_str());
  ASSERT_EQ(posix_fallocate(named.get(), 0, kPage), 0);
  ExpectRefused(SharedRegion::Map(Kind::kPool, std::move(named), kPage), "lacks seals");
}

}  // namespace
}  // namespace ipcrpc::rpc

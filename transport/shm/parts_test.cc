// The parts of a link that can be chosen: what an address may ask for, who may share what with whom, and what a peer that
// says one thing and brings another gets.
#include "transport/shm/parts.h"

#include <fcntl.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <fstream>

#include "gmock/gmock.h"
#include "transport/shm/bell.h"
#include "transport/shm/handshake.h"
#include "transport/shm/ledger.h"
#include "transport/shm/memory.h"
#include "transport/shm/testing/parts_testing.h"
#include "transport/testing/link_peer.h"
#include "transport/testing/sandbox.h"
#include "transport/testing/swept_dir.h"
#include "transport/unix_socket.h"

namespace ipcrpc::shm {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr uid_t kAnotherUid = 12345;
constexpr UnixSocketKind kControlSocket = {.type = SOCK_SEQPACKET, .suffix = "shm"};

class PartsTest : public ::testing::Test {
 protected:
  static absl::StatusOr<Parts> PartsOfText(const std::string& parameters) { return PartsOf(*ParseAddress("shm:parts?" + parameters)); }
  static Parts MustPartsOf(const std::string& parameters) {
    absl::StatusOr<Parts> parts = PartsOfText(parameters);
    EXPECT_TRUE(parts.ok()) << parts.status();
    return parts.ok() ? *parts : Parts();
  }

  SweptRuntimeDir directory_;
};

// ---- addresses ---------------------------------------------------------------------------------

TEST_F(PartsTest, WrongParametersAreNamedWithWhatWouldBeRight) {
  const auto message = [](const std::string& parameters) { return std::string(MessageOf(PartsOfText(parameters).status())); };
  EXPECT_THAT(message("segment=file"), AllOf(HasSubstr("segment='file'"), HasSubstr("memfd, posix, sysv")));
  EXPECT_THAT(message("wake=signal"), AllOf(HasSubstr("wake='signal'"), HasSubstr("futex, eventfd, sem, sysvsem")));
  EXPECT_THAT(message("lock=yes"), AllOf(HasSubstr("lock='yes'"), HasSubstr("0, 1")));
  EXPECT_THAT(message("segment=posix&hugepages=1"), AllOf(HasSubstr("hugepages='1'"), HasSubstr("/dev/shm")));
  EXPECT_TRUE(absl::IsInvalidArgument(TryListen("shm:parts?segment=file")));
  EXPECT_THAT(MessageOf(TryListen("shm:parts?segmnt=posix")), HasSubstr("segment"));
  for (const char* spin : {"never", "20", "0us", "101us", "-1us", "us"}) {
    EXPECT_THAT(MessageOf(TryListen(Cat("shm:parts?spin=", spin))), AllOf(HasSubstr(spin), HasSubstr("from 1us to 100us")));
  }
  EXPECT_TRUE(TryListen("shm:parts?spin=20us").ok());
}

TEST_F(PartsTest, EachSideChoosesItsOwn) {
  for (const std::string_view server : {"segment=memfd", "segment=posix&wake=sysvsem", "segment=sysv&wake=sem"}) {
    for (const std::string_view client : {"segment=sysv", "segment=posix&wake=eventfd", "wake=sem", "wake=futex"}) {
      SCOPED_TRACE(Cat(server, " ", client));
      ExpectCarries(Cat("shm:parts?", server), Cat("shm:parts?", client));
    }
  }
  EXPECT_TRUE(directory_.empty());
}

// ---- trust -------------------------------------------------------------------------------------

// As a process of another uid, in a child.
template <typename Body>
int AsAnotherUid(Body body) {
  return Child([&] {
           if (setgid(kAnotherUid) != 0 || setuid(kAnotherUid) != 0) return 2;
           body();
           return ::testing::Test::HasFailure() ? 1 : 0;
         })
      .Wait();
}

class TrustTest : public PartsTest {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "only root can be another uid";
    std::filesystem::permissions(directory_.path(), std::filesystem::perms(0755));
  }
  // Serves in a child of its own, since a process with threads is not to be forked.
  static Child Server(const std::string& address, int ready) {
    return Child([&address, ready] {
      EpollEcho echo(address);
      if (write(ready, "y", 1) != 1) return 1;
      for (;;) pause();
    });
  }
};

#define START_SERVER(address)                     \
  int ready[2];                                   \
  ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);          \
  const Child server = Server(address, ready[1]); \
  char byte;                                      \
  ASSERT_EQ(read(ready[0], &byte, 1), 1);

TEST_F(TrustTest, AClientAsksAnotherUidForNothingThatIsForOneUid) {
  START_SERVER("shm:parts?mode=0666");
  EXPECT_EQ(AsAnotherUid([] {
    EXPECT_TRUE(TryConnect("shm:parts").ok());
    // What needs a ledger would have failed for want of a runtime directory that this uid may write.
    for (const std::string_view choice : {"wake=eventfd", "wake=sem", "hugepages=1"}) {
      const absl::Status refused = TryConnect(Cat("shm:parts?", choice)).status();
      EXPECT_TRUE(absl::IsPermissionDenied(refused)) << choice << ": " << refused;
      EXPECT_THAT(MessageOf(refused), AllOf(HasSubstr("the client's choice"), HasSubstr("one uid"), HasSubstr("uid 0")));
    }
  }), 0);
  close(ready[0]), close(ready[1]);
}

TEST_F(TrustTest, AServerRefusesAnotherUidWhatItsOwnSideIsMadeOf) {
  START_SERVER("shm:parts?mode=0666&segment=posix");
  EXPECT_EQ(AsAnotherUid([] {
    const absl::Status refused = TryConnect("shm:parts").status();
    EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
    EXPECT_THAT(MessageOf(refused), AllOf(HasSubstr("the server refused"), HasSubstr("segment=posix"), HasSubstr(Cat("uid ", kAnotherUid))));
  }), 0);
  close(ready[0]), close(ready[1]);
}

TEST_F(TrustTest, AServerRefusesAClientOfAnotherUidThatThinksItMay) {
  START_SERVER("shm:parts?mode=0666");
  EXPECT_EQ(AsAnotherUid([] {
    absl::StatusOr<UnixConnection> connection = ConnectUnixSocket(*ParseAddress("shm:parts"), kControlSocket, InMs(5000));
    ASSERT_TRUE(connection.ok()) << connection.status();
    const PeerIdentity friendly = {.pid = 1, .uid = geteuid(), .gid = 0, .vouched = true};
    const absl::Status refused = Introduce(connection->fd.get(), friendly, {.sizes = {}, .parts = {.wake = WakeKind::kSemaphore}}, InMs(5000)).status();
    EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
    EXPECT_THAT(MessageOf(refused), AllOf(HasSubstr("the server refused"), HasSubstr("the client's choice"), HasSubstr("wake=sem")));
  }), 0);
  close(ready[0]), close(ready[1]);
}

// ---- versions ----------------------------------------------------------------------------------

TEST_F(PartsTest, ParametersAreNotLostOnAnOldServer) {
  absl::StatusOr<std::unique_ptr<UnixListenSocket>> socket = UnixListenSocket::Bind(*ParseAddress("shm:parts"), kControlSocket);
  ASSERT_TRUE(socket.ok());
  for (const auto& [address, lowest] : {std::pair("shm:parts", 1), std::pair("shm:parts?wake=eventfd", 2)}) {
    std::thread old_server([&, lowest_version = lowest] {
      UniqueFd peer;
      while (!peer.valid()) peer = std::move((*socket)->Accept()).value();
      absl::StatusOr<std::optional<Datagram>> hello = std::nullopt;
      while (hello.ok() && !hello->has_value()) hello = ReceiveDatagram(peer.get());
      ASSERT_TRUE(hello.ok());
      Hello body;
      ASSERT_GE((*hello)->bytes.size(), sizeof body);
      std::memcpy(&body, (*hello)->bytes.data(), sizeof body);
      EXPECT_EQ(body.version_min, lowest_version);
      EXPECT_EQ(body.version_max, kHighestVersion);
      Refuse(peer.get(), absl::FailedPreconditionError("the server speaks version 1 of the protocol"));
    });
    const absl::Status refused = TryConnect(address).status();
    old_server.join();
    EXPECT_TRUE(absl::IsFailedPrecondition(refused)) << refused;
    EXPECT_THAT(MessageOf(refused), HasSubstr("version 1"));
  }
}

TEST_F(PartsTest, AnOldClientIsServedWhatItKnowsAndToldOfTheRest) {
  for (const auto& [address, serves] : {std::pair("shm:parts", true), std::pair("shm:parts?segment=posix", false)}) {
    LinkHost host(address);
    absl::StatusOr<UnixConnection> connection = ConnectUnixSocket(*ParseAddress("shm:parts"), kControlSocket, InMs(5000));
    ASSERT_TRUE(connection.ok());
    absl::StatusOr<OwnMemory> memory = MakeMemory({}, SegmentBytes(kMinRingBytes), Sharing::kPeerReads);
    ASSERT_TRUE(memory.ok());
    InitSegment(memory->mapping, 0);
    const Hello hello = {.magic = kHelloMagic, .version_min = 1, .version_max = 1, .features = 0, .ring_bytes = kMinRingBytes,
                         .max_ring_bytes = kMinRingBytes, .reserved = {}};
    ASSERT_TRUE(SendDatagram(connection->fd.get(), &hello, sizeof hello, {memory->place.fd.get()}).ok());
    absl::StatusOr<std::optional<Datagram>> answer = std::nullopt;
    while (answer.ok() && !answer->has_value()) answer = ReceiveDatagram(connection->fd.get());
    ASSERT_TRUE(answer.ok());
    Welcome welcome;
    std::memcpy(&welcome, (*answer)->bytes.data(), sizeof welcome);
    if (serves) {
      EXPECT_EQ(welcome.refused, 0);
      EXPECT_EQ(welcome.version, 1);
      EXPECT_EQ((*answer)->bytes.size(), sizeof welcome);
    } else {
      EXPECT_EQ(welcome.refused, static_cast<uint16_t>(absl::StatusCode::kFailedPrecondition));
      EXPECT_THAT((*answer)->bytes, HasSubstr("versions 2 to 2"));
    }
  }
}

// ---- what is not what it says ------------------------------------------------------------------

constexpr size_t kSize = 8192;

void ExpectWrong(SegmentKind kind, const MemoryPlace& place, std::string_view why) {
  const absl::Status status = MapPeerMemory({.segment = kind}, place, kSize, Sharing::kPeerReads).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status)) << why << ": " << status;
  EXPECT_THAT(MessageOf(status), HasSubstr(std::string(why)));
}

// A file as segment=posix has them, but for what the test does to it.
UniqueFd PosixFile(const std::string& directory, off_t size, bool allocate = true, mode_t mode = 0600, bool named = false) {
  static int number = 0;
  const std::string path = Cat(directory, "/file", number++, ".", getpid());
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  EXPECT_TRUE(fd.valid());
  EXPECT_EQ(allocate ? posix_fallocate(fd.get(), 0, size) : ftruncate(fd.get(), size), 0);
  EXPECT_EQ(fchmod(fd.get(), mode), 0);
  if (!named) unlink(path.c_str());
  return fd;
}

TEST_F(PartsTest, WrongPosixMemoryIsRefused) {
  const auto expect = [](UniqueFd fd, std::string_view why) { ExpectWrong(SegmentKind::kPosix, {.fd = std::move(fd)}, why); };
  {
    const MemoryPlace right = {.fd = PosixFile("/dev/shm", kSize)};
    EXPECT_TRUE(MapPeerMemory({.segment = SegmentKind::kPosix}, right, kSize, Sharing::kPeerReads).ok());
  }
  expect(UniqueFd(), "was not sent");
  expect(PosixFile("/dev/shm", kSize + 4096), "12288 bytes");
  expect(PosixFile("/dev/shm", kSize, /*allocate=*/false), "holes");
  expect(PosixFile("/dev/shm", kSize, true, 0644), "mode");
  expect(UniqueFd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)), "tmpfs");
  expect(UniqueFd(open("/dev/shm", O_RDONLY | O_CLOEXEC | O_DIRECTORY)), "tmpfs");
  const std::string name = Cat("/dev/shm/ipcrpc-test.", getpid());
  UniqueFd named(open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  EXPECT_EQ(posix_fallocate(named.get(), 0, kSize), 0);
  expect(std::move(named), "has a name");
  unlink(name.c_str());
  if (geteuid() == 0) {
    UniqueFd anothers = PosixFile("/dev/shm", kSize);
    EXPECT_EQ(fchown(anothers.get(), kAnotherUid, kAnotherUid), 0);
    expect(std::move(anothers), "belongs to uid 12345");
  }
}

TEST_F(PartsTest, WrongSystemVMemoryIsRefused) {
  const auto with = [](size_t size, int mode, bool marked, std::string_view why) {
    const int id = shmget(IPC_PRIVATE, size, IPC_CREAT | mode);
    ASSERT_GE(id, 0);
    void* const at = shmat(id, nullptr, 0);
    if (marked) shmctl(id, IPC_RMID, nullptr);
    if (why.empty()) {
      EXPECT_TRUE(MapPeerMemory({.segment = SegmentKind::kSysv}, {.fd = {}, .id = id}, size, Sharing::kPeerReads).ok());
    } else {
      ExpectWrong(SegmentKind::kSysv, {.fd = {}, .id = id}, why);
    }
    shmdt(at);
    if (!marked) shmctl(id, IPC_RMID, nullptr);
  };
  with(kSize, 0600, true, "");
  with(kSize, 0600, false, "marked for removal");
  with(kSize, 0666, true, "mode");
  with(kSize + 4096, 0600, true, "12288 bytes");
  const absl::Status none = MapPeerMemory({.segment = SegmentKind::kSysv}, {.fd = {}, .id = 0x7fff'ffff}, kSize, Sharing::kPeerReads).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(none)) << none;
  EXPECT_THAT(MessageOf(none), HasSubstr("IPC namespace"));
}

TEST_F(PartsTest, WrongBellsAreRefused) {
  const auto refused = [](WakeKind wake, BellPlace place) {
    return !TakeBell(wake, SegmentKind::kMemfd, std::move(place)).ok();
  };
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC | O_NONBLOCK), 0);
  const UniqueFd reading(ends[0]), writing(ends[1]);
  EXPECT_TRUE(refused(WakeKind::kEventfd, {.fd = UniqueFd(dup(ends[1]))}));
  EXPECT_TRUE(refused(WakeKind::kEventfd, {.fd = UniqueFd(eventfd(0, EFD_CLOEXEC))})) << "a blocking one";
  EXPECT_TRUE(refused(WakeKind::kEventfd, {}));
  EXPECT_FALSE(refused(WakeKind::kEventfd, {.fd = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))}));

  EXPECT_TRUE(refused(WakeKind::kSemaphore, {.fd = UniqueFd(dup(ends[1]))}));
  absl::StatusOr<OwnMemory> page = MakeMemory({}, 4096, Sharing::kBothWrite);
  ASSERT_TRUE(page.ok());
  EXPECT_TRUE(refused(WakeKind::kSemaphore, {.fd = UniqueFd(dup(page->place.fd.get()))})) << "a page without a semaphore";

  const int id = semget(IPC_PRIVATE, 1, IPC_CREAT | 0600);
  EXPECT_TRUE(refused(WakeKind::kSysvSemaphore, {.id = id, .key = 5})) << "another key";
  semctl(id, 0, IPC_RMID);
  const uint32_t key = Ledger::RandomKey();
  const int two = semget(static_cast<key_t>(key), 2, IPC_CREAT | IPC_EXCL | 0600);
  EXPECT_TRUE(refused(WakeKind::kSysvSemaphore, {.id = two, .key = key})) << "two of them";
  semctl(two, 0, IPC_RMID);
}

// A bell rung before, rung often, or by nobody.
TEST_F(PartsTest, BellsKeepWhatIsRungAndTakeItAllAtOnce) {
  for (const std::string_view wake : kWakeChoices) {
    if (wake == "futex") continue;
    SCOPED_TRACE(wake);
    absl::StatusOr<OwnBell> made = MakeBell(MustPartsOf(Cat("wake=", wake)));
    ASSERT_TRUE(made.ok()) << made.status();
    Bell& own = *made->bell;
    const WakeKind kind = MustPartsOf(Cat("wake=", wake)).wake;
    absl::StatusOr<std::unique_ptr<Bell>> peers = TakeBell(kind, SegmentKind::kMemfd, std::move(made->place));
    ASSERT_TRUE(peers.ok()) << peers.status();
    const auto waited_ms = [&own](int64_t ms) {
      const int64_t start = MonotonicNs();
      EXPECT_TRUE(own.Wait(start + ms * 1'000'000));
      return (MonotonicNs() - start) / 1'000'000;
    };
    (*peers)->Ring();
    EXPECT_LT(waited_ms(60'000), 900) << "a ring was lost";
    EXPECT_GE(waited_ms(60), 59) << "a ring was not taken";
    // As often as it holds, and more.
    for (int i = 0; i < 40'000; ++i) (*peers)->Ring();
    EXPECT_LT(waited_ms(60'000), 900);
    EXPECT_GE(waited_ms(60), 59) << "rings were not taken";
    own.Kick();
    EXPECT_LT(waited_ms(60'000), 900);
    EXPECT_LT(waited_ms(0), 900);
  }
}

TEST_F(PartsTest, ARingThatThePeerStealsIsMissedForASecondAtMost) {
  absl::StatusOr<OwnBell> made = MakeBell(MustPartsOf("wake=sem"));
  ASSERT_TRUE(made.ok());
  const int64_t start = MonotonicNs();
  EXPECT_TRUE(made->bell->Wait(kNoDeadline));
  EXPECT_LT(MonotonicNs() - start, 5 * kBellSliceNs);
  EXPECT_GE(MonotonicNs() - start, kBellSliceNs - 1'000'000);
}

TEST_F(PartsTest, ABellThatIsTakenAwayIsBroken) {
  absl::StatusOr<OwnBell> made = MakeBell(MustPartsOf("wake=sysvsem"));
  ASSERT_TRUE(made.ok());
  semctl(made->place.id, 0, IPC_RMID);
  EXPECT_FALSE(made->bell->Wait(kNoDeadline));
  made->bell->Kick();

  absl::StatusOr<OwnBell> in_a_file = MakeBell(MustPartsOf("segment=posix&wake=sem"));
  ASSERT_TRUE(in_a_file.ok());
  ASSERT_EQ(ftruncate(in_a_file->place.fd.get(), 0), 0);
  EXPECT_FALSE(in_a_file->bell->Wait(MonotonicNs()));
  in_a_file->bell->Kick();
}

// ---- memory that changes under us --------------------------------------------------------------

// A client whose segment and bell the test keeps at hand.
struct ClientByHand {
  OwnMemory memory;
  OwnBell bell;
  UnixConnection connection;

  static ClientByHand Greet(const Parts& parts) {
    ClientByHand client = {.memory = *MakeMemory(parts, SegmentBytes(kMinRingBytes), Sharing::kPeerReads),
                           .bell = *MakeBell(parts),
                           .connection = *ConnectUnixSocket(*ParseAddress("shm:parts"), kControlSocket, InMs(5000))};
    InitSegment(client.memory.mapping, 77);
    struct {
      Hello hello;
      PartsBody body;
    } message = {.hello = {.magic = kHelloMagic, .version_min = 2, .version_max = 2, .features = 0, .ring_bytes = kMinRingBytes,
                           .max_ring_bytes = kMinRingBytes, .reserved = {}},
                 .body = {.segment = static_cast<uint8_t>(parts.segment), .wake = static_cast<uint8_t>(parts.wake),
                          .page_shift = kPageShift, .reserved = 0, .segment_id = client.memory.place.id,
                          .wake_id = client.bell.place.id, .wake_key = client.bell.place.key, .token = 77}};
    EXPECT_TRUE(SendDatagram(client.connection.fd.get(), &message, sizeof(Hello) + sizeof(PartsBody),
                             {client.memory.place.fd.get(), client.bell.place.fd.get()})
                    .ok());
    return client;
  }
};

TEST_F(PartsTest, MemoryCutShortEndsTheLinkAndNotTheProcess) {
  LinkHost host("shm:parts?segment=posix");
  std::unique_ptr<Link> bystander = *TryConnect("shm:parts?segment=posix");
  const std::unique_ptr<Link> beside = host.Accept();
  for (const bool in_epoll : {false, true}) {
    ClientByHand client = ClientByHand::Greet(MustPartsOf("segment=posix"));
    const std::unique_ptr<Link> link = host.Accept();
    ASSERT_NE(link, nullptr);
    LinkDriver driver(*link);
    EXPECT_EQ(driver.Poll(), Link::Progress::kIdle);
    const UniqueFd writable(open(Cat("/proc/self/fd/", client.memory.place.fd.get()).c_str(), O_RDWR | O_CLOEXEC));
    ASSERT_EQ(ftruncate(writable.get(), 0), 0);
    if (in_epoll) {
      EXPECT_FALSE(link->BeginSleep());
    }
    EXPECT_FALSE(driver.DriveUntil([] { return false; }, 20000));
    EXPECT_TRUE(driver.closed);
    EXPECT_TRUE(absl::IsUnavailable(link->status())) << link->status();
    EXPECT_THAT(MessageOf(link->status()), HasSubstr("taken away"));
  }
  std::thread echo([&] { PlayRole("echo", *beside, -1); });
  ExpectCarries(*bystander);
  bystander.reset();
  echo.join();
}

TEST_F(PartsTest, ATokenTellsOneSegmentFromAnother) {
  absl::StatusOr<OwnMemory> memory = MakeMemory({}, SegmentBytes(kMinRingBytes), Sharing::kPeerReads);
  ASSERT_TRUE(memory.ok());
  InitSegment(memory->mapping, 5);
  EXPECT_TRUE(CheckSegment(memory->mapping, 5).ok());
  EXPECT_TRUE(CheckSegment(memory->mapping, 0).ok()) << "version 1 had none";
  EXPECT_THAT(MessageOf(CheckSegment(memory->mapping, 6).status()), HasSubstr("IPC namespace"));
}

// ---- how memory is kept ------------------------------------------------------------------------

uint64_t StatusKiB(std::string_view key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key)) return std::stoull(line.substr(key.size()));
  }
  return 0;
}

TEST_F(PartsTest, PrefaultedMemoryIsThere) {
  for (const std::string_view segment : kSegmentChoices) {
    SCOPED_TRACE(segment);
    absl::StatusOr<OwnMemory> memory = MakeMemory(MustPartsOf(Cat("prefault=1&segment=", segment)), 1 << 20, Sharing::kPeerReads);
    ASSERT_TRUE(memory.ok()) << memory.status();
    std::vector<unsigned char> pages((1 << 20) / 4096);
    ASSERT_EQ(mincore(memory->mapping.data(), 1 << 20, pages.data()), 0);
    EXPECT_TRUE(std::all_of(pages.begin(), pages.end(), [](unsigned char page) { return (page & 1) != 0; }));
    ExpectCarries(Cat("shm:parts?prefault=1&segment=", segment));
  }
}

TEST_F(PartsTest, LockedMemoryIsLocked) {
  for (const std::string_view segment : kSegmentChoices) {
    SCOPED_TRACE(segment);
    const uint64_t before = StatusKiB("VmLck:");
    absl::StatusOr<OwnMemory> memory = MakeMemory(MustPartsOf(Cat("lock=1&segment=", segment)), 1 << 16, Sharing::kPeerReads);
    ASSERT_TRUE(memory.ok()) << memory.status();
    if (segment == "sysv") {
      shmid_ds info;
      ASSERT_EQ(shmctl(memory->place.id, IPC_STAT, &info), 0);
      EXPECT_NE(info.shm_perm.mode & SHM_LOCKED, 0);
    } else {
      EXPECT_EQ(StatusKiB("VmLck:"), before + 64);
    }
    ExpectCarries(Cat("shm:parts?lock=1&segment=", segment));
  }
}

TEST_F(TrustTest, WhatMayNotBeLockedIsAnErrorThatNamesTheLimit) {
  ASSERT_EQ(chown(directory_.path().c_str(), kAnotherUid, kAnotherUid), 0);
  EXPECT_EQ(AsAnotherUid([] {
    const rlimit limit = {.rlim_cur = 8192, .rlim_max = 8192};
    ASSERT_EQ(setrlimit(RLIMIT_MEMLOCK, &limit), 0);
    for (const std::string_view segment : kSegmentChoices) {
      const absl::Status refused = TryListen(Cat("shm:parts?lock=1&segment=", segment));
      // The page that is tried at first may be locked; a segment may not.
      EXPECT_TRUE(refused.ok()) << refused;
      const absl::Status memory = MakeMemory(MustPartsOf(Cat("lock=1&segment=", segment)), 1 << 20, Sharing::kPeerReads).status();
      EXPECT_TRUE(absl::IsResourceExhausted(memory)) << memory;
      EXPECT_THAT(MessageOf(memory), AllOf(HasSubstr("lock=1"), HasSubstr("RLIMIT_MEMLOCK is 8192 bytes")));
    }
  }), 0);
}

// The number of huge pages of the machine, set for the length of a test.
class HugePages {
 public:
  explicit HugePages(int wanted) : before_(Read()) { WriteFile(kFile, std::to_string(wanted)); }
  ~HugePages() { WriteFile(kFile, std::to_string(before_)); }
  static int Read() {
    int number = -1;
    std::ifstream(kFile) >> number;
    return number;
  }

 private:
  static constexpr char kFile[] = "/proc/sys/vm/nr_hugepages";
  const int before_;
};

TEST_F(TrustTest, HugePagesAreUsedOrSaidToBeMissing) {
  if (HugePages::Read() != 0) GTEST_SKIP() << "huge pages are in use on this machine";
  for (const std::string_view segment : {"memfd", "sysv"}) {
    SCOPED_TRACE(segment);
    const absl::Status refused = TryListen(Cat("shm:parts?hugepages=1&segment=", segment));
    EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
    EXPECT_THAT(MessageOf(refused), AllOf(HasSubstr("hugepages=1"), HasSubstr("vm.nr_hugepages")));
  }
  const HugePages some(4);
  ASSERT_EQ(HugePages::Read(), 4) << "the machine has no huge pages to give";
  for (const std::string_view segment : {"memfd", "sysv"}) {
    SCOPED_TRACE(segment);
    ExpectCarries(Cat("shm:parts?hugepages=1&segment=", segment));
  }
}

}  // namespace
}  // namespace ipcrpc::shm

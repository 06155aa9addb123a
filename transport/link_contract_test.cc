// The contract of transport/link.h, for every scheme, in one process and across processes. A scheme joins by
// a line in kCases.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <filesystem>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/base/strings.h"
#include "transport/link.h"
#include "transport/rendezvous/place.h"
#include "transport/scheme.h"
#include "transport/testing/epoll_echo.h"
#include "transport/testing/link_driver.h"
#include "transport/testing/link_peer.h"
#include "transport/testing/meeting_place.h"
#include "transport/testing/swept_dir.h"
#include "transport/unix_address.h"

namespace ipcrpc {
namespace {

using ::testing::HasSubstr;
using Verdict = FrameSink::Verdict;
using Progress = Link::Progress;

// What a scheme's test addresses are: see MeetingPlace.
struct Case {
  std::string_view name;
  std::string_view address;
  bool processes = true;  // its peers may be other processes
  bool threads = true;    // and this one

  bool starts_peer() const { return address == "exec:"; }
  bool many_connections() const { return SchemeOf(address).capabilities.many_connections; }
  const Capabilities& capabilities() const { return SchemeOf(address).capabilities; }

 private:
  static const Scheme& SchemeOf(std::string_view address) { return **FindScheme(address.substr(0, address.find(':'))); }
};

constexpr Case kCases[] = {
    {"shm", "shm:contract"},
    {"shm_memfd_eventfd", "shm:contract?wake=eventfd"},
    {"shm_memfd_sem", "shm:contract?wake=sem"},
    {"shm_memfd_sysvsem", "shm:contract?wake=sysvsem"},
    {"shm_posix_futex", "shm:contract?segment=posix"},
    {"shm_posix_eventfd", "shm:contract?segment=posix&wake=eventfd"},
    {"shm_posix_sem", "shm:contract?segment=posix&wake=sem"},
    {"shm_posix_sysvsem", "shm:contract?segment=posix&wake=sysvsem"},
    {"shm_sysv_futex", "shm:contract?segment=sysv"},
    {"shm_sysv_eventfd", "shm:contract?segment=sysv&wake=eventfd"},
    {"shm_sysv_sem", "shm:contract?segment=sysv&wake=sem"},
    {"shm_sysv_sysvsem", "shm:contract?segment=sysv&wake=sysvsem"},
    {"shm_abstract", "shm:@ipcrpc-contract-test"},
    {"unix", "unix:contract"},
    {"unix_abstract", "unix:@ipcrpc-contract-test"},
    {"unix_small", "unix:contract?buffer=8K"},
    {.name = "inproc", .address = "inproc:contract", .processes = false},
    {"fifo", "fifo:contract"},
    {"mqueue", "mqueue:contract"},
    {"sysvmq", "sysvmq:contract"},
    {"netlink", "netlink:contract"},
    {"socketpair", "socketpair:"},
    {"pipe", "pipe:"},
    {.name = "exec", .address = "exec:", .threads = false},  // and stdio:, on its other end
};

// Under a sanitizer everything takes several times as long.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr int kSlower = 5;
#else
constexpr int kSlower = 1;
#endif

// Abstract names belong to the whole machine, and another run of this test may be under way.
std::unique_ptr<MeetingPlace> PlaceOf(const Case& scheme, const SweptRuntimeDir& directory) {
  const bool abstract = scheme.address.find('@') != scheme.address.npos;
  const std::string unique = std::filesystem::path(directory.path()).filename();
  return std::make_unique<MeetingPlace>(Cat(scheme.address, abstract ? unique : ""));
}

int OpenDescriptors() {
  int count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

std::unique_ptr<Link> MustConnect(const std::string& address) {
  absl::StatusOr<std::unique_ptr<Link>> link = Connect(*ParseAddress(address), InMs(20000));
  EXPECT_TRUE(link.ok()) << link.status();
  return link.ok() ? *std::move(link) : nullptr;
}

// A test that has its peer in a thread or in a process. The link under test is the server's, and that of the client where
// it starts its peer.
struct PeeredCase {
  Case scheme;
  bool process;
};

class PeeredLink : public ::testing::TestWithParam<PeeredCase> {
 protected:
  void Start(const std::string& role) {
    if (GetParam().scheme.starts_peer()) {
      exec_ = std::make_unique<ExecPeer>(role);
      link_ = MustConnect(exec_->address());
      exec_->Started();
    } else {
      place_ = PlaceOf(GetParam().scheme, directory_);
      host_ = std::make_unique<LinkHost>(place_->server());
      if (GetParam().process) {
        process_ = std::make_unique<PeerProcess>(PeerProcess::Side::kConnects, place_->client(), role,
                                                 place_->client_descriptors());
        place_->ForgetClient();
      } else {
        thread_ = std::make_unique<PeerThread>(role, MustConnect(place_->client()));
      }
      link_ = host_->Accept();
    }
    ASSERT_NE(link_, nullptr);
    driver_ = std::make_unique<LinkDriver>(*link_);
  }
  void Go() { exec_ ? exec_->Go() : thread_ ? thread_->Go() : process_->Go(); }
  int JoinPeer() { return exec_ ? exec_->Join() : thread_ ? thread_->Join() : process_->Join(); }
  pid_t peer_pid() const { return exec_ ? exec_->pid() : thread_ ? getpid() : process_->pid(); }
  // Sends `frames` and has the echo checked, with what `between` does meanwhile.
  void ExpectEcho(const std::vector<Bytes>& frames) {
    size_t back = 0;
    driver_->on_frame = [&](const Bytes& frame) {
      EXPECT_TRUE(back < frames.size() && frame == frames[back])
          << "frame " << back << " of " << frame.size() << " bytes";
      ++back;
      return Verdict::kConsumed;
    };
    for (const Bytes& frame : frames) ASSERT_TRUE(driver_->Send(frame)) << link_->status();
    EXPECT_TRUE(driver_->DriveUntil([&] { return back == frames.size(); })) << link_->status();
  }

  SweptRuntimeDir directory_;
  std::unique_ptr<MeetingPlace> place_;
  std::unique_ptr<ExecPeer> exec_;
  std::unique_ptr<LinkHost> host_;
  std::unique_ptr<PeerProcess> process_;
  std::unique_ptr<PeerThread> thread_;
  std::unique_ptr<Link> link_;
  std::unique_ptr<LinkDriver> driver_;
};

// ---- frames ------------------------------------------------------------------------------------

TEST_P(PeeredLink, CarriesRandomFramesBothWaysAtOnce) {
  Start("exchange 1 2 3000");
  EXPECT_EQ(PlayRole("exchange 2 1 3000", *link_, -1), 0);
  EXPECT_EQ(JoinPeer(), 0);
}

TEST_P(PeeredLink, FloodsBothWaysWithoutDeadlock) {
  Start("flood 3 4 3000");
  EXPECT_EQ(PlayRole("flood 4 3 3000", *link_, -1), 0);
  EXPECT_EQ(JoinPeer(), 0);
}

TEST_P(PeeredLink, CarriesFramesOfEverySizeAtTheEdges) {
  Start("echo");
  const uint32_t max = link_->max_frame_bytes();
  ASSERT_GE(max, 16u * 1024 - 64);
  std::vector<Bytes> frames;
  for (uint32_t size = 1; size <= 40; ++size) frames.push_back(MakeFrame(5, size, size));
  for (uint32_t size = max - 20; size <= max; ++size) frames.push_back(MakeFrame(5, size, size));
  ExpectEcho(frames);
}

TEST_P(PeeredLink, ReservesRoomThatIsAligned) {
  Start("echo");
  for (uint32_t size : {1u, 3u, 8u, 77u, 4096u}) {
    std::byte* room = link_->Reserve(size, Link::Class::kData);
    ASSERT_NE(room, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(room) % 8, 0u);
    std::memset(room, 0, size);
    link_->Commit(size);
  }
  link_->Flush();
  EXPECT_TRUE(driver_->DriveUntil([&] { return driver_->frames == 5; }));
}

TEST_P(PeeredLink, CommitsLessThanReserved) {
  Start("echo");
  std::vector<size_t> sizes;
  driver_->on_frame = [&](const Bytes& frame) {
    sizes.push_back(frame.size());
    EXPECT_EQ(frame, MakeFrame(6, sizes.size(), frame.size()));
    return Verdict::kConsumed;
  };
  for (uint32_t i = 1; i <= 3; ++i) {
    const Bytes frame = MakeFrame(6, i, 10 * i);
    std::byte* room = link_->Reserve(9000, Link::Class::kData);
    ASSERT_NE(room, nullptr);
    std::memset(room, 0xee, 9000);
    std::memcpy(room, frame.data(), frame.size());
    link_->Commit(static_cast<uint32_t>(frame.size()));
  }
  ASSERT_NE(link_->Reserve(500, Link::Class::kData), nullptr);  // not committed: forgotten
  link_->Flush();
  ASSERT_TRUE(driver_->DriveUntil([&] { return sizes.size() == 3; }));
  EXPECT_THAT(sizes, ::testing::ElementsAre(10, 20, 30));
}

TEST_P(PeeredLink, OneFlushForManyCommits) {
  Start("echo");
  for (uint32_t i = 0; i < 20; ++i) ASSERT_TRUE(driver_->TrySend(MakeFrame(7, i, 100 + i)));
  link_->Flush();
  link_->Flush();
  EXPECT_TRUE(driver_->DriveUntil([&] { return driver_->frames == 20; }));
}

// ---- space -------------------------------------------------------------------------------------

TEST_P(PeeredLink, RefusesDataWhenFullKeepsRoomForControlAndTellsOfSpace) {
  Start("sleepy-echo");
  const uint32_t size = std::min(link_->max_frame_bytes(), 4096u);
  std::vector<Bytes> sent;
  const int64_t deadline = InMs(20000);
  // What is flushed may still move on for a moment; full is when twice in a row nothing did.
  for (int refused = 0; refused < 3 && MonotonicNs() < deadline;) {
    const Bytes frame = MakeFrame(8, sent.size(), size);
    if (driver_->TrySend(frame)) {
      sent.push_back(frame);
      refused = 0;
      link_->Flush();
    } else {
      ++refused;
      driver_->Poll();
    }
    ASSERT_LT(sent.size(), 100000u) << "it is never full";
  }
  ASSERT_FALSE(sent.empty());
  const Bytes control = MakeFrame(8, sent.size(), 64);
  ASSERT_TRUE(driver_->TrySend(control, Link::Class::kControl)) << "control frames have no room of their own";
  sent.push_back(control);
  link_->Flush();
  const int spaces = driver_->spaces;
  EXPECT_FALSE(driver_->TrySend(MakeFrame(8, 0, size)));

  size_t back = 0;
  driver_->on_frame = [&](const Bytes& frame) {
    EXPECT_TRUE(back < sent.size() && frame == sent[back]) << back;
    ++back;
    return Verdict::kConsumed;
  };
  Go();
  EXPECT_TRUE(driver_->DriveUntil([&] { return driver_->spaces > spaces; })) << "no OnSpace()";
  EXPECT_TRUE(driver_->DriveUntil([&] { return back == sent.size(); }))
      << back << " of " << sent.size() << " came back";
  EXPECT_TRUE(driver_->TrySend(MakeFrame(8, 0, size)));
}

// ---- waiting -----------------------------------------------------------------------------------

TEST_P(PeeredLink, WaitEndsAtItsDeadline) {
  Start("idle");
  const int64_t deadline = InMs(60);
  int waits = 0;
  while (MonotonicNs() < deadline) {
    driver_->Poll();
    link_->Wait(deadline);
    ++waits;
  }
  EXPECT_LT(MonotonicNs() - deadline, 1'000'000'000);
  EXPECT_LT(waits, 50) << "it does not sleep";
}

TEST_P(PeeredLink, AKickEndsTheNextWaitAndThePresentOne) {
  Start("idle");
  driver_->Poll();
  link_->Kick();
  int64_t start = MonotonicNs();
  link_->Wait(InMs(20000));
  EXPECT_LT(MonotonicNs() - start, 5'000'000'000);

  for (int i = 0; i < 200; ++i) {
    std::atomic<bool> kicked = false;
    std::thread kicker([&] {
      // At a different moment each time: before, at, and well into the wait.
      for (int turns = 0; turns < i * 50; ++turns) std::atomic_signal_fence(std::memory_order_seq_cst);
      kicked.store(true);
      link_->Kick();
    });
    start = MonotonicNs();
    while (!kicked.load()) {
      driver_->Poll();
      link_->Wait(InMs(20000));
    }
    kicker.join();
    ASSERT_LT(MonotonicNs() - start, 10'000'000'000) << "a kick was lost";
  }
}

TEST_P(PeeredLink, FramesEndAWait) {
  Start("echo");
  for (uint32_t i = 0; i < 300; ++i) {
    ASSERT_TRUE(driver_->Send(MakeFrame(9, i, 32)));
    ASSERT_TRUE(driver_->DriveUntil([&] { return driver_->frames == static_cast<int>(i) + 1; }));
  }
}

// ---- verdicts ----------------------------------------------------------------------------------

TEST_P(PeeredLink, AHeldFrameComesAgain) {
  Start("echo");
  const Bytes first = MakeFrame(10, 1, 300), second = MakeFrame(10, 2, 40);
  int held = 0;
  std::vector<Bytes> taken;
  driver_->on_frame = [&](const Bytes& frame) {
    if (taken.empty() && held < 5) {
      EXPECT_EQ(frame, first);
      ++held;
      return Verdict::kHold;
    }
    taken.push_back(frame);
    return Verdict::kConsumed;
  };
  ASSERT_TRUE(driver_->TrySend(first) && driver_->TrySend(second));
  link_->Flush();
  EXPECT_TRUE(driver_->DriveUntil([&] { return held == 1; }));
  EXPECT_EQ(driver_->Poll(), Progress::kHeld);
  EXPECT_TRUE(driver_->DriveUntil([&] { return taken.size() == 2; }));
  EXPECT_THAT(taken, ::testing::ElementsAre(first, second));
}

TEST_P(PeeredLink, AFaultClosesTheLink) {
  Start("echo");
  driver_->on_frame = [](const Bytes&) { return Verdict::kFault; };
  ASSERT_TRUE(driver_->Send(MakeFrame(11, 0, 10)));
  EXPECT_FALSE(driver_->DriveUntil([] { return false; }, 20000));
  EXPECT_TRUE(driver_->closed);
  EXPECT_FALSE(link_->status().ok());
  EXPECT_FALSE(absl::IsCancelled(link_->status())) << link_->status();
  EXPECT_EQ(JoinPeer(), 0) << "the peer was not told";
}

// ---- the end -----------------------------------------------------------------------------------

TEST_P(PeeredLink, DeliversEverythingBeforeItSaysThatThePeerIsGone) {
  Start("send-and-close 12 500");
  int next = 0;
  driver_->on_frame = [&](const Bytes& frame) {
    EXPECT_EQ(frame, MakeFrame(12, static_cast<uint64_t>(next), frame.size()));
    ++next;
    return Verdict::kConsumed;
  };
  EXPECT_TRUE(link_->status().ok());
  EXPECT_FALSE(driver_->DriveUntil([] { return false; }, 20000));
  EXPECT_TRUE(driver_->closed);
  EXPECT_EQ(next, 500);
  EXPECT_EQ(JoinPeer(), 0);
  EXPECT_TRUE(absl::IsUnavailable(link_->status())) << link_->status();
  EXPECT_EQ(driver_->Poll(), Progress::kClosed);
}

TEST_P(PeeredLink, NotedGoneDeliversWhatWasSent) {
  Start("send-and-close 13 5 200");  // few and small, so that any mechanism takes them unread
  EXPECT_EQ(JoinPeer(), 0);
  link_->NotePeerGone();
  EXPECT_FALSE(driver_->DriveUntil([] { return false; }, 20000));
  EXPECT_EQ(driver_->frames, 5);
  EXPECT_TRUE(absl::IsUnavailable(link_->status())) << link_->status();
}

TEST_P(PeeredLink, ClosesWithTheFirstReason) {
  Start("echo");
  ASSERT_TRUE(driver_->Send(MakeFrame(14, 0, 10)));
  ASSERT_TRUE(driver_->DriveUntil([&] { return driver_->frames == 1; }));
  EXPECT_TRUE(link_->status().ok());
  std::thread closer([&] {
    link_->Close(absl::DeadlineExceededError("the first reason"));
    link_->Close(absl::AbortedError("the second"));
  });
  EXPECT_FALSE(driver_->DriveUntil([] { return false; }, 20000));
  closer.join();
  EXPECT_EQ(driver_->Poll(), Progress::kClosed);
  EXPECT_EQ(link_->status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(MessageOf(link_->status()), HasSubstr("the first reason"));
  // What is sent goes nowhere, and never runs out of room.
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(driver_->TrySend(MakeFrame(14, 1, link_->max_frame_bytes())));
  link_->Flush();
  EXPECT_EQ(JoinPeer(), 0) << "the peer was not told";
}

TEST_P(PeeredLink, SendingToAPeerThatIsGoneIsNoError) {
  Start("idle");
  EXPECT_EQ(JoinPeer(), 0);
  for (int i = 0; i < 100; ++i) {
    const int64_t deadline = InMs(5000);
    while (!driver_->TrySend(MakeFrame(15, 0, 10000)) && !driver_->closed && MonotonicNs() < deadline)
      driver_->Poll();
    link_->Flush();
  }
  EXPECT_FALSE(driver_->DriveUntil([] { return false; }, 20000));
  EXPECT_TRUE(absl::IsUnavailable(link_->status())) << link_->status();
}

// ---- identity ----------------------------------------------------------------------------------

TEST_P(PeeredLink, KnowsItsPeer) {
  Start("idle");
  EXPECT_THAT(link_->description(),
              ::testing::StartsWith(std::string(GetParam().scheme.address.substr(0, 4))));
  EXPECT_EQ(link_->peer().vouched, link_->capabilities().credentials);
  if (exec_) {
    EXPECT_EQ(link_->peer().pid, peer_pid());  // of our own child, at least that much is known
  }
  if (!link_->capabilities().credentials) return;
  EXPECT_EQ(link_->peer().pid, peer_pid());
  EXPECT_EQ(link_->peer().uid, geteuid());
  EXPECT_EQ(link_->peer().gid, getegid());
}

// ---- death -------------------------------------------------------------------------------------

// How long it takes to see that the peer was killed, and checks what is seen then.
int64_t NsToSeeDeath(Link& link, PeerProcess& peer) {
  LinkDriver driver(link);
  const int64_t start = MonotonicNs();
  peer.Kill();
  EXPECT_FALSE(driver.DriveUntil([] { return false; }, 20000));
  const int64_t took = MonotonicNs() - start;
  EXPECT_TRUE(absl::IsUnavailable(link.status())) << link.status();
  return took;
}

// A machine busy with other things may be late several times, but not always.
constexpr int kRounds = 5;
constexpr int64_t kDeathSeenNs = 100'000'000 * kSlower;

// Each of these suites is for the schemes that can show it.
class SchemeTest : public ::testing::TestWithParam<Case> {
 protected:
  std::unique_ptr<MeetingPlace> NewPlace() { return PlaceOf(GetParam(), directory_); }

  SweptRuntimeDir directory_;
};
class DyingPeer : public SchemeTest {};     // peers in other processes
class LinkContract : public SchemeTest {};  // a listener of one's own
class NamedPlace : public SchemeTest {};    // and any number of connections

TEST_P(DyingPeer, OfTheServerIsSeenWithin100Ms) {
  int64_t best = kDeathSeenNs;
  for (int round = 0; round < kRounds && best >= kDeathSeenNs; ++round) {
    const std::unique_ptr<MeetingPlace> place = NewPlace();
    LinkHost host(place->server());
    PeerProcess peer(PeerProcess::Side::kConnects, place->client(), "idle", place->client_descriptors());
    place->ForgetClient();
    std::unique_ptr<Link> link = host.Accept();
    ASSERT_NE(link, nullptr);
    best = std::min(best, NsToSeeDeath(*link, peer));
  }
  EXPECT_LT(best, kDeathSeenNs);
}

TEST_P(DyingPeer, OfTheClientIsSeenWithin100Ms) {
  int64_t best = kDeathSeenNs;
  for (int round = 0; round < kRounds && best >= kDeathSeenNs; ++round) {
    const std::unique_ptr<MeetingPlace> place = NewPlace();
    PeerProcess server(PeerProcess::Side::kListens, place->server(), "idle", place->server_descriptors());
    ASSERT_TRUE(server.ok());
    place->ForgetServer();
    std::unique_ptr<Link> link = MustConnect(place->client());
    ASSERT_NE(link, nullptr);
    if (link->capabilities().credentials) {
      EXPECT_EQ(link->peer().pid, server.pid());
    }
    best = std::min(best, NsToSeeDeath(*link, server));
  }
  EXPECT_LT(best, kDeathSeenNs);
}

TEST_P(NamedPlace, OfADeadServerIsFreeAndThatOfALivingOneIsNot) {
  const std::unique_ptr<MeetingPlace> place = NewPlace();
  const auto listen_again = [&] { return Listen(*ParseAddress(place->server())).status(); };
  for (int round = 0; GetParam().processes && round < 2; ++round) {
    PeerProcess server(PeerProcess::Side::kListens, place->server(), "idle");
    ASSERT_TRUE(server.ok());
    const absl::Status refused = listen_again();
    EXPECT_TRUE(absl::IsAlreadyExists(refused)) << refused;
    EXPECT_THAT(MessageOf(refused), HasSubstr(Cat("pid ", server.pid())));
    server.Kill();
  }
  {
    LinkHost host(place->server());
    EXPECT_TRUE(absl::IsAlreadyExists(listen_again())) << listen_again();
  }
  EXPECT_TRUE(directory_.empty());
}

TEST_P(NamedPlace, WithNobodyThereIsUnavailable) {
  const absl::Status status = Connect(*ParseAddress(NewPlace()->client()), InMs(5000)).status();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
}

// ---- a poller ----------------------------------------------------------------------------------

void RoundTrips(LinkDriver& driver, uint64_t seed, int count, size_t size) {
  for (int i = 0; i < count; ++i) {
    const Bytes frame = MakeFrame(seed, static_cast<uint64_t>(i), size);
    const int before = driver.frames;
    driver.on_frame = [&](const Bytes& back) {
      EXPECT_EQ(back, frame);
      return Verdict::kConsumed;
    };
    ASSERT_TRUE(driver.Send(frame));
    ASSERT_TRUE(driver.DriveUntil([&] { return driver.frames > before; }));
  }
}

TEST_P(LinkContract, WorksUnderAPoller) {
  const std::unique_ptr<MeetingPlace> place = NewPlace();
  EpollEcho echo(place->server());
  std::vector<std::thread> clients;
  const uint64_t client_count = GetParam().many_connections() ? 4 : 1;
  for (uint64_t c = 0; c < client_count; ++c) {
    clients.emplace_back([&place, c] {
      std::unique_ptr<Link> link = MustConnect(place->client());
      ASSERT_NE(link, nullptr);
      LinkDriver driver(*link);
      RoundTrips(driver, c, 200, 64);
      // Far more in flight than there is room for, on a poller that must not block on anybody.
      int sent = 0, back = 0;
      constexpr int kFrames = 200;
      driver.on_frame = [&](const Bytes& frame) {
        EXPECT_EQ(frame, MakeFrame(c, static_cast<uint64_t>(back), frame.size()));
        ++back;
        return Verdict::kConsumed;
      };
      const uint32_t size = std::min(link->max_frame_bytes(), 12000u);
      EXPECT_TRUE(driver.DriveUntil([&] {
        while (sent < kFrames && driver.TrySend(MakeFrame(c, static_cast<uint64_t>(sent), size))) ++sent;
        link->Flush();
        return back == kFrames;
      }));
    });
  }
  for (std::thread& client : clients) client.join();
}

// ---- many, and bad ones ------------------------------------------------------------------------

TEST_P(NamedPlace, ConnectsAndClosesLeaveNothing) {
  const std::unique_ptr<MeetingPlace> place = NewPlace();
  const int before = OpenDescriptors();
  {
    EpollEcho echo(place->server());
    for (int i = 0; i < 2000 / kSlower; ++i) {
      std::unique_ptr<Link> link = MustConnect(place->client());
      ASSERT_NE(link, nullptr);
      if (i % 10 != 0) continue;
      LinkDriver driver(*link);
      RoundTrips(driver, 16, 1, 100);
    }
    // The last ones are still being closed by the other side.
    constexpr int kOpen = 30;  // a server, both ends of a link, and some more
    const int64_t deadline = InMs(10000);
    int open = 0;
    do {
      std::unique_ptr<Link> link = MustConnect(place->client());
      LinkDriver driver(*link);
      RoundTrips(driver, 16, 1, 100);
      open = OpenDescriptors();
    } while (open > before + kOpen && MonotonicNs() < deadline);
    EXPECT_LE(open, before + kOpen);
  }
  EXPECT_EQ(OpenDescriptors(), before);
  EXPECT_TRUE(directory_.empty());
}

TEST_P(LinkContract, LeavesNothingWhenItIsOver) {
  int before = 0;
  for (int i = 0; i < 20; ++i) {
    {
      const std::unique_ptr<MeetingPlace> place = NewPlace();
      EpollEcho echo(place->server());
      std::unique_ptr<Link> link = MustConnect(place->client());
      ASSERT_NE(link, nullptr);
      LinkDriver driver(*link);
      RoundTrips(driver, 16, 3, 100);
    }
    // The first time may make what the process keeps.
    if (i == 0) before = OpenDescriptors();
  }
  EXPECT_EQ(OpenDescriptors(), before);
  EXPECT_TRUE(directory_.empty());
}

// Bytes for a listener beneath the link's protocol.
class HostileClient {
 public:
  explicit HostileClient(const std::string& description)
      : scheme_(description.substr(0, description.find(':'))), place_(description.substr(scheme_.size() + 1)) {}

  bool Send(Bytes bytes, bool stay) {
    return rendezvous::FindMechanism(scheme_) == nullptr ? SendToSocket(bytes, stay) : SendToPlace(bytes, stay);
  }

 private:
  bool SendToSocket(const Bytes& bytes, bool stay) {
    for (int type : {SOCK_STREAM, SOCK_SEQPACKET}) {
      UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
      const absl::StatusOr<UnixSocketAddress> name = place_[0] == '@' ? UnixSocketAddress::ForAbstract(place_.substr(1))
                                                                      : UnixSocketAddress::ForFile(place_);
      if (!name.ok() || connect(fd.get(), name->get(), name->size()) != 0) continue;
      if (!bytes.empty()) send(fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (stay) sockets_.push_back(std::move(fd));
      return true;
    }
    return false;
  }

  // What is no ask at all; or asks, so that the server makes what nobody takes.
  bool SendToPlace(Bytes bytes, bool ask) {
    const rendezvous::Mechanism& mechanism = *rendezvous::FindMechanism(scheme_);
    const absl::StatusOr<rendezvous::FoundPlace> found =
        rendezvous::FindPlace(mechanism, *ParseAddress(Cat(scheme_, ":contract")));
    if (!found.ok()) return false;
    const auto place = mechanism.OpenPlace(place_, found->reference);
    if (!place.ok()) return false;
    if (ask && asks_ < 5) {
      rendezvous::Ask wanted;
      wanted.token = rendezvous::RandomToken();
      wanted.uid = geteuid();
      wanted.pid = getpid();
      wanted.check = rendezvous::CheckOf(wanted);
      bytes.resize(sizeof wanted);
      std::memcpy(bytes.data(), &wanted, sizeof wanted);
      ++asks_;
    }
    bytes.resize(std::min(bytes.size(), sizeof(rendezvous::Ask)));
    if (!bytes.empty()) (*place)->Write(bytes.data(), bytes.size());
    return true;
  }

  const std::string scheme_;
  const std::string place_;
  std::vector<UniqueFd> sockets_;
  int asks_ = 0;
};

class NamedSocket : public SchemeTest {};

TEST_P(NamedSocket, OutlivesHostileBytes) {
  const std::unique_ptr<MeetingPlace> where = NewPlace();
  EpollEcho echo(where->server());
  std::unique_ptr<Link> before = MustConnect(where->client());
  ASSERT_NE(before, nullptr);
  LinkDriver driver(*before);
  HostileClient hostile(before->description());
  for (uint64_t i = 0; i < 300; ++i) {
    Bytes bytes = MakeFrame(17, i, FrameSize(17, i, 5000));
    if (i % 5 == 1) std::memcpy(bytes.data(), "ipcS\1\0\0", std::min<size_t>(bytes.size(), 8));
    if (i % 5 == 2) bytes.resize(0);  // silent
    ASSERT_TRUE(hostile.Send(std::move(bytes), i % 3 != 0)) << i << ": " << strerror(errno);
    if (i % 50 == 0) RoundTrips(driver, i, 2, 2000);
  }
  RoundTrips(driver, 18, 20, 300);
  std::unique_ptr<Link> after = MustConnect(where->client());
  ASSERT_NE(after, nullptr);
  LinkDriver later(*after);
  RoundTrips(later, 19, 20, 300);
}

// ---- who takes part ----------------------------------------------------------------------------

template <typename Predicate>
auto CasesThat(Predicate&& can) {
  std::vector<Case> cases;
  std::copy_if(std::begin(kCases), std::end(kCases), std::back_inserter(cases), can);
  return ::testing::ValuesIn(cases);
}

std::string NameOf(const ::testing::TestParamInfo<Case>& test) { return std::string(test.param.name); }

INSTANTIATE_TEST_SUITE_P(Schemes, LinkContract, CasesThat([](const Case& c) { return !c.starts_peer(); }), NameOf);
INSTANTIATE_TEST_SUITE_P(Schemes, DyingPeer,
                         CasesThat([](const Case& c) { return c.processes && !c.starts_peer(); }), NameOf);
INSTANTIATE_TEST_SUITE_P(Schemes, NamedPlace, CasesThat([](const Case& c) { return c.many_connections(); }), NameOf);
INSTANTIATE_TEST_SUITE_P(Schemes, NamedSocket,
                         CasesThat([](const Case& c) { return c.many_connections() && c.processes; }), NameOf);

std::vector<PeeredCase> PeeredCases() {
  std::vector<PeeredCase> cases;
  for (const Case& scheme : kCases) {
    if (scheme.threads) cases.push_back({scheme, false});
    if (scheme.processes) cases.push_back({scheme, true});
  }
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Schemes, PeeredLink, ::testing::ValuesIn(PeeredCases()), [](const auto& test) {
  return Cat(test.param.scheme.name, test.param.process ? "_process" : "_thread");
});

}  // namespace
}  // namespace ipcrpc

int main(int argc, char** argv) {
  ipcrpc::BecomePeerIfAsked(argc, argv);
  ::testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}

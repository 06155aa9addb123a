// What the dead leave, and how their peers hear of it.
#include <sched.h>
#include <signal.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "ipcrpc/admin.h"
#include "transport/base/process.h"
#include "transport/stream/framing.h"
#include "transport/testing/rendezvous_kit.h"

namespace ipcrpc::rendezvous {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Verdict = FrameSink::Verdict;

// Not under ThreadSanitizer: there a forked child of a program with threads cannot start any.
#if !defined(__SANITIZE_THREAD__)
TEST_P(Rendezvous, KilledClientsLeaveNothing) {
  {
    EpollEcho echo(address());
    for (int round = 0; round < 10; ++round) {
      Child during([&] {
        RawClient raw(mechanism(), address());
        raw.SendAsk(RandomToken());
        if (round % 2 == 0) return 0;
        raw.Open(raw.Await());
        raise(SIGKILL);
        return 1;
      });
      during.Wait();
      Child traffic([&] {
        absl::StatusOr<std::unique_ptr<Link>> link = Dial(address());
        if (!link.ok() || !Echoes(**link)) return 1;
        LinkDriver driver(**link);
        for (int i = 0; i < 20; ++i) driver.TrySend(MakeFrame(2, 1, 10000));
        (*link)->Flush();
        raise(SIGKILL);
        return 1;
      });
      EXPECT_EQ(traffic.Wait(), -SIGKILL);
    }
  }
  ExpectNothingLeft();
}
#endif

TEST_P(Rendezvous, TheNextStartSweepsWhatAKilledServerLeftAndSparesTheLiving) {
  ServerProcess living(address("living"));
  ServerProcess dead(address("dead"));
  const pid_t dead_pid = dead.pid();
  ASSERT_TRUE(living.up() && dead.up());
  absl::StatusOr<std::unique_ptr<Link>> used = Dial(address("living"));
  ASSERT_TRUE(used.ok()) << used.status();
  {
    Child client([&] {  // dies with the server, in the middle of everything
      absl::StatusOr<std::unique_ptr<Link>> link = Dial(address("dead"));
      if (!link.ok() || !Echoes(**link)) return 1;
      RawClient raw(mechanism(), address("dead"));
      raw.SendAsk(RandomToken());
      raw.Open(raw.Await());
      kill(dead.pid(), SIGKILL);
      raise(SIGKILL);
      return 1;
    });
    EXPECT_EQ(client.Wait(), -SIGKILL);
  }
  dead.Kill();
  // The doctor sees what there is to sweep, and only that.
  std::vector<std::string> kinds;
  for (const admin::LeftOver& thing : admin::FindLeftOvers({directory_.path()})) {
    kinds.push_back(thing.kind);
    EXPECT_THAT(thing.name, HasSubstr(directory_.path() + "/dead"));
    EXPECT_EQ(thing.pid, dead_pid);
    EXPECT_FALSE(thing.why.empty());
  }
  EXPECT_THAT(kinds, AllOf(::testing::Contains("lock"), ::testing::Contains(std::string(mechanism().scheme())),
                           ::testing::Contains("pair")));
  EXPECT_TRUE(std::filesystem::exists(place("dead")));
  EXPECT_TRUE(absl::IsUnavailable(Dial(address("dead")).status()));
  {
    auto other = Listen(*ParseAddress(address("other")));
    ASSERT_TRUE(other.ok()) << other.status();
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      EXPECT_FALSE(entry.path().filename().string().starts_with("dead")) << entry.path();
    }
  }
  EXPECT_TRUE(Echoes(**used));
  used->reset();
  living.Kill();
  { auto again = Listen(*ParseAddress(address("living"))); }
  ExpectNothingLeft();
}

TEST_P(Rendezvous, TheDoctorCleans) {
  ServerProcess living(address("living"));
  ServerProcess dead(address("dead"));
  ASSERT_TRUE(living.up() && dead.up());
  EXPECT_THAT(admin::FindLeftOvers({directory_.path()}), IsEmpty());
  dead.Kill();
  EXPECT_EQ(admin::CleanLeftOvers({directory_.path()}).size(), 2u);  // lock and place
  EXPECT_THAT(admin::FindLeftOvers({directory_.path()}), IsEmpty());
  EXPECT_FALSE(std::filesystem::exists(place("dead")));
  EXPECT_TRUE(Dial(address("living")).ok());
}

// Whoever watches hangup() may tell of the death before the last bytes are read, which are no whole frame.
TEST_P(Rendezvous, OfAPeerKnownToBeDeadTheRestIsReadAtOnceToTheEnd) {
  LinkHost host(address());
  Child client([&] {
    RawClient raw(mechanism(), address());
    raw.SendAsk(RandomToken());
    const Welcome welcome = raw.Await();
    End end = raw.Open(welcome);
    if (!RawClient::Prove(end, welcome.nonce)) return 1;
    Bytes bytes(stream::kPreambleBytes + stream::kLengthBytes + 100);
    std::memcpy(bytes.data(), stream::kMagic.data(), stream::kMagic.size());
    bytes[4] = std::byte{stream::kVersion};
    bytes[8] = std::byte{200};  // of which half is there
    if (end.medium->Write(bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) return 2;
    raise(SIGKILL);
    return 3;
  });
  const std::unique_ptr<Link> link = host.Accept();
  ASSERT_NE(link, nullptr);
  EXPECT_EQ(client.Wait(), -SIGKILL);
  link->NotePeerGone();
  link->Wait(InMs(20000));  // is ended by that; nothing ends the next one
  struct : FrameSink {
    Verdict OnFrame(std::span<const std::byte>, bool) override { return Verdict::kConsumed; }
    void OnSpace() override {}
  } sink;
  const int64_t deadline = InMs(20000);
  while (link->Poll(sink, 64) != Link::Progress::kClosed && MonotonicNs() < deadline) link->Wait(deadline);
  EXPECT_LT(MonotonicNs(), deadline);
  EXPECT_TRUE(absl::IsUnavailable(link->status())) << link->status();
  EXPECT_THAT(MessageOf(link->status()), HasSubstr("in the middle of a frame"));
}

// A process that dies closes one thing after the other.
TEST_P(Rendezvous, OfAClientThatHasClosedItsLifeFifoButNotYetItsFilesNothingStays) {
  {
    LinkHost host(address());
    RawClient raw(mechanism(), address());
    raw.SendAsk(RandomToken());
    const Welcome welcome = raw.Await();
    End end = raw.Open(welcome);
    ASSERT_TRUE(RawClient::Prove(end, welcome.nonce));
    const std::unique_ptr<Link> link = host.Accept();
    ASSERT_NE(link, nullptr);
    raw.CloseLifeFifo();
    end.medium.reset();
    LinkDriver driver(*link);
    EXPECT_FALSE(driver.DriveUntil([] { return false; }, 20000));
    EXPECT_TRUE(driver.closed);
    EXPECT_FALSE(std::filesystem::exists(raw.stem()));
  }
  ExpectNothingLeft();
}

TEST_P(Rendezvous, AClientLearnsAtOnceThatNobodyWillAnswerIt) {
  ServerProcess server(address());
  ASSERT_TRUE(server.up());
  ASSERT_EQ(kill(server.pid(), SIGSTOP), 0);
  Child client([&] {
    const absl::Status status = Dial(address()).status();
    if (!absl::IsUnavailable(status)) fprintf(stderr, "%s\n", status.ToString().c_str());
    return absl::IsUnavailable(status) ? 0 : 1;
  });
  // It sleeps only while it waits for the answer.
  const auto asleep = [&] {
    std::ifstream in(Cat("/proc/", client.pid(), "/syscall"));
    long call = -1;
    return in >> call && call == SYS_clock_nanosleep;
  };
  const int64_t deadline = InMs(10000);
  while (!asleep() && MonotonicNs() < deadline) std::this_thread::yield();
  const int64_t killed = MonotonicNs();
  server.Kill();
  EXPECT_EQ(client.Wait(), 0);
  EXPECT_LT(MonotonicNs() - killed, 3'000'000'000) << "it waited for its handshake's time to pass";
}

TEST_P(Rendezvous, AServerThatHasClosedItsLifeFifoButNotYetItsFilesIsGone) {
  if (!mechanism().wants_watch()) return;  // its FIFOs tell by themselves
  const std::string reference = mechanism().NewReference("met");
  UniqueFd file(open(place().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  const std::string line = ReferenceLine(mechanism(), reference);
  ASSERT_TRUE(TakeLife(file.get(), Side::kServer));
  ASSERT_EQ(write(file.get(), line.data(), line.size()), static_cast<ssize_t>(line.size()));
  const auto medium = mechanism().MakePlace(place(), reference, Access{});
  ASSERT_TRUE(medium.ok()) << medium.status();
  absl::Status status;
  std::thread client([&] { status = Dial(address()).status(); });

  AskReader asks;
  std::optional<Ask> ask;
  const int64_t deadline = InMs(10000);
  while (!ask && MonotonicNs() < deadline) {
    const ssize_t got = (*medium)->Read(asks.Room().data(), asks.Room().size());
    if (got > 0) asks.Filled(static_cast<size_t>(got));
    ask = asks.Next();
  }
  ASSERT_TRUE(ask);
  const std::string stem = StemOf(Cat(directory_.path(), "/met"), ask->token);
  UniqueFd pair_file(open(stem.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  TakeLife(pair_file.get(), Side::kServer);
  absl::StatusOr<End> end = mechanism().MakePair(stem, ask->token, Access{});
  MakeLifeFifo(stem, Access{}).reset();
  Welcome welcome = end->welcome;
  welcome.kind = static_cast<uint32_t>(mechanism().kind());
  welcome.state = Welcome::kReady;
  EXPECT_EQ(pwrite(pair_file.get(), &welcome, sizeof welcome, 0), ssize_t{sizeof welcome});
  client.join();
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(MessageOf(status), HasSubstr("its server went"));
  end->medium->Hangup();
  RemovePairNames(&mechanism(), stem, ask->token, geteuid());
  unlink(stem.c_str());
  mechanism().RemovePlace(place(), reference, geteuid());
  unlink(place().c_str());
}

TEST_P(Rendezvous, DeathIsSeenAcrossPidNamespaces) {
  LinkHost host(address());
  Child outer([&] {
    if (unshare(CLONE_NEWPID) != 0) return 2;
    Child inner([&] {
      absl::StatusOr<std::unique_ptr<Link>> link = Dial(address());
      if (!link.ok() || (*link)->peer().pid != 0) return 3;
      pause();
      return 0;
    });
    return -inner.Wait();
  });
  const std::unique_ptr<Link> link = host.Accept();
  ASSERT_NE(link, nullptr);
  EXPECT_EQ(link->peer().pid, 0) << "a pid of another namespace means nothing here";
  EXPECT_EQ(link->peer().uid, geteuid());
  LinkDriver driver(*link);
  outer.Kill(SIGKILL);  // and so the whole namespace
  outer.Wait();
  EXPECT_FALSE(driver.DriveUntil([] { return false; }, 20000));
  EXPECT_TRUE(driver.closed);
  EXPECT_TRUE(absl::IsUnavailable(link->status())) << link->status();
}

}  // namespace
}  // namespace ipcrpc::rendezvous

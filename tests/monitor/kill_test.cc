// kill -9 of the collector, of the daemon that serves, and of readers of its snapshots, a hundred times each while the
// network changes without a pause: nothing that is told is wrong, what is old says so, and it is over within a second.
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <iostream>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "ipcrpc/snapshot.h"
#include "services/monitor/network_for_test.h"
#include "tests/monitor/monitor_test.h"
#include "tests/monitor/net_client.h"

namespace ipcrpc::e2e {
namespace {

using monitor::Ip;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kKills = 100;
const std::string kAddress = "unix:monitor";

milliseconds Since(steady_clock::time_point begin) {
  return std::chrono::ceil<milliseconds>(steady_clock::now() - begin);
}

std::string Text(std::vector<milliseconds> took) {
  if (took.empty()) return "never";
  std::sort(took.begin(), took.end());
  return absl::StrCat("half within ", took[took.size() / 2].count(), " ms, the longest ", took.back().count(), " ms");
}

// Links, addresses and routes that come and go, by one `ip` after the other, until it is destroyed.
class Load {
 public:
  Load() : thread_([this](std::stop_token stop) { Run(stop); }) {}
  // The longest round that has ended since the last time. They take some 30 ms, unless the kernel keeps all who would change
  // a network waiting, for whatever reason.
  milliseconds Longest() { return longest_.exchange(milliseconds(0)); }
  // Rounds that were made.
  int End() {
    thread_.request_stop();
    thread_.join();
    return rounds_;
  }

 private:
  void Run(const std::stop_token& stop) {
    std::string lines = "link add x0 type veth peer name x1\nlink set x0 up\nlink set x1 up\n";
    for (int i = 0; i < 50; ++i) absl::StrAppend(&lines, "addr add 10.1.", i, ".1/24 dev x0\n");
    for (int i = 0; i < 100; ++i) absl::StrAppend(&lines, "route add 172.16.", i, ".0/24 dev x1\n");
    for (int i = 0; i < 100; ++i) absl::StrAppend(&lines, "route replace 172.16.", i, ".0/24 dev x1 mtu 1400\n");
    lines += "link del x0\n";
    while (!stop.stop_requested()) {
      Process ip({"ip", "-batch", "-"});
      const auto begin = steady_clock::now();
      ip.Tell(lines);
      ip.CloseInput();
      EXPECT_EQ(ip.Wait(std::chrono::minutes(1)), 0) << ip.rest(Process::kErr);
      if (const auto took = Since(begin); took > longest_.load()) longest_ = took;
      ++rounds_;
    }
  }

  int rounds_ = 0;
  std::atomic<milliseconds> longest_{milliseconds(0)};
  std::jthread thread_;
};

// How late the machine lets a thread run that is due, at most: others may have its processors.
class Lateness {
 public:
  Lateness() : thread_([this](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      const auto due = steady_clock::now() + milliseconds(5);
      std::this_thread::sleep_until(due);
      const auto late = std::chrono::ceil<milliseconds>(steady_clock::now() - due);
      if (late > worst_.load()) worst_ = late;
    }
  }) {}
  // Since the last time.
  milliseconds Take() { return worst_.exchange(milliseconds(0)); }

 private:
  std::atomic<milliseconds> worst_{milliseconds(0)};
  std::jthread thread_;
};

// Compares each snapshot with the daemon's own list of its revision.
class SnapshotChecker {
 public:
  SnapshotChecker() : thread_([this](const std::stop_token& stop) { Run(stop); }) {}
  void End() {
    thread_.request_stop();
    thread_.join();
    EXPECT_EQ(error_, "");
    EXPECT_GT(compared_, 10);
    std::cout << "  snapshots read: " << read_ << ", compared with a list: " << compared_ << ", stale: " << stale_ << "\n";
  }

 private:
  void Run(const std::stop_token& stop) {
    const auto stub = v1::NetEvents::NewStub(CreateChannel(kAddress));
    SnapshotReader<v1::ListReply> reader("monitor.net");
    uint64_t seen = 0;
    while (!stop.stop_requested() && error_.empty()) {
      const v1::ListReply* const snapshot = reader.Read();
      if (snapshot == nullptr) {
        error_ = reader.status().error_message();
      } else if (reader.revision() == seen) {
        std::this_thread::sleep_for(milliseconds(1));
      } else {
        seen = reader.revision();
        ++read_;
        stale_ += snapshot->stale();
        Compare(*stub, *snapshot);
      }
    }
  }
  void Compare(v1::NetEvents::Stub& stub, const v1::ListReply& snapshot) {
    v1::ListRequest request;
    request.set_revision(snapshot.revision());
    v1::ListReply list;
    ClientContext context;
    const Status status = stub.List(&context, request, &list);
    if (status.error_code() == StatusCode::OUT_OF_RANGE) return;
    if (!status.ok()) {
      error_ = status.error_message();
      return;
    }
    ++compared_;
    const std::string differences = Differences(CountsOf(monitor::ObjectsOf(snapshot)), CountsOf(monitor::ObjectsOf(list)));
    if (!differences.empty()) error_ = absl::StrCat("the snapshot of revision ", snapshot.revision(), ":\n", differences);
  }

  std::string error_;
  int read_ = 0, compared_ = 0, stale_ = 0;
  std::jthread thread_;
};

class KillTest : public MonitorTest {
 protected:
  void SetUp() override {
    MonitorTest::SetUp();
    if (!HasFatalFailure() && !IsSkipped()) Connect();
  }
  void Connect() { stub_ = v1::NetEvents::NewStub(CreateChannel(kAddress)); }
  Status List(v1::ListReply* reply, bool neighbors = true) {
    v1::ListRequest request;
    if (!neighbors) request.add_kinds(v1::NetObject::LINK);
    ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::minutes(1));
    return stub_->List(&context, request, reply);
  }
  static bool Has(const v1::ListReply& list, const std::string& ifname) {
    return std::any_of(list.links().begin(), list.links().end(), [&](const v1::Link& link) { return link.ifname() == ifname; });
  }
  static bool Runs(pid_t pid) { return !TextOf(absl::StrCat("/proc/", pid, "/cmdline")).empty(); }
  static void AwaitEnd(pid_t pid) {
    const auto end = steady_clock::now() + std::chrono::seconds(10);
    while (Runs(pid) && steady_clock::now() < end) std::this_thread::sleep_for(milliseconds(1));
    EXPECT_FALSE(Runs(pid));
  }
  // That everything agrees with the kernel once it is quiet.
  void ExpectAgreement() {
    std::vector<std::string> differences;
    for (auto end = steady_clock::now() + std::chrono::seconds(10); steady_clock::now() < end;) {
      differences = monitor::CompareListWithIp(Call(kAddress, kList));
      if (differences.empty()) break;
      std::this_thread::sleep_for(milliseconds(50));
    }
    EXPECT_EQ(absl::StrJoin(differences, "\n"), "");
  }

  std::unique_ptr<v1::NetEvents::Stub> stub_;
};

TEST_F(KillTest, Collectors) {
  auto daemon = StartDaemon({kAddress});
  v1::WatchRequest request;
  request.mutable_bookmark_interval()->set_nanos(20'000'000);
  Replay replay(kAddress, request);
  std::thread replaying([&] { replay.Run([](const v1::NetEvent& event) { return event.link().ifname() == "end0"; }); });
  SnapshotChecker snapshots;
  Load load;
  Lateness lateness;
  pid_t collector = CollectorOf(*daemon);
  std::vector<milliseconds> took;
  int stale = 0, fresh = 0;
  for (int i = 0; i < kKills && !HasFailure(); ++i) {
    const std::string mark = absl::StrCat("m", i);
    Kill(collector);
    if (HasFailure()) break;
    const auto killed = steady_clock::now();
    lateness.Take();
    load.Longest();
    AwaitEnd(collector);
    // Nobody who has read the kernel before can know of this one.
    Ip(absl::StrCat("link add ", mark, " type bridge"));
    bool recovered = false;
    milliseconds longest{0};
    for (bool agrees = false; !agrees && !HasFailure();) {
      v1::ListReply list;
      const auto begin = steady_clock::now();
      const Status status = List(&list);
      longest = std::max(longest, Since(begin));
      EXPECT_TRUE(status.ok()) << status.error_message();
      const bool old = list.stale() || !list.consistent();
      EXPECT_TRUE(old || Has(list, mark)) << "an old list says nothing of it, after kill " << i;
      // What the load makes the kernel drop is another matter; and who has the processors meanwhile is another one.
      if (!recovered && !list.stale()) {
        took.push_back(Since(killed));
        // A round that was kept waiting may end a little later.
        if (took.back() > milliseconds(900)) std::this_thread::sleep_for(milliseconds(100));
        const auto late = std::max(lateness.Take(), load.Longest());
        EXPECT_LT(took.back() - late, std::chrono::seconds(1)) << "after kill " << i << "; the machine was " << late.count()
                                                               << " ms late, the longest list took " << longest.count() << " ms";
      }
      recovered |= !list.stale();
      agrees = !old;
      old ? ++stale : ++fresh;
      EXPECT_LT(Since(killed), std::chrono::seconds(60));
    }
    Ip(absl::StrCat("link del ", mark));
    collector = CollectorOf(*daemon, collector);
  }
  const int rounds = load.End();
  std::cout << took.size() << " collectors killed, " << rounds << " rounds of changes; no longer stale: " << Text(took)
            << "; lists: " << stale << " marked as old, " << fresh << " not\n";
  EXPECT_GT(stale, 0);
  EXPECT_GT(rounds, 0);
  ExpectAgreement();
  snapshots.End();
  Ip("link add end0 type bridge");
  if (HasFailure()) replay.Cancel();
  replaying.join();
  EXPECT_EQ(replay.error(), "");
  EXPECT_TRUE(replay.view().complete());
  std::cout << "  events replayed: " << replay.counts().events << ", compared at bookmarks: " << replay.counts().compared << "\n";
  EXPECT_GT(replay.counts().compared, 10u);
  daemon->Signal(SIGTERM);
  EXPECT_EQ(daemon->Wait(), 0);
  while (const auto line = daemon->Line(Process::kErr)) {
    EXPECT_TRUE(line->ends_with("the collector is gone: child:collector was ended by signal 9 (Killed)") ||
                line->ends_with("there is a collector again"))
        << *line;
  }
}

TEST_F(KillTest, Supervisors) {
  Load load;
  Lateness lateness;
  std::vector<milliseconds> took;
  auto daemon = StartDaemon({kAddress});
  SnapshotReader<v1::ListReply> reader("monitor.net", {.max_silence = milliseconds(50)});
  for (int i = 0; i < kKills && !HasFailure(); ++i) {
    const pid_t collector = CollectorOf(*daemon);
    ASSERT_NE(reader.Read(), nullptr) << reader.status().error_message();
    const uint64_t before = reader.Read()->revision();
    ASSERT_NO_FATAL_FAILURE(Kill(daemon->pid()));
    auto killed = steady_clock::now();
    EXPECT_EQ(daemon->Wait(), 128 + SIGKILL);
    AwaitEnd(collector);
    // A reader is told that it reads what nobody keeps any more.
    while (reader.Read() != nullptr && Since(killed) < std::chrono::seconds(5)) std::this_thread::sleep_for(milliseconds(1));
    EXPECT_EQ(reader.Read(), nullptr);
    EXPECT_EQ(reader.status().error_code(), StatusCode::UNAVAILABLE) << reader.status().error_message();
    const std::string mark = absl::StrCat("m", i);
    Ip(absl::StrCat("link add ", mark, " type bridge"));
    killed = steady_clock::now();
    lateness.Take();
    load.Longest();
    daemon = StartDaemon({kAddress});
    v1::ListReply list;
    Status status = List(&list);
    // The call may have been on the connection of before.
    if (status.error_code() == StatusCode::UNAVAILABLE) status = List(&list);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_TRUE(Has(list, mark));
    EXPECT_FALSE(list.stale());
    took.push_back(Since(killed));
    EXPECT_LT(took.back() - std::max(lateness.Take(), load.Longest()), std::chrono::seconds(1));
    const auto end = steady_clock::now() + std::chrono::seconds(10);
    while (reader.Read() == nullptr && steady_clock::now() < end) std::this_thread::sleep_for(milliseconds(1));
    ASSERT_NE(reader.Read(), nullptr) << reader.status().error_message();
    EXPECT_GT(reader.Read()->revision(), before);
    Ip(absl::StrCat("link del ", mark));
  }
  const int rounds = load.End();
  std::cout << took.size() << " daemons killed, " << rounds << " rounds of changes; from the next start to a list: " << Text(took) << "\n";
  ExpectAgreement();
  // And TearDown() looks for what they have left.
  StopDaemon(*daemon);
}

TEST_F(KillTest, SnapshotReaders) {
  auto daemon = StartDaemon({kAddress});
  const auto names = NamesIn(runtime_dir());
  Load load;
  SnapshotChecker snapshots;
  std::unique_ptr<Process> reader;
  for (int i = 0; i < kKills && !HasFailure(); ++i) {
    reader = std::make_unique<Process>(std::vector<std::string>{Built("monitor_client"), "read", "monitor.net"});
    ASSERT_EQ(reader->Line(Process::kOut), "ready") << reader->rest(Process::kErr);
    std::this_thread::sleep_for(milliseconds(i % 20));
    ASSERT_NO_FATAL_FAILURE(Kill(reader->pid()));
    // It was well until then.
    EXPECT_EQ(reader->Wait(), 128 + SIGKILL) << reader->rest(Process::kErr);
  }
  const int rounds = load.End();
  std::cout << kKills << " readers killed, " << rounds << " rounds of changes\n";
  snapshots.End();
  EXPECT_EQ(NamesIn(runtime_dir()), names);
  ExpectAgreement();
  StopDaemon(*daemon);
}

}  // namespace
}  // namespace ipcrpc::e2e

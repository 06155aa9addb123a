// What calls, connections, watchers and snapshots cost the system, seen from outside.
#include <signal.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <set>
#include <sstream>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "services/monitor/network_for_test.h"
#include "tests/monitor/monitor_test.h"

namespace ipcrpc::e2e {
namespace {

using monitor::Ip;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

class Cost : public MonitorTest {
 protected:
  // Of the runtime directory's test alone, and taken away before it is looked at.
  std::string trace_file(const std::string& name) const { return runtime_dir() + "/" + name + ".strace"; }
};

// strace attached to a process with all its threads.
class Trace {
 public:
  Trace(pid_t pid, const std::string& file, std::vector<std::string> options = {}) : file_(file) {
    std::vector<std::string> arguments = {"strace", "-f", "-p", std::to_string(pid), "-o", file};
    arguments.insert(arguments.end(), options.begin(), options.end());
    strace_ = std::make_unique<Process>(arguments);
    EXPECT_TRUE(strace_->LineWith(Process::kErr, "attached").has_value())
        << "needs strace: " << strace_->rest(Process::kErr);
  }
  // Detaches; what it wrote.
  std::string End() {
    strace_->Signal(SIGINT);
    EXPECT_TRUE(strace_->Wait().has_value());
    std::string text = TextOf(file_);
    remove(file_.c_str());
    return text;
  }

 private:
  const std::string file_;
  std::unique_ptr<Process> strace_;
};

// Calls by name, out of the table that `strace -c` writes.
std::map<std::string, int> Counts(const std::string& table) {
  std::map<std::string, int> counts;
  for (absl::string_view line : absl::StrSplit(table, '\n')) {
    const std::vector<std::string> words = absl::StrSplit(line, ' ', absl::SkipEmpty());
    // % time, seconds, usecs/call, calls, [errors], syscall
    if (words.size() < 5 || words[0].find_first_not_of("0123456789.") != std::string::npos ||
        words.back() == "total")
      continue;
    counts[words.back()] = std::atoi(words[3].c_str());
  }
  return counts;
}

std::string Text(const std::map<std::string, int>& counts) {
  return absl::StrJoin(counts, " ", absl::PairFormatter("="));
}

int Sum(const std::map<std::string, int>& counts) {
  int sum = 0;
  for (const auto& [call, count] : counts) sum += count;
  return sum;
}

// From before the connection to after its end. What arrives while the daemon looks is one look more or less
// at the connection's begin and end, whatever came between.
constexpr int kMoreOrLess = 2;

TEST_F(Cost, AsManySocketCallsFor10000CallsAsFor100) {
  struct SocketCalls {
    std::map<std::string, int> client, daemon;
  };
  const auto count = [this](const std::string& address, int calls) {
    SocketCalls result;
    auto daemon = StartDaemon({address}, {"--no-snapshots"});
    Trace trace(daemon->pid(), trace_file("daemon"), {"-c", "-e", "trace=%network"});
    const Outcome client =
        RunProgram({"strace", "-f", "-c", "-e", "trace=%network", "-o", trace_file("client"),
                    Built("monitor_client"), "calls", address, std::to_string(calls)});
    EXPECT_EQ(client.code, 0) << client.err;
    result.client = Counts(TextOf(trace_file("client")));
    remove(trace_file("client").c_str());
    result.daemon = Counts(trace.End());
    StopDaemon(*daemon);
    std::cout << address << ", " << calls << " calls: client " << Text(result.client) << "; daemon "
              << Text(result.daemon) << "\n";
    return result;
  };
  const SocketCalls few = count("shm:monitor", 100);
  const SocketCalls many = count("shm:monitor", 10'000);
  EXPECT_EQ(few.client.count("connect"), 1u);
  EXPECT_NEAR(Sum(many.client), Sum(few.client), kMoreOrLess);
  EXPECT_NEAR(Sum(many.daemon), Sum(few.daemon), kMoreOrLess);
  // Where calls are socket calls, this shows them.
  const SocketCalls over_unix = count("unix:monitor", 100);
  EXPECT_GT(Sum(over_unix.client), 100);
  EXPECT_GT(Sum(over_unix.daemon), 100);
}

template <typename Condition>
bool Eventually(Condition condition) {
  for (auto end = steady_clock::now() + milliseconds(10'000); steady_clock::now() < end;) {
    if (condition()) return true;
    std::this_thread::sleep_for(milliseconds(5));
  }
  return false;
}

// Once no worker is there. Workers run calls of methods that have been seen to take long (on a busy machine
// any may be), one for each call at that moment, and go when there is nothing to do for some seconds.
std::map<std::string, int> LastingThreads(pid_t pid) {
  std::map<std::string, int> threads;
  EXPECT_TRUE(Eventually([&] {
    threads = ThreadsOf(pid);
    std::this_thread::sleep_for(milliseconds(50));  // a new thread has its maker's name at first
    return threads.count("ipcrpc-work") == 0 && ThreadsOf(pid) == threads;
  })) << Text(threads);
  return threads;
}

TEST_F(Cost, ThousandConnectionsLeaveTheThreadCountUnchanged) {
  constexpr int kConnections = 1000;
  auto daemon = StartDaemon({"shm:monitor", "unix:monitor"});
  // The daemon's limit of descriptors is this process's; a connection has some.
  for (const char* address : {"shm:monitor", "unix:monitor"}) {
    const auto connect = [&](int n) {
      auto client = std::make_unique<Process>(
          std::vector<std::string>{Built("monitor_client"), "connections", address, std::to_string(n)});
      EXPECT_EQ(client->Line(Process::kOut, milliseconds(30'000)), "connected")
          << client->rest(Process::kErr);
      return client;
    };
    auto one = connect(1);
    const auto threads = LastingThreads(daemon->pid());
    const int descriptors = SettledDescriptorsOf(daemon->pid());
    auto many = connect(kConnections);
    EXPECT_GE(DescriptorsOf(daemon->pid()), descriptors + kConnections);  // that they are there
    EXPECT_LE(Sum(ThreadsOf(daemon->pid())), Sum(threads) + 3);           // for one call at a time
    EXPECT_EQ(LastingThreads(daemon->pid()), threads);
    std::cout << address << ": threads with " << kConnections + 1
              << " connections: " << Text(ThreadsOf(daemon->pid()))
              << "; of the client: " << Text(ThreadsOf(many->pid())) << "\n";
    many->CloseInput();
    EXPECT_EQ(many->Wait(), 0);
    // And that they go.
    EXPECT_TRUE(Eventually([&] { return DescriptorsOf(daemon->pid()) <= descriptors; }))
        << DescriptorsOf(daemon->pid()) << ", with one connection " << descriptors;
    one->CloseInput();
    EXPECT_EQ(one->Wait(), 0);
  }
  StopDaemon(*daemon);
}

// Nothing happens in this network: lo is down, and a bridge without ports.
TEST_F(Cost, IdleDaemonWithWatchersMakesNoDump) {
  Ip("link add br0 type bridge");
  auto daemon = StartDaemon({"shm:monitor", "unix:monitor"});
  auto over_shm = StartWatch("shm:monitor");
  auto over_unix = StartWatch("unix:monitor");
  const pid_t collector = CollectorOf(*daemon);
  const auto cpu = [&] { return CpuOf(daemon->pid()) + CpuOf(collector); };
  const auto before = cpu();
  std::this_thread::sleep_for(milliseconds(1000));
  const auto used = cpu() - before;

  Trace daemon_trace(daemon->pid(), trace_file("daemon"), {"-yy"});
  Trace collector_trace(collector, trace_file("collector"), {"-yy"});
  std::this_thread::sleep_for(milliseconds(2000));
  const std::string text = daemon_trace.End() + collector_trace.End();
  std::map<std::string, int> calls;
  std::vector<std::string> netlink;
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::vector<std::string> words = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    const std::string call = words.size() < 2 ? "" : std::string(absl::StripAsciiWhitespace(words[1]));
    if (const size_t end = call.find('('); end != std::string::npos && call.find(' ') > end)
      ++calls[call.substr(0, end)];
    if (call.find("NETLINK") != std::string::npos) netlink.push_back(call);
  }
  EXPECT_EQ(netlink, std::vector<std::string>());
  // The snapshot of the status is what there is, and what both processes have to say to each other for it.
  EXPECT_FALSE(calls.empty()) << text;
  std::cout << "in 2 s, both processes: " << Text(calls) << "\nCPU time in 1 s: " << used / std::chrono::microseconds(1)
            << " us\n";
  EXPECT_LT(used, milliseconds(50));
  // And it is awake all the same.
  Ip("link add br1 type bridge");
  EXPECT_TRUE(over_shm->LineWith(Process::kOut, "br1").has_value());
  EXPECT_TRUE(over_unix->LineWith(Process::kOut, "br1").has_value());
  StopDaemon(*daemon);
}

TEST_F(Cost, SecondReadOfASnapshotMakesNoSystemCall) {
  auto daemon = StartDaemon({"shm:monitor"});
  Process client(
      {"strace", "-f", "-o", trace_file("client"), Built("monitor_client"), "snapshot", "monitor.net"});
  ASSERT_EQ(client.Line(Process::kOut), "ready") << client.rest(Process::kErr);
  // Changes to be read.
  for (int i = 0; i < 50 && !client.Wait(milliseconds(60)); ++i)
    Ip(absl::StrCat("link add br", i, " type bridge"));
  EXPECT_EQ(client.Wait(), 0) << client.rest(Process::kErr);
  const std::string text = TextOf(trace_file("client"));
  remove(trace_file("client").c_str());
  for (const char* mark : {"/mark/unchanged", "/mark/changed"}) {
    const std::vector<std::string> lines = absl::StrSplit(text, '\n');
    const auto at = std::find_if(lines.begin(), lines.end(),
                                 [&](const auto& line) { return line.find(mark) != std::string::npos; });
    ASSERT_LT(at, lines.end() - 1) << text;
    EXPECT_NE((at + 1)->find("/mark/end"), std::string::npos) << "behind " << mark << " comes " << *(at + 1);
  }
  StopDaemon(*daemon);
}

}  // namespace
}  // namespace ipcrpc::e2e

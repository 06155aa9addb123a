// Children in processes of their own, and what becomes of them.
#include "ipcrpc/child.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "ipcrpc/ipcrpc.h"
#include "services/child/kit_for_test.h"
#include "services/daemon/manager_for_test.h"

namespace ipcrpc {
namespace {

using hosting::Answer;
using hosting::OpenCall;
using testing::HasSubstr;
using testing::Not;
using namespace std::chrono_literals;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr auto kSoon = 5s;
#else
constexpr auto kSoon = 1s;
#endif

bool Lives(pid_t pid) { return kill(pid, 0) == 0; }
size_t Descriptors() {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) ++count;
  return count;
}

SupervisedChild::Options Program(std::vector<std::string> role = {}) {
  SupervisedChild::Options options;
  options.argv = {IPCRPC_CHILD_PROGRAM};
  options.argv.insert(options.argv.end(), role.begin(), role.end());
  options.name = "tester";
  return options;
}

Answer Call(SupervisedChild& child, const std::string& method, const std::string& text = "") {
  return OpenCall(child.channel(), method, text).End();
}

// What the callbacks have said.
class Diary {
 public:
  void Attach(SupervisedChild::Options& options) {
    options.on_up = [this](const std::shared_ptr<Channel>&) { Note("up"); };
    options.on_down = [this](const std::string& how) { Note(how); };
  }
  std::vector<std::string> entries() const {
    const std::lock_guard lock(mu_);
    return entries_;
  }
  bool Has(size_t count) const {
    return Eventually([&] { return entries().size() >= count; });
  }

 private:
  void Note(const std::string& entry) {
    const std::lock_guard lock(mu_);
    entries_.push_back(entry);
  }
  mutable std::mutex mu_;
  std::vector<std::string> entries_;
};

using SupervisedChildTest = ChildrenTest;

TEST_F(SupervisedChildTest, IsStartedWithoutACallAndServes) {
  SupervisedChild::Options options = Program();
  Diary diary;
  diary.Attach(options);
  SupervisedChild child(std::move(options));
  EXPECT_EQ(child.pid(), 0);
  ASSERT_TRUE(child.Start().ok());
  ASSERT_TRUE(child.WaitUntilUp(kPatience).ok());
  ASSERT_TRUE(diary.Has(1));
  EXPECT_EQ(child.channel()->GetState(false), ConnectivityState::READY);
  EXPECT_EQ(Call(child, "/test/Echo", "21.5").text, "21.5");
  EXPECT_EQ(Call(child, "/test/Pid").text, std::to_string(child.pid()));
  EXPECT_EQ(child.restarts(), 0u);
  child.Stop();
  EXPECT_EQ(child.pid(), 0);
  EXPECT_THAT(diary.entries(), testing::ElementsAre("up", "was stopped"));
}

TEST_F(SupervisedChildTest, ACallWaitsForAChildThatIsStarting) {
  SupervisedChild child(Program());
  ASSERT_TRUE(child.Start().ok());
  ASSERT_TRUE(Eventually([&] { return child.pid() != 0; }));
  EXPECT_EQ(Call(child, "/test/Echo", "1").text, "1");
}

TEST_F(SupervisedChildTest, StartsWithNothingOfOurs) {
  // What a child must not have: a blocked signal, an ignored one, a descriptor that every program inherits.
  sigset_t blocked, before;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGUSR1);
  pthread_sigmask(SIG_BLOCK, &blocked, &before);
  const auto handler = signal(SIGUSR2, SIG_IGN);
  const UniqueFd file(open("/dev/zero", O_RDONLY));  // without O_CLOEXEC
  SupervisedChild::Options options = Program();
  options.environment = {"CHILD_COLOUR=green"};
  SupervisedChild child(std::move(options));
  ASSERT_TRUE(child.Start().ok());
  const std::string facts = Call(child, "/test/Facts").text;
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  signal(SIGUSR2, handler);
  EXPECT_THAT(facts, HasSubstr("SigBlk:\t0000000000000000"));
  EXPECT_THAT(facts, HasSubstr("SigIgn:\t0000000000000000"));
  EXPECT_THAT(facts, HasSubstr("group: own"));
  EXPECT_THAT(facts, HasSubstr("environment:green"));
  EXPECT_THAT(facts, Not(HasSubstr("/dev/zero")));
}

TEST_F(SupervisedChildTest, ADeathEndsItsCallsAndTheNextOneServesOnTheSameChannel) {
  SupervisedChild::Options options = Program();
  Diary diary;
  diary.Attach(options);
  SupervisedChild child(std::move(options));
  ASSERT_TRUE(child.Start().ok());
  const pid_t first = std::stoi(Call(child, "/test/Pid").text);
  OpenCall waiting(child.channel(), "/test/Wait", "");
  Kill(first);
  const Answer end = waiting.End();
  EXPECT_EQ(end.status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_THAT(end.status.error_message(), HasSubstr("child:tester was ended by signal 9 (Killed)"));
  ASSERT_TRUE(diary.Has(3));
  EXPECT_THAT(diary.entries(), testing::ElementsAre("up", "was ended by signal 9 (Killed)", "up"));
  const std::string second = Call(child, "/test/Pid").text;
  EXPECT_EQ(second, std::to_string(child.pid()));
  EXPECT_NE(second, std::to_string(first));
  EXPECT_EQ(child.restarts(), 1u);
  EXPECT_FALSE(Lives(first));
}

TEST_F(SupervisedChildTest, ADeathIsSeenWhereAnotherProcessHoldsItsSocket) {
  SupervisedChild child(Program({"shares"}));
  ASSERT_TRUE(child.Start().ok());
  const pid_t sharer = std::stoi(Call(child, "/test/Sharer").text);
  OpenCall waiting(child.channel(), "/test/Wait", "");
  Kill(child.pid());
  EXPECT_EQ(waiting.End().status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_TRUE(Eventually([&] { return !Runs(sharer); })) << "its end of the socket has not been shut down";
}

TEST_F(SupervisedChildTest, SaysWhatCannotBeExecutedAndDoesNotSpin) {
  SupervisedChild::Options options = Program();
  options.argv = {"/nonexistent/program"};
  options.min_backoff = 100ms;
  Diary diary;
  diary.Attach(options);
  SupervisedChild child(std::move(options));
  ASSERT_TRUE(child.Start().ok());
  const Status status = child.WaitUntilUp(kPatience);
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(status.error_message(), "tester cannot run '/nonexistent/program': No such file or directory");
  const Answer answer = Call(child, "/test/Echo");
  EXPECT_EQ(answer.status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_THAT(answer.status.error_message(), HasSubstr("cannot run '/nonexistent/program'"));
  const uint64_t before = child.restarts();
  std::this_thread::sleep_for(1s);
  // At 100, 160 and 256 ms it is three or four more.
  EXPECT_LE(child.restarts() - before, 8u);
  EXPECT_EQ(diary.entries().front(), "cannot run '/nonexistent/program': No such file or directory");
}

TEST_F(SupervisedChildTest, SaysHowOneEndedThatNeverServed) {
  SupervisedChild child(Program({"exit", "3"}));
  ASSERT_TRUE(child.Start().ok());
  EXPECT_EQ(child.WaitUntilUp(kPatience).error_message(), "tester exited with code 3");
}

TEST_F(SupervisedChildTest, OneThatDoesNotServeInTimeIsReplaced) {
  SupervisedChild::Options options = Program({"mute"});
  options.start_limit = 100ms;
  options.stop_grace = 50ms;
  SupervisedChild child(std::move(options));
  ASSERT_TRUE(child.Start().ok());
  EXPECT_EQ(child.WaitUntilUp(kPatience).error_message(), "tester was not up in 100 ms and was ended");
  EXPECT_TRUE(Eventually([&] { return child.restarts() > 0; }));
}

TEST_F(SupervisedChildTest, ACallThatWaitsUntilReadyGetsTheNextOne) {
  SupervisedChild::Options options = Program();
  options.min_backoff = 300ms;
  SupervisedChild child(std::move(options));
  ASSERT_TRUE(child.Start().ok());
  const pid_t first = std::stoi(Call(child, "/test/Pid").text);
  Kill(first);
  ASSERT_TRUE(Eventually([&] { return child.pid() == 0; }));
  EXPECT_EQ(Call(child, "/test/Echo").status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_TRUE(child.channel()->WaitForConnected(std::chrono::system_clock::now() + kPatience));
  EXPECT_EQ(Call(child, "/test/Echo", "2").text, "2");
}

TEST_F(SupervisedChildTest, OneThatClingsIsKilled) {
  SupervisedChild::Options options = Program({"clings"});
  options.stop_grace = 50ms;
  SupervisedChild child(std::move(options));
  ASSERT_TRUE(child.Start().ok());
  ASSERT_TRUE(child.WaitUntilUp(kPatience).ok());
  const pid_t pid = child.pid();
  child.Stop();
  EXPECT_FALSE(Lives(pid));
}

TEST_F(SupervisedChildTest, TheChannelOutlivesIt) {
  std::shared_ptr<Channel> channel;
  {
    SupervisedChild child(Program());
    channel = child.channel();
    ASSERT_TRUE(child.Start().ok());
    EXPECT_EQ(Call(child, "/test/Echo", "1").text, "1");
  }
  const Answer after = OpenCall(channel, "/test/Echo", "").End();
  EXPECT_EQ(after.status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_THAT(after.status.error_message(), HasSubstr("was stopped"));
  // Nor does it make one wait that would wait for it.
  EXPECT_FALSE(channel->WaitForConnected(std::chrono::system_clock::now() + kPatience));
}

TEST_F(SupervisedChildTest, NoneIsLeftWhenTheParentIsKilled) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd read_end(ends[0]);
  UniqueFd write_end(ends[1]);
  const pid_t parent = fork();
  if (parent == 0) {
    dup2(write_end.get(), STDOUT_FILENO);
    execl(IPCRPC_CHILD_PROGRAM, "parent", "parent", "3", nullptr);
    _exit(127);
  }
  write_end.reset();
  std::string said;
  while (std::count(said.begin(), said.end(), '\n') < 3) {
    char buffer[256];
    const ssize_t got = read(read_end.get(), buffer, sizeof buffer);
    ASSERT_GT(got, 0);
    said.append(buffer, static_cast<size_t>(got));
  }
  Kill(parent);
  waitpid(parent, nullptr, 0);
  std::istringstream pids(said);
  for (pid_t pid; pids >> pid;) {
    // They are somebody else's to collect: of the process that adopts orphans.
    EXPECT_TRUE(Eventually([pid] { return !Runs(pid); })) << pid;
  }
}

// Every call ends, with OK or UNAVAILABLE and nothing else; each time there is a next one soon.
TEST_F(SupervisedChildTest, ManyDeathsUnderLoad) {
  constexpr int kDeaths = 100;
  { SupervisedChild warm(Program()); }  // what the library makes once is made
  OpenCall(CreateChannel("unix:nobody"), "/test/Echo", "").End();
  const size_t before = Descriptors();
  std::atomic<bool> enough{false};
  std::atomic<int> good{0}, bad{0};
  std::mutex mu;
  std::string strange;
  {
    SupervisedChild::Options options = Program();
    options.max_backoff = 20ms;
    Diary diary;
    diary.Attach(options);
    SupervisedChild child(std::move(options));
    ASSERT_TRUE(child.Start().ok());
    ASSERT_TRUE(child.WaitUntilUp(kPatience).ok());
    std::vector<std::thread> callers;
    struct Join {
      std::atomic<bool>& enough;
      std::vector<std::thread>& threads;
      ~Join() {
        enough = true;
        for (std::thread& thread : threads) thread.join();
      }
    };
    std::optional<Join> join(std::in_place, enough, callers);
    for (int i = 0; i < 4; ++i) {
      callers.emplace_back([&] {
        while (!enough) {
          const Answer answer = Call(child, "/test/Echo", "x");
          if (answer.status.ok() && answer.text == "x") {
            ++good;
          } else if (answer.status.error_code() == StatusCode::UNAVAILABLE) {
            ++bad;
            std::this_thread::sleep_for(1ms);  // what starts has few processors, too
          } else {
            const std::lock_guard lock(mu);
            strange = answer.status.error_message();
          }
        }
      });
    }
    std::chrono::steady_clock::duration down{0};
    const auto up = [&] { return child.WaitUntilUp(kPatience).ok(); };
    for (int i = 0; i < kDeaths; ++i) {
      ASSERT_TRUE(Eventually(up));
      const int so_far = good;
      ASSERT_TRUE(Eventually([&] { return good > so_far; }));
      const pid_t pid = child.pid();
      const auto killed = std::chrono::steady_clock::now();
      Kill(pid);
      ASSERT_TRUE(Eventually([&] { return child.pid() != pid && up() && child.pid() != 0; }))
          << "killed " << pid << ", has " << child.pid() << ", " << testing::PrintToString(diary.entries());
      down += std::chrono::steady_clock::now() - killed;
    }
    EXPECT_LT(down / kDeaths, kSoon);
    join.reset();
    // More where the machine had nothing to start one with.
    EXPECT_GE(child.restarts(), static_cast<uint64_t>(kDeaths));
    for (const std::string& entry : diary.entries()) {
      if (entry != "up" && entry != "was ended by signal 9 (Killed)") std::cout << "  " << entry << "\n";
    }
  }
  EXPECT_EQ(strange, "");
  EXPECT_GT(good, kDeaths);
  EXPECT_GT(bad, 0);
  EXPECT_TRUE(Eventually([&] { return Descriptors() <= before; })) << Descriptors() << " after " << before;
}

}  // namespace
}  // namespace ipcrpc

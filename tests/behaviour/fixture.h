// What every test of the suite stands on: the schemes it runs over, a service whose handlers are lambdas, a server and
// a channel on a fresh name, and servers in processes of their own.
#pragma once

#include <sys/types.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipcrpc/ipcrpc.h"
#include "tests/behaviour/behaviour.ipcrpc.pb.h"
#include "transport/testing/meeting_place.h"

namespace behaviour {

using ipcrpc::Channel;
using ipcrpc::ClientContext;
using ipcrpc::ServerContext;
using ipcrpc::Status;
using ipcrpc::StatusCode;
using namespace std::chrono_literals;

using ServerEmitter = ipcrpc::ServerWriter<Msg>;
using ServerCollector = ipcrpc::ServerReader<Msg>;
using ServerTalk = ipcrpc::ServerReaderWriter<Msg, Msg>;

// Under a sanitizer everything takes several times as long.
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr int kSlower = 8;
inline constexpr bool kSanitized = true;
#else
inline constexpr int kSlower = 1;
inline constexpr bool kSanitized = false;
#endif

// A new transport joins by a line in one of these: a scheme, and the parameters of its addresses. Under a sanitizer one
// of each family has to do; ThreadSanitizer sees no order that a message queue makes between two threads.
#if defined(__SANITIZE_THREAD__)
inline constexpr std::string_view kSchemes[] = {"shm", "shm?segment=posix&wake=sem", "unix"};
inline constexpr std::string_view kOneConnection[] = {"pipe"};
#elif defined(__SANITIZE_ADDRESS__)
inline constexpr std::string_view kSchemes[] = {"shm", "shm?segment=posix&wake=sem", "unix", "mqueue"};
inline constexpr std::string_view kOneConnection[] = {"pipe"};
#else
inline constexpr std::string_view kSchemes[] = {
    "shm",
    "shm?segment=posix&wake=sem",
    "shm?segment=sysv&wake=eventfd",
    "shm?wake=sysvsem",
    "unix",
    "fifo",
    "mqueue",
    "sysvmq",
    "netlink",
};
inline constexpr std::string_view kOneConnection[] = {"socketpair", "pipe"};  // an address is good for one
#endif
inline constexpr std::string_view kOneProcess[] = {"inproc"};  // its names are this process's own

// Something that another thread makes true; the tests wait for it, and fail instead of hanging.
class Event {
 public:
  void Set() {
    std::lock_guard lock(mu_);
    set_ = true;
    changed_.notify_all();
  }
  [[nodiscard]] bool Wait(std::chrono::milliseconds limit = 20s) {
    std::unique_lock lock(mu_);
    return changed_.wait_for(lock, limit, [this] { return set_; });
  }
  bool set() {
    std::lock_guard lock(mu_);
    return set_;
  }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  bool set_ = false;
};

// Looks every millisecond, for what tells nobody when it changes.
template <typename Condition>
[[nodiscard]] bool Eventually(Condition&& condition, std::chrono::milliseconds limit = 20s) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

inline auto In(std::chrono::milliseconds time) { return std::chrono::system_clock::now() + time; }

inline double MsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

// Without a lambda a handler does the plain thing: echo, count and sum, emit `number` messages, echo each.
class LambdaService : public Methods::Service {
 public:
  std::function<Status(ServerContext*, const Msg*, Msg*)> unary;
  std::function<Status(ServerContext*, ServerCollector*, Msg*)> collect;
  std::function<Status(ServerContext*, const Msg*, ServerEmitter*)> emit;
  std::function<Status(ServerContext*, ServerTalk*)> talk;

  Status Unary(ServerContext* context, const Msg* request, Msg* response) override;
  Status Collect(ServerContext* context, ServerCollector* reader, Msg* response) override;
  Status Emit(ServerContext* context, const Msg* request, ServerEmitter* writer) override;
  Status Talk(ServerContext* context, ServerTalk* stream) override;
};

// Counts of what a process holds, to be compared before and after.
struct Holdings {
  size_t threads, descriptors, mappings;
  static Holdings Now();
};

// One that no other test of this process has.
std::string FreshName();

Msg Number(int64_t number);
Msg Data(size_t bytes, char fill = 'x');

class BehaviourTest : public ::testing::TestWithParam<std::string_view> {
 protected:
  BehaviourTest();
  ~BehaviourTest() override;

  // "shm" of "shm?wake=sem".
  static std::string_view scheme() { return GetParam().substr(0, GetParam().find('?')); }
  // Where the server listens, and where its clients find it: a fresh name of the scheme in the test's own runtime
  // directory for both, with the parameters, or a pair of descriptors.
  const std::string& address() const { return place_.server(); }
  const std::string& client_address() const { return place_.client(); }
  // Another name; `suffix` for a forked child, whose fresh names are its parent's.
  std::string OtherAddress(std::string_view suffix = "") const;
  // The same for another server.
  static std::unique_ptr<ipcrpc::MeetingPlace> NewPlace();
  bool one_connection() const { return std::ranges::find(kOneConnection, GetParam()) != std::end(kOneConnection); }

  // Starts the server at address() if the test has not done so, and connects.
  void Start(const std::function<void(ipcrpc::ServerBuilder&)>& configure = {},
             const ipcrpc::ChannelArguments& arguments = {});
  std::unique_ptr<ipcrpc::Server> Serve(ipcrpc::Service& service, const std::string& at,
                                        const std::function<void(ipcrpc::ServerBuilder&)>& configure = {});
  // On a connection of its own.
  std::unique_ptr<Methods::Stub> NewStub(const ipcrpc::ChannelArguments& arguments = {});
  // Ends all calls and waits for their handlers. Tests whose handlers use their locals end with it.
  void StopServer();

  // The server still serves this channel, and a new one if there can be one.
  void ExpectAlive();

  LambdaService service_;
  std::unique_ptr<ipcrpc::Server> server_;
  std::shared_ptr<Channel> channel_;
  std::unique_ptr<Methods::Stub> stub_;

 private:
  const ipcrpc::MeetingPlace place_;
};

// Another process that serves, or calls; killed, if need be, with the object.
class Process {
 public:
  // behaviour_peer with these arguments; waits until it says "ready".
  explicit Process(const std::vector<std::string>& arguments);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  bool ready() const { return ready_; }
  pid_t pid() const { return pid_; }
  void Signal(int signal);
  // Stops it, and waits until it is.
  void Stop();
  void Kill();
  // The exit status, waiting for it.
  int Wait();

 private:
  pid_t pid_ = -1;
  bool ready_ = false;
};

std::string SchemeName(const ::testing::TestParamInfo<std::string_view>& info);

// Over every transport: tests with one server, which starts before its one client connects, and never again.
#define BEHAVIOUR_SUITE(Suite)        \
  BEHAVIOUR_SUITE_WITH_NAMES(Suite);  \
  INSTANTIATE_TEST_SUITE_P(OneConnection, Suite, ::testing::ValuesIn(::behaviour::kOneConnection), ::behaviour::SchemeName)
// Over those whose addresses are names, for servers that come and go and any number of connections.
#define BEHAVIOUR_SUITE_WITH_NAMES(Suite)       \
  BEHAVIOUR_SUITE_ACROSS_PROCESSES(Suite);      \
  INSTANTIATE_TEST_SUITE_P(OneProcess, Suite, ::testing::ValuesIn(::behaviour::kOneProcess), ::behaviour::SchemeName)
// Over those whose names other processes find.
#define BEHAVIOUR_SUITE_ACROSS_PROCESSES(Suite) \
  INSTANTIATE_TEST_SUITE_P(All, Suite, ::testing::ValuesIn(::behaviour::kSchemes), ::behaviour::SchemeName)

}  // namespace behaviour

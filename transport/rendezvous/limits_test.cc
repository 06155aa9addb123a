// How much there may be of a rendezvous: many clients, full queues, what the system limits or forbids.
#include <fcntl.h>
#include <linux/capability.h>
#include <mqueue.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include <cerrno>
#include <fstream>
#include <thread>
#include <vector>

#include "transport/testing/refuse_system_call.h"
#include "transport/testing/rendezvous_kit.h"

namespace ipcrpc::rendezvous {
namespace {

using ::testing::HasSubstr;
using Verdict = FrameSink::Verdict;
using MqueueLimits = SweptTest;
using Refused = SweptTest;

TEST_P(Rendezvous, ThirtyTwoClientsFillTheirQueuesAtOnce) {
  constexpr int kClients = 32;
  {
    EpollEcho echo(address());
    std::vector<std::thread> clients;
    std::atomic<int> right = 0;
    for (uint64_t c = 0; c < kClients; ++c) {
      clients.emplace_back([&, c] {
        absl::StatusOr<std::unique_ptr<Link>> link = Dial(address(), 30000);
        ASSERT_TRUE(link.ok()) << link.status();
        LinkDriver driver(**link);
        constexpr int kFrames = 40;
        int sent = 0, back = 0;
        driver.on_frame = [&](const Bytes& frame) {
          EXPECT_EQ(frame, MakeFrame(c, static_cast<uint64_t>(back), frame.size()));
          ++back;
          return Verdict::kConsumed;
        };
        EXPECT_TRUE(driver.DriveUntil([&] {
          while (sent < kFrames && driver.TrySend(MakeFrame(c, static_cast<uint64_t>(sent), 12000))) ++sent;
          (*link)->Flush();
          return back == kFrames;
        }));
        // All stay until all have finished.
        ++right;
        const int64_t deadline = InMs(30000);
        while (right < kClients && MonotonicNs() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      });
    }
    for (std::thread& client : clients) client.join();
    EXPECT_EQ(right, kClients);
  }
  ExpectNothingLeft();
}

TEST_F(MqueueLimits, TheBytesOfAUserAreNamedWhenTheyAreSpentAndTheServerLivesOn) {
  EpollEcho echo("mqueue:met");
  std::vector<std::unique_ptr<Link>> links;
  absl::Status refused;
  while (refused.ok() && links.size() < 200) {
    absl::StatusOr<std::unique_ptr<Link>> link = Dial("mqueue:met");
    refused = link.status();
    if (link.ok()) links.push_back(*std::move(link));
  }
  EXPECT_GE(links.size(), 32u);
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(MessageOf(refused), AllOf(HasSubstr("RLIMIT_MSGQUEUE"), HasSubstr("819200"), HasSubstr("ulimit -q")));
  for (auto& link : links) EXPECT_TRUE(Echoes(*link));
  links.pop_back();
  // The server has to see that one go first.
  absl::StatusOr<std::unique_ptr<Link>> next = absl::UnknownError("");
  const int64_t deadline = InMs(20000);
  while (!next.ok() && MonotonicNs() < deadline) next = Dial("mqueue:met");
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_TRUE(Echoes(**next));
}

TEST_F(MqueueLimits, TheNumberOfQueuesIsNamed) {
  std::ifstream in("/proc/sys/fs/mqueue/queues_max");
  std::string before;
  in >> before;
  // Whoever may exceed limits of the system gives that up first.
  ServerProcess server("mqueue:met", 0, [] {
    __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    __user_cap_data_struct data[2] = {};
    syscall(SYS_capget, &header, data);
    data[0].effective &= ~(1u << CAP_SYS_RESOURCE);
    syscall(SYS_capset, &header, data);
  });
  std::ofstream("/proc/sys/fs/mqueue/queues_max") << 2;
  const absl::Status refused = Dial("mqueue:met").status();
  std::ofstream("/proc/sys/fs/mqueue/queues_max") << before;
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
  EXPECT_THAT(MessageOf(refused), AllOf(HasSubstr("fs.mqueue.queues_max"), HasSubstr("sysctl")));
  EXPECT_TRUE(Dial("mqueue:met").ok());
}

TEST_F(Refused, ASystemCallThatIsForbiddenIsSaidClearly) {
  struct Case {
    std::string address;
    int call;
    int error;
    absl::StatusCode code;
    std::string_view says;
  };
  const Case cases[] = {
      {"mqueue:met", SYS_mq_open, EPERM, absl::StatusCode::kPermissionDenied, "filter of system calls"},
      {"mqueue:met", SYS_mq_open, ENOSYS, absl::StatusCode::kFailedPrecondition, "no POSIX message queues"},
      {"sysvmq:met", SYS_msgget, EPERM, absl::StatusCode::kPermissionDenied, "filter of system calls"},
      {"sysvmq:met", SYS_msgget, ENOSYS, absl::StatusCode::kFailedPrecondition, "no System V message queues"},
      {"netlink:met", SYS_bind, EPERM, absl::StatusCode::kPermissionDenied, "filter of system calls"},
      {"fifo:met", SYS_mknodat, EPERM, absl::StatusCode::kPermissionDenied, "cannot make the FIFO"},
  };
  const auto as_it_should_be = [](const Case& c, const absl::Status& status) {
    const bool right = status.code() == c.code && MessageOf(status).find(c.says) != std::string_view::npos;
    if (!right) fprintf(stderr, "%s errno %d: %s\n", c.address.c_str(), c.error, status.ToString().c_str());
    return right;
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Child([&] {
                RefuseSystemCall(c.call, c.error);
                return as_it_should_be(c, Listen(*ParseAddress(c.address)).status()) ? 0 : 1;
              }).Wait(),
              0);
    EXPECT_TRUE(directory_.empty()) << c.address;
    if (c.call == SYS_mknodat) continue;  // a client makes no FIFO
    ServerProcess server(c.address);
    ASSERT_TRUE(server.up());
    EXPECT_EQ(Child([&] {
                RefuseSystemCall(c.call, c.error);
                return as_it_should_be(c, Dial(c.address).status()) ? 0 : 1;
              }).Wait(),
              0);
    EXPECT_TRUE(Dial(c.address).ok());
    server.Kill();
    { auto sweeps = Listen(*ParseAddress(c.address)); }
  }
}

TEST_F(Refused, AServerThatMayMakeNoQueuesTellsItsClients) {
  ServerProcess server("mqueue:met", 0, [] { RefuseSystemCall(SYS_mq_open, EPERM); });
  ASSERT_TRUE(server.up());
  for (int i = 0; i < 3; ++i) {
    const absl::Status refused = Dial("mqueue:met").status();
    EXPECT_TRUE(absl::IsPermissionDenied(refused)) << refused;
    EXPECT_THAT(MessageOf(refused), HasSubstr("refused by its server"));
  }
}

}  // namespace
}  // namespace ipcrpc::rendezvous

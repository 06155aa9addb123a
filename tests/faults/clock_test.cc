// Deadlines between processes that do not have the same clock: CLOCK_MONOTONIC of another time namespace, and a boot id that
// says that it is another machine's. This process itself never calls, so that it may fork.
#include <poll.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "tests/behaviour/fixture.h"
#include "tests/hostile/raw_peer.h"
#include "transport/stream/framing.h"
#include "transport/testing/sandbox.h"

namespace faults {
namespace {

using namespace behaviour;  // NOLINT: the fixture's
using ipcrpc::Child;
using ipcrpc::kNoNamespaces;

constexpr int kShiftSeconds = 100'000;

// Runs `body` in a child whose CLOCK_MONOTONIC is ahead by so much.
template <typename Body>
int RunShifted(int seconds, Body body) {
  return Child([&] {
           if (seconds == 0) return ipcrpc::RunInNamespaces(0, body);
           if (!ipcrpc::EnterNamespaces(CLONE_NEWTIME) ||
               !ipcrpc::WriteFile("/proc/self/timens_offsets", "monotonic " + std::to_string(seconds) + " 0")) {
             return kNoNamespaces;
           }
           return ipcrpc::RunInNamespaces(0, body);
         })
      .Wait();
}

int64_t MonotonicSeconds() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec;
}

class ClockTest : public BehaviourTest {
 protected:
  // Answers how many milliseconds the call has left, or waits for its end; "count" says how many ends it has waited for.
  void ServeUntil(int stop_fd, int ready_fd) {
    std::atomic<int> ended{0};
    service_.unary = [&](ServerContext* context, const Msg* request, Msg* response) {
      if (request->text() == "wait") {
        EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
        ++ended;
      } else if (request->text() == "count") {
        response->set_number(ended);
      } else {
        using std::chrono::duration_cast;
        response->set_number(duration_cast<std::chrono::milliseconds>(context->deadline() - std::chrono::system_clock::now()).count());
      }
      return Status::OK;
    };
    server_ = Serve(service_, address());
    ASSERT_NE(server_, nullptr);
    ASSERT_EQ(write(ready_fd, "y", 1), 1);
    char byte;
    EXPECT_EQ(read(stop_fd, &byte, 1), 0);
    StopServer();
  }

  void ExpectDeadlinesHold() {
    const auto stub = NewStub();
    const auto call = [&](const char* what, std::chrono::milliseconds time) {
      ClientContext context;
      context.set_deadline(In(time));
      Msg request, response;
      request.set_text(what);
      const Status status = stub->Unary(&context, request, &response);
      return std::pair(status.error_code(), response.number());
    };
    // The first call is made before the server has said what its clock is.
    for (int i = 0; i < 5; ++i) {
      const auto [code, left_ms] = call("left", 20s);
      EXPECT_EQ(code, StatusCode::OK);
      EXPECT_LE(left_ms, 20'000);
      EXPECT_GT(left_ms, 15'000);
    }
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(call("wait", 150ms).first, StatusCode::DEADLINE_EXCEEDED);
    EXPECT_GE(MsSince(start), 149);
    EXPECT_LT(MsSince(start), 5000);
    EXPECT_TRUE(Eventually([&] { return call("count", 20s).second == 1; }));
  }

  // A server and a client, each in a child, each with its clock shifted or not.
  void ExpectDeadlinesHoldBetween(int server_shift, const std::function<int()>& client) {
    int ready[2], stop[2];
    ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
    ASSERT_EQ(pipe2(stop, O_CLOEXEC), 0);
    Child server([&] {
      close(stop[1]);
      close(ready[0]);
      return RunShifted(server_shift, [&] { ServeUntil(stop[0], ready[1]); });
    });
    close(stop[0]), close(ready[1]);
    char byte;
    const bool serving = read(ready[0], &byte, 1) == 1;
    const int result = serving ? client() : 1;
    close(stop[1]), close(ready[0]);
    const int served = server.Wait();
    if (served == kNoNamespaces || result == kNoNamespaces) GTEST_SKIP() << "time namespaces are not allowed here";
    EXPECT_EQ(served, 0);
    EXPECT_EQ(result, 0);
  }
};

TEST_P(ClockTest, DeadlinesHoldBetweenTimeNamespaces) {
  for (const auto& [server_shift, client_shift] : {std::pair(0, 0), std::pair(0, kShiftSeconds), std::pair(kShiftSeconds, 0)}) {
    SCOPED_TRACE("server " + std::to_string(server_shift) + ", client " + std::to_string(client_shift));
    const int64_t here = MonotonicSeconds();
    ExpectDeadlinesHoldBetween(server_shift, [&, shift = client_shift] {
      return RunShifted(shift, [&] {
        EXPECT_GE(MonotonicSeconds() - here, shift) << "the clock is not shifted";
        ExpectDeadlinesHold();
      });
    });
  }
}

// Its parent has looked what its own clock is.
TEST_P(ClockTest, DeadlinesHoldInAForkedChildWithAnotherClock) {
  ExpectDeadlinesHoldBetween(0, [&] {
    return ipcrpc::RunInNamespaces(0, [&] {
      const auto parents = NewStub();
      for (int i = 0; i < 2; ++i) {
        ClientContext context;
        Msg response;
        EXPECT_TRUE(parents->Unary(&context, Msg(), &response).ok());
      }
      EXPECT_EQ(RunShifted(kShiftSeconds, [&] { ExpectDeadlinesHold(); }), 0);
    });
  });
}

INSTANTIATE_TEST_SUITE_P(All, ClockTest, ::testing::Values("shm", "unix"), SchemeName);

// ---- the boot id -------------------------------------------------------------------------------

using hostile::FrameHeader;
using hostile::FrameType;
using hostile::UniqueFd;

// A server on a unix socket that says a hello and ends each call as it begins; tells of each begin's header.
class NotingServer {
 public:
  NotingServer(const std::string& address, const ipcrpc::rpc::HelloBody& hello)
      : listener_(hostile::ListenAt(hostile::SocketPath(address), SOCK_STREAM)), hello_(hello), thread_([this] { Run(); }) {}

  // Once its client is gone.
  std::vector<FrameHeader> Begins() {
    shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
    return begins_;
  }

 private:
  void Run() {
    const UniqueFd client(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    std::string preamble(reinterpret_cast<const char*>(ipcrpc::stream::kMagic.data()), ipcrpc::stream::kMagic.size());
    preamble += std::string("\1\0\0\0", 4);
    send(client.get(), preamble.data(), preamble.size(), MSG_NOSIGNAL);
    Send(client.get(), hostile::FrameOf({.type = FrameType::kHello}, {}, hostile::Bytes(&hello_, sizeof hello_)));
    std::string in;
    char buffer[4096];
    size_t at = ipcrpc::stream::kPreambleBytes;
    for (ssize_t got; (got = recv(client.get(), buffer, sizeof buffer, 0)) > 0;) {
      in.append(buffer, static_cast<size_t>(got));
      for (uint32_t size; in.size() >= at + sizeof size; at += ipcrpc::stream::WireBytes(size)) {
        std::memcpy(&size, in.data() + at, sizeof size);
        if (in.size() < at + ipcrpc::stream::WireBytes(size)) break;
        FrameHeader header;
        std::memcpy(&header, in.data() + at + sizeof size, sizeof header);
        if (header.type != FrameType::kBegin) continue;
        begins_.push_back(header);
        Send(client.get(), hostile::FrameOf({.type = FrameType::kFinish, .stream = header.stream}));
      }
    }
  }
  static void Send(int fd, const std::string& frame) {
    const auto size = static_cast<uint32_t>(frame.size());
    std::string wire = hostile::Bytes(&size, sizeof size) + frame;
    wire.resize(ipcrpc::stream::WireBytes(frame.size()));
    send(fd, wire.data(), wire.size(), MSG_NOSIGNAL);
  }

  const UniqueFd listener_;
  const ipcrpc::rpc::HelloBody hello_;
  std::vector<FrameHeader> begins_;
  std::thread thread_;
};

class BootIdTest : public BehaviourTest {
 protected:
  // The begins of two calls one after the other, the second of which knows the server's hello.
  std::vector<FrameHeader> BeginsOfACallerIn(const std::function<void()>& enter) {
    ipcrpc::rpc::HelloBody hello;
    std::ifstream("/proc/sys/kernel/random/boot_id").read(hello.boot_id, 36);
    struct stat info;
    EXPECT_EQ(stat("/proc/self/ns/time", &info), 0);
    hello.time_namespace = info.st_ino;
    // The child is made before there is a thread, and waits for the server.
    int go[2];
    EXPECT_EQ(pipe2(go, O_CLOEXEC), 0);
    Child caller([&] {
      return ipcrpc::RunInNamespaces(CLONE_NEWNS, [&] {
        char byte;
        EXPECT_EQ(read(go[0], &byte, 1), 1);
        enter();
        const auto stub = NewStub();
        for (int i = 0; i < 2; ++i) {
          ClientContext context;
          context.set_deadline(In(20s));
          EXPECT_TRUE(stub->Talk(&context)->Finish().ok());
        }
      });
    });
    NotingServer server(address(), hello);
    EXPECT_EQ(write(go[1], "y", 1), 1);
    const int result = caller.Wait();
    close(go[0]), close(go[1]);
    allowed_ = result != kNoNamespaces;
    EXPECT_EQ(allowed_ ? result : 0, 0);
    return server.Begins();
  }

  bool allowed_ = true;
};

TEST_P(BootIdTest, DeadlinesAreTimesOfTheClockOnlyForWhoBootedWithUs) {
  const int64_t now_ns = MonotonicSeconds() * 1'000'000'000;
  const std::vector<FrameHeader> same = BeginsOfACallerIn([] {});
  if (!allowed_) GTEST_SKIP() << "mount namespaces are not allowed here";
  ASSERT_EQ(same.size(), 2u);
  EXPECT_EQ(same[1].flags & ipcrpc::rpc::kRelativeDeadline, 0);
  EXPECT_GT(same[1].deadline, static_cast<uint64_t>(now_ns));

  const std::vector<FrameHeader> other = BeginsOfACallerIn([] {
    char file[] = "/tmp/ipcrpc-boot-id-XXXXXX";
    const UniqueFd fake(mkstemp(file));
    constexpr std::string_view kId = "01234567-89ab-cdef-0123-456789abcdef\n";
    EXPECT_EQ(write(fake.get(), kId.data(), kId.size()), static_cast<ssize_t>(kId.size()));
    EXPECT_EQ(mount(file, "/proc/sys/kernel/random/boot_id", nullptr, MS_BIND, nullptr), 0);
    unlink(file);
  });
  ASSERT_EQ(other.size(), 2u);
  for (const FrameHeader& begin : other) {
    EXPECT_NE(begin.flags & ipcrpc::rpc::kRelativeDeadline, 0);
    EXPECT_LE(begin.deadline, 20'000'000'000u);
    EXPECT_GT(begin.deadline, 15'000'000'000u);
  }
}

INSTANTIATE_TEST_SUITE_P(All, BootIdTest, ::testing::Values("unix"), SchemeName);

}  // namespace
}  // namespace faults

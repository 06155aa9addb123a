// Many at once: threads, streams, connections; and nothing left of them.
#include <sys/resource.h>
#include <unistd.h>

#include <barrier>
#include <fstream>

#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

class Load : public BehaviourTest {
 protected:
  Load() {
    rlimit limit = {};
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
  }
};

// Of this process, client and server. 0 under a sanitizer, whose own grows.
int64_t ResidentBytes() {
  if (kSanitized) return 0;
  int64_t total = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

// What buffers and arenas of malloc may still grow by once every thread has made some calls.
constexpr int64_t kFlatBytes = 8 << 20;

void ExpectFlatSince(int64_t resident) {
  const int64_t grown = ResidentBytes() - resident;
  std::printf("    resident memory grew by %lld KiB\n", static_cast<long long>(grown / 1024));
  EXPECT_LT(grown, kFlatBytes);
}

TEST_P(Load, SixteenThreadsOnOneChannelGetTheRightAnswers) {
  Start();
  constexpr int kThreads = 16;
  constexpr int kCalls = kSanitized ? 300 : 10'000;
  std::vector<std::thread> threads;
  std::atomic<int64_t> answered{0};
  int64_t resident = 0;
  std::barrier warm(kThreads, [&]() noexcept { resident = ResidentBytes(); });
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kCalls; ++i) {
        if (i == kCalls / 5) warm.arrive_and_wait();
        ClientContext context;
        Msg request = Number(int64_t{t} * 1'000'000 + i), response;
        request.mutable_data()->assign(static_cast<size_t>(i % 7 * 50), static_cast<char>('a' + t));
        const Status status = stub_->Unary(&context, request, &response);
        EXPECT_TRUE(status.ok()) << status.error_message();
        EXPECT_EQ(response.number(), request.number());
        EXPECT_EQ(response.data(), request.data());
        ++answered;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(answered, int64_t{kThreads} * kCalls);
  ExpectFlatSince(resident);
}

TEST_P(Load, ThreadsWithDeadlinesCancelsAndStreamsMixed) {
  Start();
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < (kSanitized ? 40 : 200); ++i) {
        ClientContext context;
        Msg message;
        switch ((t + i) % 4) {
          case 0: {
            context.set_deadline(std::chrono::steady_clock::now() + std::chrono::microseconds(50 + i * 3));
            const Status status = stub_->Unary(&context, Data(5000), &message);
            ASSERT_TRUE(status.ok() || status.error_code() == StatusCode::DEADLINE_EXCEEDED) << status.error_message();
            break;
          }
          case 1: {
            auto reader = stub_->Emit(&context, Number(50));
            int count = 0;
            while (reader->Read(&message)) ++count;
            ASSERT_EQ(count, 50);
            ASSERT_TRUE(reader->Finish().ok());
            break;
          }
          case 2: {
            auto stream = stub_->Talk(&context);
            ASSERT_TRUE(stream->Write(Number(i)) && stream->Read(&message));
            ASSERT_EQ(message.number(), i);
            if (i % 2 == 0) break;  // dropped
            stream->WritesDone();
            ASSERT_TRUE(stream->Finish().ok());
            break;
          }
          default: {
            const Status status = stub_->Unary(&context, Data(100'000), &message);
            ASSERT_TRUE(status.ok()) << status.error_code() << status.error_message();
            ASSERT_EQ(message.data().size(), 100'000u);
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ExpectAlive();
}

TEST_P(Load, AThousandConcurrentStreams) {
  constexpr int kStreams = kSanitized ? 200 : 1000;
  Start();
  std::vector<std::unique_ptr<ClientContext>> contexts;
  std::vector<std::unique_ptr<ipcrpc::ClientReaderWriter<Msg, Msg>>> streams;
  for (int i = 0; i < kStreams; ++i) {
    contexts.push_back(std::make_unique<ClientContext>());
    streams.push_back(stub_->Talk(contexts.back().get()));
    ASSERT_TRUE(streams.back()->Write(Number(i)));
  }
  Msg message;
  constexpr int kRounds = kSanitized ? 2 : 20;
  int64_t resident = 0;
  for (int round = 0; round < kRounds; ++round) {
    for (int i = 0; i < kStreams; ++i) {
      ASSERT_TRUE(streams[i]->Read(&message)) << i;
      ASSERT_EQ(message.number(), i + round);
      ASSERT_TRUE(streams[i]->Write(Number(i + round + 1)));
    }
    if (round == 1) resident = ResidentBytes();
  }
  ExpectFlatSince(resident);
  for (int i = 0; i < kStreams; ++i) {
    EXPECT_TRUE(streams[i]->WritesDone());
    EXPECT_TRUE(streams[i]->Read(&message));
    EXPECT_EQ(message.number(), i + kRounds);
    EXPECT_FALSE(streams[i]->Read(&message));
    EXPECT_TRUE(streams[i]->Finish().ok());
  }
}

using LoadOfConnections = Load;

TEST_P(LoadOfConnections, AThousandConnectionsLeaveTheThreadCountUnchanged) {
  // Message queues are counted by limits of the system that are far lower, and one that cannot be polled has a thread that
  // waits on it at either end.
  const bool queues = GetParam() == "mqueue" || GetParam() == "sysvmq";
  const int kConnections = queues ? 30 : kSanitized ? 200 : 1000;
  const size_t waiting = GetParam() == "sysvmq" ? 2 * (kConnections + 1) : 0;
  Start();
  std::vector<std::unique_ptr<Methods::Stub>> stubs;
  const auto call = [&](Methods::Stub& stub, int i) {
    ClientContext context;
    context.set_deadline(In(30s));
    Msg response;
    const Status status = stub.Unary(&context, Number(i), &response);
    ASSERT_TRUE(status.ok()) << i << ": " << status.error_message();
    ASSERT_EQ(response.number(), i);
  };
  for (int i = 0; i < 10; ++i) call(*stub_, i);
  const size_t threads = Holdings::Now().threads + waiting;
  for (int i = 0; i < kConnections; ++i) {
    stubs.push_back(NewStub());
    call(*stubs.back(), i);
    if (HasFatalFailure()) return;
  }
  EXPECT_LE(Holdings::Now().threads, threads);
  // Cold and hot ones in turn.
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < kConnections; i += 7) call(*stubs[i], i);
    for (int i = 0; i < 300; ++i) call(*stubs[i % 4], i);
  }
  EXPECT_LE(Holdings::Now().threads, threads);
}

// A connection that is never idle does not starve one that was.
TEST_P(LoadOfConnections, BusyConnectionsDoNotStarveColdOnes) {
  Start();
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (int t = 0; t < 3; ++t) {
    busy.emplace_back([&] {
      const auto stub = NewStub();
      ClientContext context;
      auto stream = stub->Talk(&context);
      std::thread writer([&] {
        const Msg message = Data(100);
        while (!stop && stream->Write(message)) {
        }
        stream->WritesDone();
      });
      for (Msg message; stream->Read(&message);) {
      }
      writer.join();
      EXPECT_TRUE(stream->Finish().ok());
    });
  }
  double worst = 0;
  for (int i = 0; i < 20; ++i) {
    std::this_thread::sleep_for(5ms);  // long enough to be cold
    const auto start = std::chrono::steady_clock::now();
    ClientContext context;
    Msg response;
    EXPECT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
    worst = std::max(worst, MsSince(start));
  }
  stop = true;
  for (std::thread& thread : busy) thread.join();
  std::printf("    slowest call beside busy connections: %.1f ms\n", worst);
  EXPECT_LT(worst, kSlower * 1000);
}

TEST_P(LoadOfConnections, NothingIsLeftOfConnectionsAndServers) {
  const auto round = [&](int connections) {
    LambdaService service;
    const std::string at = OtherAddress();
    const auto server = Serve(service, at);
    for (int i = 0; i < connections; ++i) {
      const auto stub = Methods::NewStub(ipcrpc::CreateChannel(at));
      ClientContext context;
      Msg response;
      ASSERT_TRUE(stub->Unary(&context, Data(i % 5 == 0 ? 100'000 : 10), &response).ok());
      ClientContext stream_context;
      auto stream = stub->Talk(&stream_context);
      ASSERT_TRUE(stream->Write(Msg()) && stream->Read(&response));
    }
  };
  round(1);
  Holdings before = Holdings::Now();
  round(50);
  EXPECT_TRUE(Eventually([&] {
    const Holdings now = Holdings::Now();
    return now.descriptors <= before.descriptors && now.mappings <= before.mappings && now.threads <= before.threads;
  })) << "descriptors " << before.descriptors << " -> " << Holdings::Now().descriptors << ", mappings " << before.mappings
      << " -> " << Holdings::Now().mappings << ", threads " << before.threads << " -> " << Holdings::Now().threads;
}

BEHAVIOUR_SUITE(Load);
BEHAVIOUR_SUITE_WITH_NAMES(LoadOfConnections);

}  // namespace
}  // namespace behaviour

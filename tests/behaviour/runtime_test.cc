// Servers on a runtime of their own: with threads, and driven by the program's own loop without any.
#include <poll.h>
#include <sched.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

class RuntimeTest : public BehaviourTest {
 protected:
  // One call to a server on that runtime: whether it came through.
  bool ServesOn(const std::shared_ptr<ipcrpc::Runtime>& runtime) {
    const auto server = Serve(service_, address(), [&](ipcrpc::ServerBuilder& builder) { builder.SetRuntime(runtime); });
    if (server == nullptr) return false;
    ClientContext context;
    Msg response;
    const bool served = NewStub()->Unary(&context, Number(1), &response).ok();
    threads_ = runtime->threads();
    server->Shutdown();
    return served;
  }

  size_t threads_ = 0;  // of the runtime, then
};
BEHAVIOUR_SUITE(RuntimeTest);

TEST_P(RuntimeTest, ServesFromTheProgramsOwnLoop) {
  const auto runtime = ipcrpc::Runtime::WithoutThreads();
  std::atomic<std::thread::id> handled_by{};
  service_.unary = [&](ServerContext*, const Msg* request, Msg* response) {
    handled_by = std::this_thread::get_id();
    *response = *request;
    return Status::OK;
  };
  auto server = Serve(service_, address(), [&](ipcrpc::ServerBuilder& builder) { builder.SetRuntime(runtime); });
  ASSERT_NE(server, nullptr);

  constexpr int kCalls = 2000;
  std::atomic<int> answered{0};
  std::thread client([&] {
    const auto stub = NewStub();
    for (int i = 0; i < kCalls; ++i) {
      ClientContext context;
      context.set_deadline(In(20s));
      Msg response;
      if (!stub->Unary(&context, Number(i), &response).ok() || response.number() != i) break;
      ++answered;
    }
  });
  const auto until = std::chrono::steady_clock::now() + 60s;
  while (answered < kCalls && std::chrono::steady_clock::now() < until) {
    pollfd entry = {.fd = runtime->fd(), .events = POLLIN, .revents = 0};
    if (poll(&entry, 1, 100) > 0) runtime->RunOnce();
  }
  client.join();
  EXPECT_EQ(answered, kCalls);
  EXPECT_EQ(handled_by.load(), std::this_thread::get_id());
  EXPECT_EQ(runtime->threads(), 0u);
  server->Shutdown();  // drives what is left by itself
}

TEST_P(RuntimeTest, BlockedHandlersHaveAThreadEachUpToTheCap) {
  constexpr int kCap = 8, kTooMany = 2, kPollers = 2;
  Event go;
  std::atomic<int> blocked{0};
  service_.talk = [&](ServerContext*, ServerTalk*) {
    ++blocked;
    EXPECT_TRUE(go.Wait());
    return Status::OK;
  };
  const auto runtime = ipcrpc::Runtime::WithThreads(kPollers, kCap);
  auto server = Serve(service_, address(), [&](ipcrpc::ServerBuilder& builder) { builder.SetRuntime(runtime); });
  ASSERT_NE(server, nullptr);
  const auto stub = NewStub();
  std::vector<std::unique_ptr<ClientContext>> contexts;
  std::vector<std::unique_ptr<ipcrpc::ClientReaderWriter<Msg, Msg>>> streams;
  for (int i = 0; i < kCap + kTooMany; ++i) {
    contexts.push_back(std::make_unique<ClientContext>());
    streams.push_back(stub->Talk(contexts.back().get()));
  }
  for (int i = 0; i < kTooMany; ++i) {
    const Status refused = streams.back()->Finish();
    EXPECT_EQ(refused.error_code(), StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_THAT(refused.error_message(), ::testing::HasSubstr("every worker"));
    streams.pop_back();
  }
  // A connection that cannot be polled has a worker, too.
  EXPECT_TRUE(Eventually([&] { return blocked >= kCap - 1; })) << blocked;
  EXPECT_LE(runtime->threads(), size_t{kPollers + kCap + /*housekeeping*/ 1});
  // What does not block goes on.
  ClientContext context;
  Msg response;
  EXPECT_TRUE(stub->Unary(&context, Number(1), &response).ok());
  go.Set();
  int ended = 0;
  for (const auto& stream : streams) ended += stream->Finish().ok() ? 1 : 0;
  EXPECT_EQ(ended, blocked);
  server->Shutdown();
}

TEST_P(RuntimeTest, WithThreadsItStopsThemAtItsEnd) {
  const Holdings before = Holdings::Now();
  {
    ASSERT_TRUE(ServesOn(ipcrpc::Runtime::WithThreads(/*pollers=*/2, /*max_workers=*/4)));
    EXPECT_GE(threads_, 2u);
  }
  // The client's own side, on the default runtime, may have started a housekeeping thread meanwhile.
  EXPECT_TRUE(Eventually([&] { return Holdings::Now().threads <= before.threads + 1; }));
}

TEST_P(RuntimeTest, PollersRunWhereTheyAreTold) {
  cpu_set_t allowed;
  ASSERT_EQ(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
  int last = CPU_SETSIZE - 1;
  while (!CPU_ISSET(static_cast<size_t>(last), &allowed)) --last;

  std::atomic<int> processors{0}, processor{-1};
  service_.unary = [&](ServerContext*, const Msg*, Msg*) {
    cpu_set_t here;
    sched_getaffinity(0, sizeof(here), &here);
    processors = CPU_COUNT(&here);
    processor = sched_getcpu();
    return Status::OK;
  };
  ASSERT_TRUE(ServesOn(ipcrpc::Runtime::WithThreads(/*pollers=*/1, /*max_workers=*/4, {last})));
  EXPECT_EQ(processors, 1);
  EXPECT_EQ(processor, last);
}

TEST_P(RuntimeTest, PollersRunAnywhereWhereTheyAreToldWrong) {
  EXPECT_TRUE(ServesOn(ipcrpc::Runtime::WithThreads(/*pollers=*/1, /*max_workers=*/4, {-1, CPU_SETSIZE})));
}

}  // namespace
}  // namespace behaviour

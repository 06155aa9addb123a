// Pools of workers behind a server of this process.
#include "ipcrpc/prefork.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <future>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "ipcrpc/argument_names.h"
#include "ipcrpc/generic/generic_stub.h"
#include "ipcrpc/ipcrpc.h"
#include "services/child/kit_for_test.h"
#include "transport/testing/temp_dir.h"
#include "workshop.ipcrpc.pb.h"

namespace ipcrpc {
namespace {

using testing::HasSubstr;
using workshop::Piece;
using workshop::Workshop;
using namespace std::chrono_literals;

class PreforkTest : public ChildrenTest {
 protected:
  enum class By { kService, kName };

  void Begin(int workers, By by = By::kService, SupervisedChild::Options worker = {}) {
    worker.argv = {IPCRPC_WORKER_PROGRAM};
    worker.name = "worker";
    pool_ = std::make_unique<PreforkPool>(PreforkPool::Options{.worker = std::move(worker), .workers = workers});
    ServerBuilder builder;
    builder.AddListeningPort("unix:front");
    if (by == By::kService) {
      builder.RegisterService(pool_->FrontOf<Workshop>());
    } else {
      builder.RegisterCallbackGenericService(pool_->FrontOf({"workshop.Workshop"}));
    }
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr) << builder.error();
    ASSERT_TRUE(pool_->Start().ok());
    const Status up = pool_->WaitUntilUp(kPatience);
    ASSERT_TRUE(up.ok()) << up.error_message();
    stub_ = Workshop::NewStub(CreateChannel("unix:front"));
  }
  void TearDown() override {
    stub_.reset();
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now() + 1s);
    server_.reset();
    pool_.reset();
    ChildrenTest::TearDown();
  }

  struct Made {
    Status status;
    Piece piece;
  };
  Made Make(const std::string& what) {
    ClientContext context;
    return Make(context, what);
  }
  Made Make(ClientContext& context, const std::string& what) {
    Piece piece;
    piece.set_text(what);
    Made made;
    made.status = stub_->Make(&context, piece, &made.piece);
    return made;
  }
  uint64_t InProgress() const {
    uint64_t all = 0;
    for (const PreforkPool::Worker& worker : pool_->workers()) all += worker.calls_in_progress;
    return all;
  }

  const TempRuntimeDir directory_;
  std::unique_ptr<PreforkPool> pool_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<Workshop::Stub> stub_;
};

// All shapes, whether the front knows the types or the name alone.
class PreforkShapesTest : public PreforkTest, public testing::WithParamInterface<bool> {
 protected:
  void SetUp() override { ASSERT_NO_FATAL_FAILURE(Begin(2, GetParam() ? By::kService : By::kName)); }
};
INSTANTIATE_TEST_SUITE_P(Front, PreforkShapesTest, testing::Bool(),
                         [](const auto& one) { return one.param ? "OfService" : "ByName"; });

TEST_P(PreforkShapesTest, Unary) {
  const Made made = Make("a bolt");
  EXPECT_TRUE(made.status.ok()) << made.status.error_message();
  EXPECT_EQ(made.piece.text(), "a bolt");
}

TEST_P(PreforkShapesTest, AnEmptyMessage) {
  const Made made = Make("");
  EXPECT_TRUE(made.status.ok()) << made.status.error_message();
}

TEST_P(PreforkShapesTest, ClientStreaming) {
  ClientContext context;
  Piece all;
  auto writer = stub_->Gather(&context, &all);
  for (int i = 0; i < 100; ++i) {
    Piece piece;
    piece.set_text(std::to_string(i));
    ASSERT_TRUE(writer->Write(piece));
  }
  writer->WritesDone();
  const Status status = writer->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(all.number(), 100);
  EXPECT_EQ(all.text(), "99");
}

TEST_P(PreforkShapesTest, ServerStreaming) {
  ClientContext context;
  Piece order;
  order.set_number(100);
  auto reader = stub_->Spread(&context, order);
  int next = 0;
  for (Piece piece; reader->Read(&piece); ++next) EXPECT_EQ(piece.number(), next);
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_EQ(next, 100);
}

TEST_P(PreforkShapesTest, BothWays) {
  ClientContext context;
  auto stream = stub_->Talk(&context);
  stream->WaitForInitialMetadata();  // the worker says it before it has read anything
  EXPECT_EQ(context.GetServerInitialMetadata().count("x-hello"), 1u);
  for (int i = 0; i < 100; ++i) {
    Piece piece, back;
    piece.set_number(i);
    ASSERT_TRUE(stream->Write(piece));
    ASSERT_TRUE(stream->Read(&back));
    EXPECT_EQ(back.number(), i);
  }
  stream->WritesDone();
  Piece none;
  EXPECT_FALSE(stream->Read(&none));
  const Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(status.error_message(), "no more");
}

TEST_P(PreforkShapesTest, StatusMetadataAndDeadlinePassThrough) {
  ClientContext failing;
  const Status status = Make(failing, "fail").status;
  EXPECT_EQ(status.error_code(), StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(status.error_message(), "it failed");
  EXPECT_EQ(status.error_details(), std::string("\x01\x00\xff", 3));
  EXPECT_EQ(failing.GetServerTrailingMetadata().find("x-why")->second, "because");

  ClientContext context;
  context.AddMetadata("x-in", "1");
  context.AddMetadata("x-in", "2");
  EXPECT_TRUE(Make(context, "metadata").status.ok());
  EXPECT_EQ(context.GetServerInitialMetadata().count("x-initial"), 2u);
  EXPECT_EQ(context.GetServerTrailingMetadata().count("x-trailing"), 2u);

  ClientContext bounded;
  bounded.set_deadline(std::chrono::system_clock::now() + 60s);
  const int left = Make(bounded, "deadline").piece.number();
  EXPECT_GT(left, 30'000);
  EXPECT_LE(left, 60'000);
}

TEST_P(PreforkShapesTest, ADeadlineEndsTheCallAtTheWorkerToo) {
  ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + 100ms);
  EXPECT_EQ(Make(context, "wait").status.error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Eventually([&] { return InProgress() == 0; }));
}

TEST_P(PreforkShapesTest, ACancelledCallIsCancelledAtTheWorker) {
  ClientContext context;
  std::thread canceller([&] {
    EXPECT_TRUE(Eventually([&] { return InProgress() == 1; }));
    context.TryCancel();
  });
  EXPECT_EQ(Make(context, "wait").status.error_code(), StatusCode::CANCELLED);
  canceller.join();
  EXPECT_TRUE(Eventually([&] { return InProgress() == 0; }));
}

TEST_P(PreforkShapesTest, DescriptorsGoThroughBothWays) {
  UniqueFd file(memfd_create("passed", MFD_CLOEXEC));
  ASSERT_EQ(pwrite(file.get(), "forth", 5, 0), 5);
  ClientContext context;
  context.AttachFd(std::move(file));
  EXPECT_EQ(Make(context, "fd").piece.text(), "forth");
  const std::vector<UniqueFd> back = context.TakeFds();
  ASSERT_EQ(back.size(), 1u);
  char text[8] = {};
  EXPECT_EQ(pread(back[0].get(), text, sizeof text, 0), 4);
  EXPECT_STREQ(text, "back");
}

TEST_P(PreforkShapesTest, AClientThatDoesNotReadHoldsTheWorkerBack) {
  constexpr int kCount = 4000;
  const std::string large(4096, 'x');
  ClientContext context;
  Piece order;
  order.set_number(kCount);
  order.set_text(large);
  auto reader = stub_->Spread(&context, order);
  Piece piece;
  ASSERT_TRUE(reader->Read(&piece));
  const auto memory_kib = [] {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("RssAnon:")) return std::stol(line.substr(8));
    }
    return 0L;
  };
  const long before = memory_kib();
  std::this_thread::sleep_for(300ms);
  // 16 MiB are to come. What the connections keep on the way is bounded by far less.
  EXPECT_LT(memory_kib() - before, 8 * 1024);
  int count = 1;
  while (reader->Read(&piece)) ++count;
  EXPECT_EQ(count, kCount);
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_F(PreforkTest, CallsGoToTheLeastBusy) {
  ASSERT_NO_FATAL_FAILURE(Begin(3));
  std::vector<std::thread> callers;
  std::vector<std::unique_ptr<ClientContext>> contexts;
  // Two of three have a call that lasts.
  for (int i = 0; i < 2; ++i) {
    contexts.push_back(std::make_unique<ClientContext>());
    callers.emplace_back([&, context = contexts.back().get()] { Make(*context, "wait"); });
  }
  ASSERT_TRUE(Eventually([&] { return InProgress() == 2; }));
  std::set<std::string> pids;
  for (int i = 0; i < 20; ++i) pids.insert(Make("pid").piece.text());
  EXPECT_EQ(pids.size(), 1u) << "the idle one";
  for (const auto& context : contexts) context->TryCancel();
  for (std::thread& caller : callers) caller.join();
  ASSERT_TRUE(Eventually([&] { return InProgress() == 0; }));
  for (int i = 0; i < 20; ++i) pids.insert(Make("pid").piece.text());
  EXPECT_EQ(pids.size(), 3u) << "all in turn";
}

TEST_F(PreforkTest, ACrashTakesOnlyTheCallsOfThatWorker) {
  ASSERT_NO_FATAL_FAILURE(Begin(2));
  Made first, second;
  std::thread one([&] { first = Make("wait"); });
  ASSERT_TRUE(Eventually([&] { return InProgress() == 1; }));
  std::thread two([&] {
    ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + 1s);
    second = Make(context, "wait");
  });
  ASSERT_TRUE(Eventually([&] { return InProgress() == 2; }));
  const std::vector<PreforkPool::Worker> workers = pool_->workers();
  Kill(workers[0].pid);
  one.join();
  two.join();
  EXPECT_EQ(first.status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_THAT(first.status.error_message(), HasSubstr("worker-1 was ended by signal 9 (Killed)"));
  EXPECT_EQ(second.status.error_code(), StatusCode::DEADLINE_EXCEEDED);
  ASSERT_TRUE(Eventually([&] { return pool_->workers()[0].up && pool_->workers()[0].restarts == 1; }));
  EXPECT_EQ(pool_->workers()[1].pid, workers[1].pid);
}

TEST_F(PreforkTest, WithoutAnyWorkerACallSaysWhy) {
  SupervisedChild::Options worker;
  worker.min_backoff = 10s;
  ASSERT_NO_FATAL_FAILURE(Begin(2, By::kService, worker));
  for (const PreforkPool::Worker& one : pool_->workers()) Kill(one.pid);
  ASSERT_TRUE(Eventually([&] { return !pool_->workers()[0].up && !pool_->workers()[1].up; }));
  const Status status = Make("a bolt").status;
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("was ended by signal 9 (Killed)"));
}

TEST_F(PreforkTest, OneOfTwoThatIsDownIsNotNoticed) {
  SupervisedChild::Options worker;
  worker.min_backoff = 10s;
  ASSERT_NO_FATAL_FAILURE(Begin(2, By::kService, worker));
  // Not even while its end is just being noticed: it has no call, so none is lost.
  const pid_t pid = pool_->workers()[0].pid;
  Kill(pid);
  int failed = 0;
  for (int i = 0; i < 1000; ++i) failed += Make("pid").status.ok() ? 0 : 1;
  // What was sent to it in the moment between is lost.
  EXPECT_LE(failed, 1);
}

TEST_F(PreforkTest, AWorkerThatHangsAsAWholeIsReplaced) {
  SupervisedChild::Options worker;
  worker.channel_arguments.SetInt(IPCRPC_ARG_KEEPALIVE_TIME_MS, 200);
  worker.channel_arguments.SetInt(IPCRPC_ARG_KEEPALIVE_TIMEOUT_MS, 2000);
  worker.channel_arguments.SetInt(IPCRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  worker.stop_grace = 100ms;
  ASSERT_NO_FATAL_FAILURE(Begin(1, By::kService, worker));
  const pid_t pid = pool_->workers()[0].pid;
  kill(pid, SIGSTOP);
  EXPECT_EQ(Make("pid").status.error_code(), StatusCode::UNAVAILABLE);
  ASSERT_TRUE(Eventually([&] { return pool_->workers()[0].up && pool_->workers()[0].pid != pid; }));
  EXPECT_TRUE(Make("pid").status.ok());
}

TEST_F(PreforkTest, TheProtosRulesHoldInFront) {
  ASSERT_NO_FATAL_FAILURE(Begin(1));
  ClientContext context;
  Piece piece;
  EXPECT_EQ(stub_->Forbidden(&context, Piece(), &piece).error_code(), StatusCode::PERMISSION_DENIED);
}

TEST_F(PreforkTest, AMethodOfAnotherServiceIsUnimplemented) {
  ASSERT_NO_FATAL_FAILURE(Begin(1, By::kName));
  GenericStub stub(CreateChannel("unix:front"));
  ClientContext context;
  ByteBuffer response;
  std::promise<Status> status;
  const Slice empty;
  const ByteBuffer nothing(&empty, 1);
  stub.UnaryCall(&context, "/workshop.Other/Make", StubOptions(), &nothing, &response, [&](Status s) { status.set_value(s); });
  EXPECT_EQ(status.get_future().get().error_code(), StatusCode::UNIMPLEMENTED);
}

// Calls end with OK or UNAVAILABLE, and of the latter there are at most as many as were under way when a worker was killed.
TEST_F(PreforkTest, ManyCrashesUnderLoad) {
  constexpr int kCrashes = 100, kCallers = 4;
  SupervisedChild::Options worker;
  worker.max_backoff = 20ms;
  ASSERT_NO_FATAL_FAILURE(Begin(3, By::kService, worker));
  std::atomic<bool> enough{false};
  std::atomic<int> good{0}, lost{0}, strange{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < kCallers; ++i) {
    callers.emplace_back([&] {
      while (!enough) {
        const Made made = Make("x");
        const bool ok = made.status.ok() && made.piece.text() == "x";
        const bool unavailable = made.status.error_code() == StatusCode::UNAVAILABLE;
        ++(ok ? good : unavailable ? lost : strange);
        if (!ok && !unavailable) ADD_FAILURE() << made.status.error_message();
      }
    });
  }
  for (int i = 0; i < kCrashes; ++i) {
    const auto all_up = [&] {
      for (const PreforkPool::Worker& one : pool_->workers()) {
        if (!one.up) return false;
      }
      return true;
    };
    ASSERT_TRUE(Eventually(all_up));
    const int so_far = good;
    ASSERT_TRUE(Eventually([&] { return good > so_far; }));
    const size_t victim = static_cast<size_t>(i) % 3;
    const PreforkPool::Worker before = pool_->workers()[victim];
    Kill(before.pid);
    ASSERT_TRUE(Eventually([&] { return pool_->workers()[victim].restarts > before.restarts; }));
  }
  enough = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(strange, 0);
  EXPECT_LE(lost, kCrashes * kCallers);
  EXPECT_GT(good, kCrashes);
  EXPECT_EQ(InProgress(), 0u);
}

// Calls of all shapes that are cancelled, late, left half way, and cut off by crashes: all of them end, and nothing of them stays.
TEST_F(PreforkTest, EveryWayToEndACallWhileWorkersCrash) {
  constexpr int kCrashes = 30;
  SupervisedChild::Options worker;
  worker.max_backoff = 20ms;
  ASSERT_NO_FATAL_FAILURE(Begin(2, By::kService, worker));
  std::atomic<bool> enough{false};
  std::atomic<int> ended{0};
  std::vector<std::thread> callers;
  for (unsigned seed = 1; seed <= 4; ++seed) {
    callers.emplace_back([&, seed] {
      std::minstd_rand random(seed);
      for (; !enough; ++ended) {
        ClientContext context;
        if (random() % 4 == 0) context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(random() % 5));
        Piece piece, back;
        piece.set_text("pid");
        piece.set_number(static_cast<int>(random() % 20));
        const bool cancels = random() % 4 == 0;
        const auto maybe_cancel = [&] {
          if (cancels) context.TryCancel();
        };
        switch (random() % 4) {
          case 0:
            stub_->Make(&context, piece, &back);
            break;
          case 1: {
            auto writer = stub_->Gather(&context, &back);
            for (int i = 0; i < piece.number() && writer->Write(piece); ++i) continue;
            maybe_cancel();
            writer->WritesDone();
            writer->Finish();
            break;
          }
          case 2: {
            auto reader = stub_->Spread(&context, piece);
            reader->Read(&back);
            maybe_cancel();
            while (reader->Read(&back)) continue;
            reader->Finish();
            break;
          }
          default: {
            auto stream = stub_->Talk(&context);
            for (int i = 0; i < piece.number() && stream->Write(piece) && stream->Read(&back); ++i) continue;
            maybe_cancel();
            stream->WritesDone();
            while (stream->Read(&back)) continue;
            stream->Finish();
          }
        }
      }
    });
  }
  for (int i = 0; i < kCrashes; ++i) {
    const size_t victim = static_cast<size_t>(i) % 2;
    ASSERT_TRUE(Eventually([&] { return pool_->workers()[victim].up; }));
    const int so_far = ended;
    ASSERT_TRUE(Eventually([&] { return ended >= so_far + 20; }));
    const PreforkPool::Worker before = pool_->workers()[victim];
    Kill(before.pid);
    ASSERT_TRUE(Eventually([&] { return pool_->workers()[victim].restarts > before.restarts; }));
  }
  enough = true;
  for (std::thread& caller : callers) caller.join();
  EXPECT_TRUE(Eventually([&] { return InProgress() == 0; }));
}

}  // namespace
}  // namespace ipcrpc

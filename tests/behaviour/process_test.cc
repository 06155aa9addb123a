// Processes that die, stop and fork.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

class Processes : public BehaviourTest {};

// The bound of the contract; sanitizers get more.
constexpr double kDeathMs = 100 * kSlower;

TEST_P(Processes, KilledServerEndsCallsThatWait) {
  for (int i = 0; i < 5; ++i) {
    Process server({"serve", address()});
    const auto stub = NewStub();
    Event called;
    std::thread caller([&] {
      ClientContext context;
      Msg request, response;
      request.set_text("hang");
      ClientContext first;
      EXPECT_TRUE(stub->Unary(&first, Msg(), &response).ok());
      called.Set();
      const Status status = stub->Unary(&context, request, &response);
      EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE) << status.error_message();
    });
    ASSERT_TRUE(called.Wait());
    std::this_thread::sleep_for(10ms);
    const auto start = std::chrono::steady_clock::now();
    server.Signal(SIGKILL);
    caller.join();
    EXPECT_LT(MsSince(start), kDeathMs);
  }
}

TEST_P(Processes, ExitIsNotHeldUpByAHandlerThatWaits) {
  Process process({"exit", address()});
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(process.Wait(), 0);
  EXPECT_LT(MsSince(start), 5000 * kSlower);
}

TEST_P(Processes, KilledServerEndsStreamsThatReadWriteOrDoNothing) {
  Process server({"serve", address()});
  const auto stub = NewStub();
  ClientContext read_context, write_context, slow_context, idle_context;
  Msg message, response;
  auto reader = stub->Talk(&read_context);
  ASSERT_TRUE(reader->Write(Msg()) && reader->Read(&message));
  auto idle = stub->Talk(&idle_context);
  ASSERT_TRUE(idle->Write(Msg()) && idle->Read(&message));
  auto writer = stub->Collect(&write_context, &response);
  auto slow = stub->Collect(&slow_context, &response);
  ASSERT_TRUE(writer->Write(Msg()) && slow->Write(Msg()));
  std::thread reading([&] {
    EXPECT_FALSE(reader->Read(&message));
    EXPECT_EQ(reader->Finish().error_code(), StatusCode::UNAVAILABLE);
  });
  std::thread writing([&] {
    const Msg bulk = Data(1000);
    while (writer->Write(bulk)) {
    }
    EXPECT_EQ(writer->Finish().error_code(), StatusCode::UNAVAILABLE);
  });
  std::thread writing_slowly([&] {
    while (slow->Write(Msg())) std::this_thread::sleep_for(5ms);
    EXPECT_EQ(slow->Finish().error_code(), StatusCode::UNAVAILABLE);
  });
  std::this_thread::sleep_for(30ms);
  const auto start = std::chrono::steady_clock::now();
  server.Signal(SIGKILL);
  reading.join();
  writing.join();
  writing_slowly.join();
  EXPECT_LT(MsSince(start), kDeathMs);
  EXPECT_FALSE(idle->Write(Msg()));
  EXPECT_EQ(idle->Finish().error_code(), StatusCode::UNAVAILABLE);
}

TEST_P(Processes, ANewServerStartsAtOnceOnTheNameOfAKilledOne) {
  const auto channel = ipcrpc::CreateChannel(address());
  const auto stub = Methods::NewStub(channel);
  for (int i = 0; i < 10; ++i) {
    Process server({"serve", address()});
    ASSERT_TRUE(server.ready());
    ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(In(20s));
    Msg response;
    const Status status = stub->Unary(&context, Number(i), &response);
    ASSERT_TRUE(status.ok()) << i << ": " << status.error_message();
    server.Kill();
    EXPECT_TRUE(Eventually([&] { return channel->GetState(false) != ipcrpc::ConnectivityState::READY; }));
  }
}

TEST_P(Processes, KilledClientHasItsCallsCancelled) {
  std::atomic<int> running{0}, cancelled{0};
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    ++running;
    Msg message;
    EXPECT_TRUE(stream->Read(&message));
    EXPECT_TRUE(stream->Write(message));
    EXPECT_FALSE(stream->Read(&message));
    if (context->IsCancelled()) ++cancelled;
    --running;
    return Status::OK;
  };
  Start();  // with the handler in place: ThreadSanitizer sees no order across processes
  Process client({"call", address(), "20"});
  EXPECT_EQ(running, 20);
  const auto start = std::chrono::steady_clock::now();
  client.Signal(SIGKILL);
  EXPECT_TRUE(Eventually([&] { return running == 0; }));
  EXPECT_LT(MsSince(start), kDeathMs);
  EXPECT_EQ(cancelled, 20);
  ExpectAlive();
  StopServer();
}

TEST_P(Processes, StoppedClientHoldsUpNobody) {
  Event go_on;
  std::atomic<int> writing{0};
  service_.talk = [&](ServerContext*, ServerTalk* stream) {
    Msg message;
    EXPECT_TRUE(stream->Read(&message));
    EXPECT_TRUE(stream->Write(message));
    ++writing;
    EXPECT_TRUE(go_on.Wait());
    const Msg bulk = Data(10'000);
    for (int i = 0; i < 100 && stream->Write(bulk); ++i) {
    }
    return Status::OK;
  };
  Start();  // with the handler in place: ThreadSanitizer sees no order across processes
  Process client({"call", address(), "5"});
  EXPECT_TRUE(Eventually([&] { return writing == 5; }));
  client.Stop();
  go_on.Set();
  for (int i = 0; i < 200; ++i) {
    ClientContext context;
    context.set_deadline(In(20s));
    Msg response;
    ASSERT_TRUE(stub_->Unary(&context, Data(1000), &response).ok());
  }
  client.Kill();
  StopServer();
}

// Not under ThreadSanitizer: there a forked child of a program with threads cannot start any.
#if !defined(__SANITIZE_THREAD__)

// Runs in a child; what it returns is its exit status.
int InChild(const std::function<int()>& child) {
  const pid_t pid = fork();
  if (pid == 0) _exit(child());
  int status = -1;
  waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

TEST_P(Processes, ForkedChildrenAreToldAndMayMakeTheirOwnChannel) {
  Process server({"serve", address()});
  auto channel = ipcrpc::CreateChannel(address());
  auto stub = Methods::NewStub(channel);
  Msg response;
  ClientContext before;
  ASSERT_TRUE(stub->Unary(&before, Msg(), &response).ok());
  ClientContext stream_context;
  auto stream = stub->Talk(&stream_context);
  ASSERT_TRUE(stream->Write(Msg()) && stream->Read(&response));
  EXPECT_EQ(InChild([&] {
              ClientContext context;
              Msg answer;
              const Status inherited = stub->Unary(&context, Msg(), &answer);
              if (inherited.error_code() != StatusCode::FAILED_PRECONDITION) return 1;
              if (inherited.error_message().find("fork") == std::string::npos) return 2;
              if (channel->WaitForConnected(In(1s))) return 3;
              // Its own works, also its own server.
              for (int i = 0; i < 3; ++i) {
                const auto own = NewStub();
                ClientContext own_context;
                own_context.set_deadline(In(10s));
                if (!own->Unary(&own_context, Number(i), &answer).ok() || answer.number() != i) return 4;
              }
              LambdaService service;
              const std::string at = OtherAddress("-child");
              const auto own_server = Serve(service, at);
              const auto own = Methods::NewStub(ipcrpc::CreateChannel(at));
              ClientContext own_context;
              own_context.set_deadline(In(10s));
              if (!own->Unary(&own_context, Number(5), &answer).ok()) return 5;
              // What was inherited goes without harm to the parent.
              stream.reset();
              stub.reset();
              channel.reset();
              return 0;
            }),
            0);
  EXPECT_TRUE(stream->Write(Number(9)));
  EXPECT_TRUE(stream->Read(&response));
  EXPECT_EQ(response.number(), 9);
  ClientContext after;
  EXPECT_TRUE(stub->Unary(&after, Msg(), &response).ok());
  EXPECT_EQ(InChild([] { exit(0); return 1; }), 0);  // with everything that runs at exit
  ClientContext last;
  EXPECT_TRUE(stub->Unary(&last, Msg(), &response).ok());
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_P(Processes, ForkedChildrenOfAServerLeaveItAlone) {
  Start();
  Msg response;
  ClientContext before;
  ASSERT_TRUE(stub_->Unary(&before, Msg(), &response).ok());
  EXPECT_EQ(InChild([&] {
              stub_.reset();
              channel_.reset();
              server_.reset();
              return 0;
            }),
            0);
  ClientContext after;
  after.set_deadline(In(10s));
  EXPECT_TRUE(stub_->Unary(&after, Msg(), &response).ok());
  ExpectAlive();
}

#endif

BEHAVIOUR_SUITE_ACROSS_PROCESSES(Processes);

}  // namespace
}  // namespace behaviour

// Servers that a client starts for itself, and addresses that are good for one connection: how they end.
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

using ::testing::HasSubstr;

std::string Exec(const std::string& command) { return "exec:" + command; }
std::string ServeAtStdio() { return Exec(std::string("exec ") + BEHAVIOUR_PEER + " serve stdio: 2>/dev/null"); }

Status Call(Methods::Stub& stub, Msg* response = nullptr, const std::string& text = "") {
  ClientContext context;
  context.set_deadline(In(20s));
  Msg request, ignored;
  request.set_number(7);
  request.set_text(text);
  return stub.Unary(&context, request, response == nullptr ? &ignored : response);
}

// The test has no other children: so a child that is left, alive or not, is one of the library's.
bool HasChild() {
  siginfo_t info = {};
  return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

std::vector<pid_t> Children() {
  std::vector<pid_t> children;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream list(entry.path() / "children");
    for (pid_t pid; list >> pid;) children.push_back(pid);
  }
  return children;
}

TEST(Exec, CallsAndStreamsReachAServerThatIsStartedForThem) {
  {
    const auto stub = Methods::NewStub(ipcrpc::CreateChannel(ServeAtStdio()));
    Msg response;
    ASSERT_TRUE(Call(*stub, &response).ok());
    EXPECT_EQ(response.number(), 7);
    ClientContext context;
    auto stream = stub->Talk(&context);
    for (int i = 0; i < 100; ++i) {
      const Msg message = Data(static_cast<size_t>(i) * 3000);
      ASSERT_TRUE(stream->Write(message) && stream->Read(&response));
      EXPECT_EQ(response.data(), message.data());
    }
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
  }
  EXPECT_TRUE(Eventually([] { return !HasChild(); })) << "the server does not end with its client";
}

TEST(Exec, SaysHowTheCommandEnded) {
  const std::pair<const char*, const char*> cases[] = {
      {"nosuchcommand 2>/dev/null", "exec: 'nosuchcommand 2>/dev/null' exited with code 127"},
      {"exit 3", "exited with code 3"},
      {"kill -9 $$", "was ended by signal 9"},
      {"true", "exited with code 0"},
  };
  for (const auto& [command, how] : cases) {
    const auto stub = Methods::NewStub(ipcrpc::CreateChannel(Exec(command)));
    const Status status = Call(*stub);
    EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE) << command;
    EXPECT_THAT(status.error_message(), HasSubstr(how));
  }
  EXPECT_TRUE(Eventually([] { return !HasChild(); }));
}

TEST(Exec, ACommandThatSpeaksSomethingElseIsNoServer) {
  const auto stub = Methods::NewStub(ipcrpc::CreateChannel(Exec("echo hello; exec sleep 100")));
  const Status status = Call(*stub);
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.error_message(), HasSubstr("does not speak ipcrpc"));
}

TEST(Exec, AKilledServerEndsItsCallsAndTheNextOneStartsAnother) {
  const auto stub = Methods::NewStub(ipcrpc::CreateChannel(ServeAtStdio()));
  ASSERT_TRUE(Call(*stub).ok());
  std::thread killer([] {
    const std::vector<pid_t> children = Children();
    ASSERT_FALSE(children.empty());
    std::this_thread::sleep_for(50ms);
    for (const pid_t pid : children) kill(pid, SIGKILL);
  });
  const Status status = Call(*stub, nullptr, "hang");
  killer.join();
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_THAT(status.error_message(), HasSubstr("was ended by signal 9"));
  EXPECT_TRUE(Call(*stub).ok());
}

// It ignores the end of its input, and SIGTERM.
TEST(Exec, ACommandThatDoesNotEndIsMadeTo) {
  const auto start = std::chrono::steady_clock::now();
  {
    const auto stub = Methods::NewStub(ipcrpc::CreateChannel(Exec("trap '' TERM; exec sleep 1000")));
    ClientContext context;
    context.set_deadline(In(100ms));
    Msg response;
    EXPECT_EQ(stub->Unary(&context, Msg(), &response).error_code(), StatusCode::DEADLINE_EXCEEDED);
  }
  EXPECT_LT(MsSince(start), kSlower * 1000) << "the client waits for it";
  EXPECT_TRUE(Eventually([] { return !HasChild(); }));
}

// Other children of the program are not collected.
TEST(Exec, LeavesOtherChildrenAlone) {
  const pid_t own = fork();
  if (own == 0) _exit(42);
  {
    const auto stub = Methods::NewStub(ipcrpc::CreateChannel(ServeAtStdio()));
    EXPECT_TRUE(Call(*stub).ok());
  }
  EXPECT_TRUE(Eventually([] { return Children().size() == 1; }));
  int status = 0;
  EXPECT_EQ(waitpid(own, &status, 0), own);
  EXPECT_EQ(WEXITSTATUS(status), 42);
}

class OneConnection : public BehaviourTest {};

TEST_P(OneConnection, EndsWaitOfItsServer) {
  server_ = Serve(service_, address());
  Event over;
  std::thread waiter([&] {
    server_->Wait();
    over.Set();
  });
  {
    const auto stub = NewStub();
    EXPECT_TRUE(Call(*stub).ok());
    EXPECT_FALSE(over.set());
  }
  EXPECT_TRUE(over.Wait());
  waiter.join();
}

TEST_P(OneConnection, DoesNotEndAServerThatHasAnotherAddress) {
  server_ = Serve(service_, address(), [](ipcrpc::ServerBuilder& builder) { builder.AddListeningPort("unix:other"); });
  Event over;
  std::thread waiter([&] {
    server_->Wait();
    over.Set();
  });
  { EXPECT_TRUE(Call(*NewStub()).ok()); }
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Call(*Methods::NewStub(ipcrpc::CreateChannel("unix:other"))).ok());
  EXPECT_FALSE(over.set());
  server_->Shutdown();
  waiter.join();
}

TEST_P(OneConnection, IsGoodForOne) {
  Start();
  EXPECT_TRUE(Call(*stub_).ok());
  const Status second = Call(*NewStub());
  EXPECT_EQ(second.error_code(), StatusCode::UNAVAILABLE);
  EXPECT_THAT(second.error_message(), HasSubstr("has carried a link already"));
  EXPECT_TRUE(Call(*stub_).ok());
  StopServer();
  EXPECT_EQ(Call(*stub_).error_code(), StatusCode::UNAVAILABLE);
}

INSTANTIATE_TEST_SUITE_P(All, OneConnection, ::testing::ValuesIn(kOneConnection), SchemeName);

}  // namespace
}  // namespace behaviour

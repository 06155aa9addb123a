// The automatic choice of a transport: what `ipc:NAME` takes, what it says of it, and what it does when nothing works.
#include <filesystem>

#include "ipcrpc/log.h"
#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;
using Refusal = ipcrpc::TransportInfo::Refusal;

// What the library says while it lives.
class LogCapture {
 public:
  LogCapture() {
    ipcrpc::SetLogSink([this](ipcrpc::LogSeverity severity, std::string_view message) {
      (severity == ipcrpc::LogSeverity::kInfo ? infos : warnings).emplace_back(message);
    });
  }
  ~LogCapture() { ipcrpc::SetLogSink({}); }
  std::vector<std::string> infos, warnings;
};

class AutomaticTest : public ::testing::Test {
 protected:
  AutomaticTest() : name_(FreshName()) {}

  // A server on these addresses of the name, all at once.
  std::unique_ptr<ipcrpc::Server> Serve(std::initializer_list<std::string> schemes) {
    ipcrpc::ServerBuilder builder;
    for (const std::string& scheme : schemes) builder.AddListeningPort(scheme + ":" + name_);
    builder.RegisterService(&service_);
    std::unique_ptr<ipcrpc::Server> server = builder.BuildAndStart();
    EXPECT_NE(server, nullptr) << builder.error();
    return server;
  }

  Status Call(const std::shared_ptr<Channel>& channel) {
    ClientContext context;
    context.set_deadline(In(20s));
    Msg response;
    return Methods::NewStub(channel)->Unary(&context, Number(1), &response);
  }

  LambdaService service_;
  const std::string name_;
};

TEST_F(AutomaticTest, TakesTheFastestOfAllThatTheServerOffers) {
  const auto server = Serve({"unix", "shm"});
  for (const std::string& target : {"ipc:" + name_, name_}) {
    LogCapture log;
    const auto channel = ipcrpc::CreateChannel(target);
    EXPECT_THAT(channel->GetTransportInfo().place, IsEmpty());
    ASSERT_TRUE(Call(channel).ok());
    const ipcrpc::TransportInfo info = channel->GetTransportInfo();
    EXPECT_THAT(info.place, StartsWith("shm:"));
    EXPECT_THAT(info.peer, HasSubstr("pid " + std::to_string(getpid())));
    EXPECT_THAT(info.refused, IsEmpty());
    ASSERT_TRUE(Call(channel).ok());
    EXPECT_THAT(log.infos, ElementsAre(AllOf(HasSubstr(target), HasSubstr("shm:"))));
    EXPECT_THAT(log.warnings, IsEmpty());
  }
}

TEST_F(AutomaticTest, GoesOnToTheNextAndSaysOnceWhy) {
  const auto server = Serve({"unix"});
  LogCapture log;
  const auto channel = ipcrpc::CreateChannel(name_);
  ASSERT_TRUE(Call(channel).ok());
  const ipcrpc::TransportInfo info = channel->GetTransportInfo();
  EXPECT_THAT(info.place, StartsWith("unix:"));
  EXPECT_THAT(info.refused, ElementsAre(AllOf(Field(&Refusal::transport, "shm"),
                                              Field(&Refusal::reason, HasSubstr(name_ + ".shm does not exist")))));
  ASSERT_TRUE(Call(channel).ok());
  EXPECT_THAT(log.infos, ElementsAre(AllOf(HasSubstr("unix:"), HasSubstr("not by shm"))));
  EXPECT_THAT(log.warnings, IsEmpty());
}

// A server that listens by shm but refuses us (here: the name is no socket of its kind) is worth a warning.
TEST_F(AutomaticTest, WarnsWhenKeptFromABetterOne) {
  const auto server = Serve({"unix"});
  const std::string directory = getenv("IPCRPC_RUNTIME_DIR");
  std::filesystem::create_symlink(name_ + ".sock", directory + "/" + name_ + ".shm");
  LogCapture log;
  ASSERT_TRUE(Call(ipcrpc::CreateChannel(name_)).ok());
  EXPECT_THAT(log.warnings, ElementsAre(AllOf(HasSubstr("unix:"), HasSubstr("not by shm"), HasSubstr("another type"))));
  std::filesystem::remove(directory + "/" + name_ + ".shm");
}

TEST_F(AutomaticTest, ChoosesAnewWhenItConnectsAgain) {
  auto server = Serve({"unix"});
  const auto channel = ipcrpc::CreateChannel(name_);
  ASSERT_TRUE(Call(channel).ok());
  server->Shutdown(In(0ms));
  server.reset();
  ASSERT_TRUE(Eventually([&] { return channel->GetTransportInfo().place.empty(); }));
  EXPECT_EQ(Call(channel).error_code(), StatusCode::UNAVAILABLE);
  EXPECT_THAT(channel->GetTransportInfo().error, HasSubstr(name_ + ".sock does not exist"));
  server = Serve({"shm", "unix"});
  ASSERT_TRUE(Call(channel).ok());
  EXPECT_THAT(channel->GetTransportInfo().place, StartsWith("shm:"));
}

TEST_F(AutomaticTest, AnErrorHasEveryReason) {
  const auto channel = ipcrpc::CreateChannel(name_);
  const Status status = Call(channel);
  EXPECT_EQ(status.error_code(), StatusCode::UNAVAILABLE);
  for (const Refusal& refusal : channel->GetTransportInfo().refused) {
    EXPECT_THAT(status.error_message(), HasSubstr(refusal.reason));
  }
  EXPECT_THAT(status.error_message(), AllOf(HasSubstr(name_ + ".shm"), HasSubstr(name_ + ".sock")));
}

TEST_F(AutomaticTest, ParametersAreForThoseThatKnowThem) {
  const auto server = Serve({"unix", "shm"});
  const auto channel = ipcrpc::CreateChannel(name_ + "?spin=off&uid=" + std::to_string(getuid()));
  ASSERT_TRUE(Call(channel).ok());
  const Status wrong = Call(ipcrpc::CreateChannel(name_ + "?rin=64K"));
  EXPECT_THAT(wrong.error_message(), AllOf(HasSubstr("no parameter 'rin'"), HasSubstr("did you mean 'ring'?")));
}

TEST_F(AutomaticTest, WaitsForReady) {
  const auto channel = ipcrpc::CreateChannel(name_);
  Status status;
  std::thread caller([&] {
    ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(In(20s));
    Msg response;
    status = Methods::NewStub(channel)->Unary(&context, Number(1), &response);
  });
  ASSERT_TRUE(Eventually([&] { return !channel->GetTransportInfo().error.empty(); }));
  const auto server = Serve({"unix"});
  caller.join();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

}  // namespace
}  // namespace behaviour

// File descriptors as arguments between processes, of which one is at its limits or dies; and those of the callback API.
#include <fcntl.h>
#include <sys/resource.h>

#include "tests/behaviour/callback_kit.h"
#include "tests/behaviour/fd_kit.h"
#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

using ::testing::HasSubstr;

class FdProcesses : public BehaviourTest {
 protected:
  static bool passes() { return PassesFds(scheme()); }
  void Connect() {
    channel_ = ipcrpc::CreateChannel(address());
    stub_ = Methods::NewStub(channel_);
  }
  // One descriptor there and back.
  Status PassOne(std::string* text) {
    ClientContext context;
    context.set_deadline(In(20s));
    context.AttachFd(FileWith("there and back"));
    Msg response;
    Status status = stub_->Unary(&context, Number(1), &response);
    for (const UniqueFd& fd : context.TakeFds()) *text = TextOf(fd);
    return status;
  }
};

TEST_P(FdProcesses, CarryThemThereAndBack) {
  const Process server({"serve", address()});
  Connect();
  std::string text;
  const Status status = PassOne(&text);
  EXPECT_EQ(status.error_code(), passes() ? StatusCode::OK : StatusCode::FAILED_PRECONDITION) << status.error_message();
  EXPECT_EQ(text, passes() ? "there and back" : "");
}

// The call fails; the connection lives on.
TEST_P(FdProcesses, AtTheServersLimitOfOpenFilesTheCallFails) {
  if (!passes() || kSanitized) return;  // a sanitizer needs a pipe to look at memory, and takes what it cannot look at for broken
  const Process server({"serve", address()});
  Connect();
  std::string text;
  ASSERT_TRUE(PassOne(&text).ok());
  rlimit before, none;
  ASSERT_EQ(prlimit(server.pid(), RLIMIT_NOFILE, nullptr, &before), 0);
  none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
  ASSERT_EQ(prlimit(server.pid(), RLIMIT_NOFILE, &none, nullptr), 0);
  const Status status = PassOne(&text);
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr("limit of open files"));
  ASSERT_EQ(prlimit(server.pid(), RLIMIT_NOFILE, &before, nullptr), 0);
  text.clear();
  const Status again = PassOne(&text);
  EXPECT_TRUE(again.ok()) << again.error_message();
  EXPECT_EQ(text, "there and back");
}

TEST_P(FdProcesses, AServerThatIsKilledLeavesNone) {
  if (!passes()) return;
  const size_t before = Holdings::Now().descriptors;
  {
    Process server({"serve", address()});
    Connect();
    std::vector<std::unique_ptr<ClientContext>> contexts;
    std::vector<std::thread> writers;
    std::atomic<int> echoes{0};
    for (int i = 0; i < 4; ++i) {
      ClientContext* const context = contexts.emplace_back(std::make_unique<ClientContext>()).get();
      writers.emplace_back([&, context] {
        const auto stream = stub_->Talk(context);
        Msg message;
        do {
          context->AttachFd(FileWith("in flight"));
          ++echoes;
        } while (stream->Write(Number(1)) && stream->Read(&message));
        EXPECT_EQ(stream->Finish().error_code(), StatusCode::UNAVAILABLE);
      });
    }
    EXPECT_TRUE(Eventually([&] { return echoes > 100; }));
    server.Kill();
    for (std::thread& writer : writers) writer.join();
    stub_.reset();
    channel_.reset();
  }
  EXPECT_TRUE(Eventually([&] { return Holdings::Now().descriptors <= before + 2; })) << before << " -> " << Holdings::Now().descriptors;
}

TEST_P(FdProcesses, AClientThatIsKilledLeavesNone) {
  if (!passes()) return;
  std::atomic<int> came{0};
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    for (Msg message; stream->Read(&message); ++came) {
      if (message.number() % 2 == 0) {
        for (UniqueFd& fd : context->TakeFds()) context->AttachFd(std::move(fd));
      }
      if (!stream->Write(message)) break;
    }
    return Status::OK;
  };
  Start();
  ExpectAlive();
  const size_t before = Holdings::Now().descriptors;
  {
    Process client({"pass", address()});
    EXPECT_TRUE(Eventually([&] { return came > 100; }));
    client.Kill();
  }
  EXPECT_TRUE(Eventually([&] { return Holdings::Now().descriptors <= before; })) << before << " -> " << Holdings::Now().descriptors;
  ExpectAlive();
  StopServer();
}

BEHAVIOUR_SUITE_ACROSS_PROCESSES(FdProcesses);

// ---- the callback API ------------------------------------------------------------------------

class CallbackFds : public CallbackTest {
 protected:
  static bool passes() { return PassesFds(scheme()); }
};

TEST_P(CallbackFds, GoWithARequestAndAResponse) {
  callback_service_.unary = [](CallbackServerContext* context, const Msg*, Msg* response) {
    std::vector<UniqueFd> fds = context->TakeFds();
    if (!fds.empty()) response->set_text(TextOf(fds[0]));
    for (UniqueFd& fd : fds) context->AttachFd(std::move(fd));
    auto* const reactor = context->DefaultReactor();
    reactor->Finish(Status::OK);
    return reactor;
  };
  StartCallback();
  ClientContext context;
  context.AttachFd(FileWith("by callback"));
  Msg request, response;
  Event done;
  Status status;
  stub_->async()->Unary(&context, &request, &response, [&](Status end) {
    status = std::move(end);
    done.Set();
  });
  ASSERT_TRUE(done.Wait());
  if (!passes()) {
    EXPECT_EQ(status.error_code(), StatusCode::FAILED_PRECONDITION) << status.error_message();
    return;
  }
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.text(), "by callback");
  const std::vector<UniqueFd> fds = context.TakeFds();
  ASSERT_EQ(fds.size(), 1u);
  EXPECT_EQ(TextOf(fds[0]), "by callback");
}

// Echoes each message with its descriptors.
class FdEcho final : public ServerTalks {
 public:
  explicit FdEcho(CallbackServerContext* context) {
    on_read = [this, context](bool ok) {
      if (!ok) return Finish(Status::OK);
      for (UniqueFd& fd : context->TakeFds()) context->AttachFd(std::move(fd));
      StartWrite(&message_);
    };
    on_write = [this](bool ok) {
      if (ok) StartRead(&message_);
    };
    on_cancel = [this] { Finish(Status::CANCELLED); };
    StartRead(&message_);
  }

 private:
  Msg message_;
};

TEST_P(CallbackFds, GoWithTheMessagesOfAStream) {
  callback_service_.talk = [](CallbackServerContext* context) { return new FdEcho(context); };
  StartCallback();
  for (const bool corked : {false, true}) {
    ClientTalks talk;
    talk.context.set_initial_metadata_corked(corked);
    constexpr int kMessages = 50;
    int written = 0, read = 0;
    Msg out, in;
    const auto write = [&] {
      for (int j = 0; j <= written % 3; ++j) talk.context.AttachFd(FileWith(std::to_string(written)));
      out.set_number(written++);
      talk.StartWrite(&out);
    };
    talk.on_read = [&](bool ok) {
      if (!ok) return;
      const std::vector<UniqueFd> fds = talk.context.TakeFds();
      EXPECT_EQ(fds.size(), static_cast<size_t>(read % 3 + 1));
      for (const UniqueFd& fd : fds) EXPECT_EQ(TextOf(fd), std::to_string(read));
      if (++read == kMessages) {
        talk.StartWritesDone();
      } else {
        write();
      }
      talk.StartRead(&in);
    };
    stub_->async()->Talk(&talk.context, &talk);
    write();
    talk.StartRead(&in);
    talk.StartCall();
    const StatusCode code = talk.Code();
    EXPECT_EQ(code, passes() ? StatusCode::OK : StatusCode::FAILED_PRECONDITION) << talk.status.error_message();
    EXPECT_EQ(read, passes() ? kMessages : 0);
  }
}

BEHAVIOUR_SUITE(CallbackFds);

// ---- the automatic choice --------------------------------------------------------------------

// What was connected by decides, not the address.
TEST(AutomaticFds, TheConnectedTransportDecides) {
  for (const std::string scheme : {"unix", "mqueue"}) {
    const std::string name = FreshName();
    LambdaService service;
    ipcrpc::ServerBuilder builder;
    builder.AddListeningPort(scheme + ":" + name).RegisterService(&service);
    const std::unique_ptr<ipcrpc::Server> server = builder.BuildAndStart();
    ASSERT_NE(server, nullptr) << builder.error();
    const auto stub = Methods::NewStub(ipcrpc::CreateChannel("ipc:" + name));
    ClientContext context;
    context.AttachFd(FileWith("either"));
    Msg response;
    const Status status = stub->Unary(&context, Msg(), &response);
    EXPECT_EQ(status.error_code(), PassesFds(scheme) ? StatusCode::OK : StatusCode::FAILED_PRECONDITION) << status.error_message();
    server->Shutdown(In(0ms));
  }
}

}  // namespace
}  // namespace behaviour

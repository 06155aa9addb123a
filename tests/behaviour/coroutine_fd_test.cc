// File descriptors as arguments of calls that coroutines wait for, and of handlers that are coroutines.
#include "tests/behaviour/coroutine_kit.h"
#include "tests/behaviour/fd_kit.h"

namespace behaviour {
namespace {

// All that the last message brought, in order.
std::string TakenBy(auto& context) {
  std::string text;
  for (const UniqueFd& fd : context.TakeFds()) text += TextOf(fd) + ";";
  return text;
}

class CoroutineFds : public CoroutineTest {
 protected:
  ~CoroutineFds() override { StopServer(); }

  static bool passes() { return PassesFds(scheme()); }
  static void ExpectRefused(const Status& status) { ExpectFdsRefused(status, scheme()); }

  // Each message comes back with the texts of what it brought, and two more descriptors if that was anything.
  void AnswerEach() {
    coroutine_service_.talk = [](CallbackServerContext* context, CoroutineTalk* stream) -> Task<Status> {
      for (Msg message; co_await stream->Read(&message);) {
        message.set_text(TakenBy(*context));
        if (!message.text().empty()) {
          context->AttachFd(FileWith("for " + message.text()));
          context->AttachFd(FileWith("too"));
        }
        if (!co_await stream->Write(message)) break;
      }
      co_return Status::OK;
    };
  }
};

TEST_P(CoroutineFds, GoWithARequestAndAResponse) {
  std::atomic<int> ran{0};
  coroutine_service_.unary = [&](CallbackServerContext* context, const Msg*, Msg* response) -> Task<Status> {
    ++ran;
    response->set_text(TakenBy(*context));
    EXPECT_TRUE(context->TakeFds().empty()) << "once";
    if (!response->text().empty()) context->AttachFd(FileWith("answer"));
    co_return Status::OK;
  };
  StartCoroutines();
  const auto ask = [&]() -> Task<> {
    ClientContext context;
    context.AttachFd(FileWith("first"));
    context.AttachFd(FileWith("second"));
    const Msg request;
    Msg response;
    const Status status = co_await stub_->co()->Unary(&context, request, &response);
    if (!passes()) {
      ExpectRefused(status);
      EXPECT_EQ(ran, 0);
      co_return;
    }
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.text(), "first;second;");
    EXPECT_EQ(TakenBy(context), "answer;");
    EXPECT_TRUE(context.TakeFds().empty()) << "once";
  };
  SyncWait(ask());
  ExpectAlive();
}

// Each with its own message, those without any between them; at both sides.
TEST_P(CoroutineFds, GoWithTheMessagesOfAStreamInOrder) {
  AnswerEach();
  StartCoroutines();
  const auto talk = [&]() -> Task<> {
    ClientContext context;
    auto call = stub_->co()->Talk(&context);
    Msg message = Number(-1);
    EXPECT_TRUE(co_await call.Write(message));
    EXPECT_TRUE(co_await call.Read(&message));
    EXPECT_EQ(message.text(), "");
    if (!passes()) {
      context.AttachFd(FileWith("no"));
      EXPECT_FALSE(co_await call.Write(message));
      EXPECT_FALSE(co_await call.Read(&message));
      ExpectRefused(co_await call.Finish());
      co_return;
    }
    for (int i = 0; i < 50; ++i) {
      std::string sent;
      for (int j = 0; j < i % 4; ++j) {
        const std::string text = std::to_string(i) + "." + std::to_string(j);
        context.AttachFd(FileWith(text));
        sent += text + ";";
      }
      message = Data(static_cast<size_t>(i % 7) * 20'000);
      message.set_number(i);
      EXPECT_TRUE(co_await call.Write(message));
      EXPECT_TRUE(co_await call.Read(&message));
      EXPECT_EQ(message.number(), i);
      EXPECT_EQ(message.text(), sent);
      EXPECT_EQ(TakenBy(context), sent.empty() ? "" : "for " + sent + ";too;");
    }
    EXPECT_TRUE(co_await call.WritesDone());
    EXPECT_FALSE(co_await call.Read(&message));
    EXPECT_TRUE((co_await call.Finish()).ok());
    EXPECT_TRUE(context.TakeFds().empty());
  };
  SyncWait(talk());
  ExpectAlive();
}

// What is attached before a call begins goes with its first message, whenever that is written; what is added meanwhile, behind it.
TEST_P(CoroutineFds, WaitForTheFirstMessage) {
  coroutine_service_.collect = [](CallbackServerContext* context, CoroutineCollector* reader, Msg* response) -> Task<Status> {
    EXPECT_TRUE(context->TakeFds().empty());
    for (Msg message; co_await reader->Read(&message);) response->set_text(response->text() + "|" + TakenBy(*context));
    if (response->text().size() > 1) context->AttachFd(FileWith("sum"));
    co_return Status::OK;
  };
  StartCoroutines();
  const auto collect = [&](bool corked) -> Task<> {
    ClientContext context;
    context.set_initial_metadata_corked(corked);
    context.AttachFd(FileWith("before"));
    Msg response;
    auto call = stub_->co()->Collect(&context, &response);
    context.AttachFd(FileWith("meanwhile"));
    Msg message;
    EXPECT_EQ(co_await call.Write(message), passes());
    if (passes()) {
      EXPECT_TRUE(co_await call.Write(message));
      context.AttachFd(FileWith("third"));
      EXPECT_TRUE(co_await call.WriteLast(message));
    }
    const Status status = co_await call.Finish();
    if (!passes()) {
      ExpectRefused(status);
      co_return;
    }
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.text(), "|before;meanwhile;||third;");
    EXPECT_EQ(TakenBy(context), "sum;");
  };
  SyncWait(collect(false));
  SyncWait(collect(true));
}

// The next message takes the place of the last, not the end of the stream and of the call.
TEST_P(CoroutineFds, OfTheLastMessageOutliveTheCall) {
  coroutine_service_.emit = [](CallbackServerContext* context, const Msg*, CoroutineEmitter* writer) -> Task<Status> {
    Msg message;
    const std::string came = TakenBy(*context);
    for (const char* text : {"dropped", "kept"}) {
      if (!came.empty()) context->AttachFd(FileWith(came + text));
      EXPECT_TRUE(co_await writer->Write(message));
    }
    co_return Status::OK;
  };
  StartCoroutines();
  const auto read = [&]() -> Task<> {
    ClientContext context;
    context.AttachFd(FileWith("asked"));
    Msg message;
    auto call = stub_->co()->Emit(&context, message);
    if (!passes()) {
      EXPECT_FALSE(co_await call.Read(&message));
      ExpectRefused(co_await call.Finish());
      co_return;
    }
    EXPECT_TRUE(co_await call.Read(&message));
    EXPECT_TRUE(co_await call.Read(&message));
    EXPECT_FALSE(co_await call.Read(&message));
    EXPECT_TRUE((co_await call.Finish()).ok());
    EXPECT_EQ(TakenBy(context), "asked;kept;");
  };
  SyncWait(read());
}

TEST_P(CoroutineFds, OfAServerAreRefusedToTheClient) {
  coroutine_service_.unary = [](CallbackServerContext* context, const Msg*, Msg*) -> Task<Status> {
    context->AttachFd(FileWith("from the server"));
    co_return Status::OK;
  };
  coroutine_service_.emit = [](CallbackServerContext* context, const Msg*, CoroutineEmitter* writer) -> Task<Status> {
    context->AttachFd(FileWith("emitted"));
    Msg message;
    EXPECT_EQ(co_await writer->Write(message), passes());
    co_return Status::OK;
  };
  StartCoroutines();
  const auto ask = [&]() -> Task<> {
    ClientContext unary, emit;
    Msg message;
    const Status status = co_await stub_->co()->Unary(&unary, message, &message);
    auto call = stub_->co()->Emit(&emit, message);
    if (passes()) {
      EXPECT_TRUE(status.ok()) << status.error_message();
      EXPECT_EQ(TakenBy(unary), "from the server;");
      EXPECT_TRUE(co_await call.Read(&message));
      EXPECT_EQ(TakenBy(emit), "emitted;");
      EXPECT_TRUE((co_await call.Finish()).ok());
    } else {
      ExpectRefused(status);
      EXPECT_FALSE(co_await call.Read(&message));
      ExpectRefused(co_await call.Finish());
    }
  };
  SyncWait(ask());
  ExpectAlive();
}

TEST_P(CoroutineFds, OfCallsThatAreLetGoAreClosed) {
  if (!passes()) return;
  AnswerEach();
  StartCoroutines();
  EXPECT_EQ(SyncWait(Echo(1)), StatusCode::OK);
  const size_t before = Holdings::Now().descriptors;
  const auto let_go = [&](bool answered) -> Task<> {
    ClientContext context;
    auto call = stub_->co()->Talk(&context);
    context.AttachFd(FileWith("sent"));
    Msg message;
    EXPECT_TRUE(co_await call.Write(message));
    if (answered) {
      EXPECT_TRUE(co_await call.Read(&message));  // and not taken
    }
    context.AttachFd(FileWith("not sent"));
  };
  for (int i = 0; i < 20; ++i) SyncWait(let_go(i % 2 == 0));
  EXPECT_TRUE(Eventually([&] { return Holdings::Now().descriptors <= before; })) << before << " -> " << Holdings::Now().descriptors;
  EXPECT_EQ(SyncWait(PingPong(3)), StatusCode::OK);
}

BEHAVIOUR_SUITE(CoroutineFds);

}  // namespace
}  // namespace behaviour

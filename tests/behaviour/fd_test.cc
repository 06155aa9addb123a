// File descriptors as arguments: with requests, responses and the messages of streams, where the transport passes them; where
// it does not, a clear status and nothing sent.
#include <fcntl.h>

#include "tests/behaviour/fd_kit.h"
#include "tests/behaviour/fixture.h"
#include "transport/testing/refuse_system_call.h"

namespace behaviour {
namespace {

using ::testing::HasSubstr;

class Fds : public BehaviourTest {
 protected:
  ~Fds() override { StopServer(); }

  static bool passes() { return PassesFds(scheme()); }

  void ExpectRefused(const Status& status) {
    EXPECT_EQ(status.error_code(), StatusCode::FAILED_PRECONDITION) << status.error_message();
    EXPECT_THAT(status.error_message(), HasSubstr("cannot go over"));
    EXPECT_THAT(status.error_message(), HasSubstr(std::string(scheme())));
    EXPECT_THAT(status.error_message(), HasSubstr("shm, unix"));
  }

  // Nothing is left of what the test has passed.
  void ExpectNoMoreThan(size_t descriptors) {
    EXPECT_TRUE(Eventually([&] { return Holdings::Now().descriptors <= descriptors; }))
        << descriptors << " -> " << Holdings::Now().descriptors;
  }

  // Made by a call, so that what the process keeps is there.
  size_t DescriptorsNow() {
    ClientContext context;
    Msg response;
    EXPECT_TRUE(stub_->Unary(&context, Number(1), &response).ok());
    return Holdings::Now().descriptors;
  }
};

TEST_P(Fds, GoWithARequestAndAResponse) {
  std::atomic<int> ran{0};
  service_.unary = [&](ServerContext* context, const Msg*, Msg* response) {
    ++ran;
    std::vector<UniqueFd> fds = context->TakeFds();
    response->set_number(static_cast<int64_t>(fds.size()));
    for (const UniqueFd& fd : fds) {
      EXPECT_NE(fcntl(fd.get(), F_GETFD) & FD_CLOEXEC, 0);
      response->set_text(response->text() + TextOf(fd));
    }
    EXPECT_TRUE(context->TakeFds().empty()) << "once";
    if (!fds.empty()) context->AttachFd(FileWith("answer to " + response->text()));
    return Status::OK;
  };
  Start();
  ClientContext context;
  Msg response;
  context.AttachFd(FileWith("first "));
  context.AttachFd(FileWith("second"));
  const Status status = stub_->Unary(&context, Msg(), &response);
  if (!passes()) {
    ExpectRefused(status);
    EXPECT_EQ(ran, 0);
    return ExpectAlive();
  }
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.text(), "first second");
  const std::vector<UniqueFd> answer = context.TakeFds();
  ASSERT_EQ(answer.size(), 1u);
  EXPECT_EQ(TextOf(answer[0]), "answer to first second");
  EXPECT_NE(fcntl(answer[0].get(), F_GETFD) & FD_CLOEXEC, 0);
  EXPECT_TRUE(context.TakeFds().empty());
}

TEST_P(Fds, OfAServerAreRefusedToTheClient) {
  service_.unary = [](ServerContext* context, const Msg*, Msg*) {
    context->AttachFd(FileWith("from the server"));
    return Status::OK;
  };
  service_.emit = [](ServerContext* context, const Msg*, ServerEmitter* writer) {
    context->AttachFd(FileWith("emitted"));
    EXPECT_EQ(writer->Write(Number(1)), passes());
    return Status::OK;
  };
  Start();
  ClientContext context;
  Msg response;
  const Status status = stub_->Unary(&context, Msg(), &response);
  ClientContext stream_context;
  const auto stream = stub_->Emit(&stream_context, Msg());
  if (passes()) {
    ASSERT_TRUE(status.ok()) << status.error_message();
    ASSERT_EQ(context.TakeFds().size(), 1u);
    ASSERT_TRUE(stream->Read(&response));
    ASSERT_EQ(stream_context.TakeFds().size(), 1u);
    EXPECT_FALSE(stream->Read(&response));
    EXPECT_TRUE(stream->Finish().ok());
  } else {
    ExpectRefused(status);
    EXPECT_FALSE(stream->Read(&response));
    ExpectRefused(stream->Finish());
  }
  ExpectAlive();
}

// Each with its own message, those without any between them.
TEST_P(Fds, GoWithTheMessagesOfAStreamInOrder) {
  service_.talk = [](ServerContext* context, ServerTalk* stream) {
    for (Msg message; stream->Read(&message);) {
      for (UniqueFd& fd : context->TakeFds()) context->AttachFd(std::move(fd));
      if (!stream->Write(message)) break;
    }
    return Status::OK;
  };
  Start();
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  if (!passes()) {
    EXPECT_TRUE(stream->Write(Number(1)));
    context.AttachFd(FileWith("no"));
    EXPECT_FALSE(stream->Write(Number(2)));
    ExpectRefused(stream->Finish());
    return ExpectAlive();
  }
  constexpr int kMessages = 100;
  std::thread writer([&] {
    for (int i = 0; i < kMessages; ++i) {
      for (int j = 0; j < i % 5; ++j) context.AttachFd(FileWith(std::to_string(i) + "." + std::to_string(j)));
      Msg message = Data(static_cast<size_t>(i % 7) * 20'000);
      message.set_number(i);
      EXPECT_TRUE(stream->Write(message));
    }
    EXPECT_TRUE(stream->WritesDone());
  });
  for (int i = 0; i < kMessages; ++i) {
    Msg message;
    ASSERT_TRUE(stream->Read(&message));
    EXPECT_EQ(message.number(), i);
    const std::vector<UniqueFd> fds = context.TakeFds();
    ASSERT_EQ(fds.size(), static_cast<size_t>(i % 5)) << i;
    for (int j = 0; j < i % 5; ++j) EXPECT_EQ(TextOf(fds[j]), std::to_string(i) + "." + std::to_string(j));
  }
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
}

// What is attached before a call begins goes with its first message, whenever that is written.
TEST_P(Fds, WaitForTheFirstMessage) {
  service_.collect = [](ServerContext* context, ServerCollector* reader, Msg* response) {
    EXPECT_TRUE(context->TakeFds().empty());
    for (Msg message; reader->Read(&message);) response->set_text(response->text() + std::to_string(context->TakeFds().size()));
    return Status::OK;
  };
  Start();
  for (const bool corked : {false, true}) {
    ClientContext context;
    context.set_initial_metadata_corked(corked);
    context.AttachFd(FileWith("first"));
    Msg response;
    const auto stream = stub_->Collect(&context, &response);
    EXPECT_EQ(stream->Write(Number(1)), passes());
    if (passes()) {
      EXPECT_TRUE(stream->Write(Number(2)));
      context.AttachFd(FileWith("third"));
      context.AttachFd(FileWith("third"));
      stream->WriteLast(Number(3), ipcrpc::WriteOptions());
    }
    const Status status = stream->Finish();
    if (!passes()) {
      ExpectRefused(status);
      continue;
    }
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(response.text(), "102");
  }
}

TEST_P(Fds, GoWithALargeMessage) {
  if (!passes()) return;
  service_.unary = [](ServerContext* context, const Msg* request, Msg* response) {
    for (UniqueFd& fd : context->TakeFds()) context->AttachFd(std::move(fd));
    *response = *request;
    return Status::OK;
  };
  Start();
  ClientContext context;
  context.AttachFd(FileWith("with a megabyte"));
  Msg response;
  const Status status = stub_->Unary(&context, Data(1'000'000), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.data().size(), 1'000'000u);
  const std::vector<UniqueFd> fds = context.TakeFds();
  ASSERT_EQ(fds.size(), 1u);
  EXPECT_EQ(TextOf(fds[0]), "with a megabyte");
}

TEST_P(Fds, TooManyAndThoseThatAreNotOpenAreRefused) {
  if (!passes()) return;
  service_.unary = [](ServerContext* context, const Msg* request, Msg*) {
    for (int64_t i = 0; i < request->number(); ++i) context->AttachFd(FileWith("x"));
    if (request->text() == "closed") context->AttachFd(UniqueFd());
    return Status::OK;
  };
  Start();
  const auto ask = [&](int attached, bool closed, int64_t of_server, const std::string& text) {
    ClientContext context;
    for (int i = 0; i < attached; ++i) context.AttachFd(FileWith("x"));
    if (closed) context.AttachFd(UniqueFd());
    Msg request = Number(of_server), response;
    request.set_text(text);
    return stub_->Unary(&context, request, &response);
  };
  EXPECT_TRUE(ask(ipcrpc::kMaxFdsPerMessage, false, ipcrpc::kMaxFdsPerMessage, "").ok());
  Status status = ask(ipcrpc::kMaxFdsPerMessage + 1, false, 0, "");
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("17 file descriptors are attached to one message; 16 can go"));
  status = ask(0, false, ipcrpc::kMaxFdsPerMessage + 1, "");
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("17 file descriptors"));
  EXPECT_EQ(ask(1, true, 0, "").error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(ask(0, false, 0, "closed").error_code(), StatusCode::INVALID_ARGUMENT);
  ExpectAlive();
}

// Too many of the user's are on their way, or the kernel has another reason.
TEST_P(Fds, ThatTheKernelRefusesEndTheCall) {
  if (!passes() || scheme() == "inproc") return;
  Start();
  DescriptorsNow();
  Status status;
  std::thread([&] {
    ClientContext context;
    context.AttachFd(FileWith("refused"));
    Msg response;
    ipcrpc::RefuseSystemCall(SYS_sendmsg, ETOOMANYREFS);
    status = stub_->Unary(&context, Msg(), &response);
  }).join();
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_THAT(status.error_message(), HasSubstr("could not be sent"));
  ExpectAlive();
}

TEST_P(Fds, ThatNobodyTakesAreClosed) {
  if (!passes()) return;
  service_.unary = [](ServerContext* context, const Msg* request, Msg*) {
    if (request->number() != 1) context->AttachFd(FileWith("not taken either"));
    if (request->number() == 2) return Status(StatusCode::ABORTED, "and not sent");
    return Status::OK;
  };
  service_.collect = [](ServerContext*, ServerCollector* reader, Msg*) {
    Msg message;
    EXPECT_TRUE(reader->Read(&message));
    return Status::OK;  // leaves the rest alone
  };
  Start();
  const size_t before = DescriptorsNow();
  for (int i = 0; i < 50; ++i) {
    ClientContext context;
    context.AttachFd(FileWith("not taken"));
    Msg response;
    stub_->Unary(&context, Number(i % 3), &response);
  }
  for (int i = 0; i < 10; ++i) {
    ClientContext context;
    Msg response;
    const auto stream = stub_->Collect(&context, &response);
    for (int j = 0; j < 5; ++j) {
      context.AttachFd(FileWith("not read"));
      if (!stream->Write(Number(j))) break;
    }
    stream->Finish();
  }
  ExpectNoMoreThan(before);
}

TEST_P(Fds, OfACancelledCallAreClosed) {
  if (!passes()) return;
  Event go, read;
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    Msg message;
    EXPECT_TRUE(stream->Read(&message));
    EXPECT_EQ(context->TakeFds().size(), 1u);
    read.Set();
    EXPECT_TRUE(go.Wait());  // with messages unread
    return Status::OK;
  };
  Start();
  const size_t before = DescriptorsNow();
  {
    ClientContext context;
    const auto stream = stub_->Talk(&context);
    for (int i = 0; i < 8; ++i) {
      context.AttachFd(FileWith("in flight"));
      ASSERT_TRUE(stream->Write(Number(i)));
    }
    EXPECT_TRUE(read.Wait());
    EXPECT_TRUE(Eventually([&] { return Holdings::Now().descriptors >= before + 4; }));  // of 7; others may go meanwhile
    context.TryCancel();
    // The handler still runs.
    ExpectNoMoreThan(before);
    go.Set();
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  }
  ExpectNoMoreThan(before);
  StopServer();  // with its handler, which waits for what is here
}

// Memory of the kernel's and numbers of the process stay bounded; nothing is lost.
TEST_P(Fds, ASlowReaderHoldsTheirWriterBack) {
  if (!passes()) return;
  constexpr int kMessages = 200;
  Event go;
  std::atomic<int> written{0};
  service_.collect = [&](ServerContext* context, ServerCollector* reader, Msg* response) {
    EXPECT_TRUE(go.Wait());
    int64_t fds = 0;
    for (Msg message; reader->Read(&message);) fds += static_cast<int64_t>(context->TakeFds().size());
    response->set_number(fds);
    return Status::OK;
  };
  Start();
  const size_t before = DescriptorsNow();
  ClientContext context;
  Msg response;
  const auto stream = stub_->Collect(&context, &response);
  std::thread writer([&] {
    for (int i = 0; i < kMessages; ++i) {
      for (size_t j = 0; j < ipcrpc::kMaxFdsPerMessage; ++j) context.AttachFd(FileWith("slow"));
      if (!stream->Write(Number(i))) return;
      ++written;
    }
    stream->WritesDone();
  });
  int seen = -1;
  ASSERT_TRUE(Eventually([&] {
    std::this_thread::sleep_for(50ms);
    return std::exchange(seen, written.load()) == written.load();
  }));
  EXPECT_LT(written, kMessages / 4);
  EXPECT_LT(Holdings::Now().descriptors, before + 256);
  go.Set();
  writer.join();
  const Status status = stream->Finish();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.number(), kMessages * static_cast<int64_t>(ipcrpc::kMaxFdsPerMessage));
  ExpectNoMoreThan(before);
}

TEST_P(Fds, UnreadOnOneConnectionAreLimited) {
  if (!passes()) return;
  std::atomic<int> ended{0};
  service_.collect = [&](ServerContext* context, ServerCollector*, Msg*) {
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    ++ended;
    return Status::OK;
  };
  Start();
  const size_t before = DescriptorsNow();
  constexpr int kCalls = 40;  // each with the most that goes with a message
  constexpr int kFit = 256 / ipcrpc::kMaxFdsPerMessage;
  struct Call {
    ClientContext context;
    Msg response;
    std::unique_ptr<ipcrpc::ClientWriter<Msg>> stream;
  };
  {
    std::vector<std::unique_ptr<Call>> calls;
    for (int i = 0; i < kCalls; ++i) {
      Call& call = *calls.emplace_back(std::make_unique<Call>());
      call.stream = stub_->Collect(&call.context, &call.response);
      for (size_t j = 0; j < ipcrpc::kMaxFdsPerMessage; ++j) call.context.AttachFd(FileWith("x"));
      call.stream->Write(Number(i));
    }
    EXPECT_TRUE(Eventually([&] { return ended == kCalls - kFit; })) << ended;
    // An answer behind those of the refused calls.
    EXPECT_LE(DescriptorsNow(), before + 256);
    int refused = 0;
    for (const auto& call : calls) {
      call->context.TryCancel();
      const Status status = call->stream->Finish();
      if (status.error_code() != StatusCode::RESOURCE_EXHAUSTED) continue;
      ++refused;
      EXPECT_THAT(status.error_message(), HasSubstr("more than 256 file descriptors"));
    }
    EXPECT_EQ(refused, kCalls - kFit);
  }
  ExpectNoMoreThan(before);
  // They count no more.
  ClientContext context;
  Msg response;
  context.AttachFd(FileWith("again"));
  EXPECT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
  StopServer();  // with its handlers, which count what is here
}

BEHAVIOUR_SUITE(Fds);

}  // namespace
}  // namespace behaviour

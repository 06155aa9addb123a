// Back-pressure: writers that nobody reads wait, harm nobody, and are let go.
#include "fixture.h"

namespace differential {
namespace {

constexpr size_t kBulk = 64 * 1024;
// What may be under way for one stream: some MiB.
constexpr int kMostBuffered = 16 * 1024 * 1024 / static_cast<int>(kBulk);

class FlowTest : public DifferentialTest {
 protected:
  static Msg Bulk(int number) {
    Msg message = Data(kBulk);
    message.set_number(number);
    return message;
  }

  // A server whose Emit writes until it fails, counting, and whose Talk reads nothing until it is released.
  void ServeBlocking() {
    service_.emit = [this](ServerContext*, const Msg*, Emitter* writer) {
      while (writer->Write(Bulk(written_))) ++written_;
      emit_over_.Set();
      return Status::OK;
    };
    service_.talk = [this](ServerContext* context, Talker* stream) {
      while (!release_.set() && !context->IsCancelled()) std::this_thread::sleep_for(1ms);
      Msg message;
      int next = 0;
      for (; stream->Read(&message); ++next) EXPECT_EQ(message.number(), next);
      received_ = next;
      return Status::OK;
    };
  }

  // A Talk of the client's whose writer is blocked. The writer ends when a write fails or the last one is done.
  std::jthread WriteUntilBlocked(grpc::ClientReaderWriter<Msg, Msg>* stream, int count) {
    std::jthread writer([this, stream, count] {
      for (int i = 0; i < count; ++i) {
        if (!stream->Write(Bulk(i))) {
          failed_.Set();
          return;
        }
        ++sent_;
      }
      EXPECT_TRUE(stream->WritesDone());
    });
    EXPECT_TRUE(Settles(sent_));
    EXPECT_LT(sent_, kMostBuffered);
    return writer;
  }

  std::atomic<int> written_{0}, sent_{0}, received_{-1};
  Event release_, emit_over_, failed_;
};

TEST_F(FlowTest, AServerThatDoesNotReadBlocksTheClientsWriterAndNobodyElse) {
  Start();
  ServeBlocking();
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  std::jthread writer = WriteUntilBlocked(stream.get(), 2 * kMostBuffered);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Call(Number(i)).ok()) << "on the same channel";
  EXPECT_TRUE(CallOn(*Methods::NewStub(Connect(address()))).ok());
  release_.Set();
  writer.join();
  Msg message;
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(received_, 2 * kMostBuffered) << "all of it, in order";
  StopServer();
}

TEST_F(FlowTest, AClientThatDoesNotReadBlocksTheServersWriter) {
  Start();
  service_.emit = [this](ServerContext*, const Msg*, Emitter* writer) {
    for (; written_ < 2 * kMostBuffered; ++written_) EXPECT_TRUE(writer->Write(Bulk(written_)));
    return Status::OK;
  };
  ClientContext context;
  const auto reader = stub_->Emit(&context, Msg());
  EXPECT_TRUE(Settles(written_));
  EXPECT_LT(written_, kMostBuffered);
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Call(Number(i)).ok());
  Msg message;
  int next = 0;
  for (; reader->Read(&message); ++next) {
    ASSERT_EQ(message.number(), next);
    ASSERT_EQ(message.data().size(), kBulk);
  }
  EXPECT_EQ(next, 2 * kMostBuffered);
  EXPECT_TRUE(reader->Finish().ok());
  StopServer();
}

TEST_F(FlowTest, CancellationReleasesBlockedWritersOnBothSides) {
  Start();
  ServeBlocking();
  {
    ClientContext context;
    const auto stream = stub_->Talk(&context);
    std::jthread writer = WriteUntilBlocked(stream.get(), 10 * kMostBuffered);
    Stopwatch watch;
    context.TryCancel();
    EXPECT_TRUE(failed_.Wait());
    EXPECT_LT(watch.ms(), kPromptMs);
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  }
  {
    ClientContext context;
    const auto reader = stub_->Emit(&context, Msg());
    EXPECT_TRUE(Settles(written_));
    Stopwatch watch;
    context.TryCancel();
    EXPECT_TRUE(emit_over_.Wait());
    EXPECT_LT(watch.ms(), kPromptMs);
    EXPECT_EQ(reader->Finish().error_code(), StatusCode::CANCELLED);
  }
  StopServer();
}

TEST_F(FlowTest, TheDeadlineReleasesABlockedWriter) {
  Start();
  ServeBlocking();
  ClientContext context;
  context.set_deadline(In(700ms));
  const auto stream = stub_->Talk(&context);
  std::jthread writer = WriteUntilBlocked(stream.get(), 10 * kMostBuffered);
  Stopwatch watch;
  EXPECT_TRUE(failed_.Wait());
  EXPECT_LT(watch.ms(), kPromptMs);
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::DEADLINE_EXCEEDED);
  StopServer();
}

TEST_F(FlowTest, TheServersReturnReleasesABlockedWriter) {
  Start();
  service_.talk = [this](ServerContext*, Talker*) {
    EXPECT_TRUE(release_.Wait());
    return Status(StatusCode::ABORTED, "read nothing");
  };
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  std::jthread writer = WriteUntilBlocked(stream.get(), 10 * kMostBuffered);
  release_.Set();
  EXPECT_TRUE(failed_.Wait());
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::ABORTED);
  StopServer();
}

TEST_F(FlowTest, ShutdownReleasesBlockedWritersOnBothSides) {
  Start();
  ServeBlocking();
  ClientContext talk, emit;
  const auto stream = stub_->Talk(&talk);
  const auto reader = stub_->Emit(&emit, Msg());
  std::jthread writer = WriteUntilBlocked(stream.get(), 10 * kMostBuffered);
  EXPECT_TRUE(Settles(written_));
  Stopwatch watch;
  StopServer();
  EXPECT_TRUE(failed_.Wait());
  EXPECT_TRUE(emit_over_.set());
  EXPECT_LT(watch.ms(), kPromptMs);
  EXPECT_THAT(stream->Finish().error_code(), AnyOf(StatusCode::UNAVAILABLE, StatusCode::CANCELLED));
}

}  // namespace
}  // namespace differential

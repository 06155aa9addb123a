// Streams: order, ends, half-closing, and what an early return leaves behind.
#include "fixture.h"

namespace differential {
namespace {

class StreamTest : public DifferentialTest {};

TEST_F(StreamTest, ReadsAndWritesStayFalseAfterTheEnd) {
  Start();
  ClientContext emit, collect, talk;
  Msg message;
  const auto reader = stub_->Emit(&emit, Number(3));
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(reader->Read(&message));
    EXPECT_EQ(message.number(), i);
  }
  for (int i = 0; i < 3; ++i) EXPECT_FALSE(reader->Read(&message));
  EXPECT_TRUE(reader->Finish().ok());

  service_.talk = [](ServerContext*, Talker*) { return Status(StatusCode::ABORTED, "at once"); };
  const auto stream = stub_->Talk(&talk);
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(Eventually([&] { return !stream->Write(Msg()); }));
  EXPECT_FALSE(stream->Write(Msg()));
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::ABORTED);

  service_.collect = [](ServerContext*, Collector*, Msg* response) {
    *response = Number(17);
    return Status::OK;
  };
  const auto writer = stub_->Collect(&collect, &message);
  EXPECT_TRUE(Eventually([&] { return !writer->Write(Msg()); }));
  EXPECT_TRUE(writer->Finish().ok()) << "an early OK";
  EXPECT_EQ(message.number(), 17);
}

TEST_F(StreamTest, EmptyStreamsAndEmptyMessages) {
  Start();
  ClientContext emit, collect, talk;
  Msg message;
  const auto reader = stub_->Emit(&emit, Msg());
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_TRUE(reader->Finish().ok());
  const auto writer = stub_->Collect(&collect, &message);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(writer->Write(Msg()));
  EXPECT_TRUE(writer->WritesDone());
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(message.text(), "3");
  const auto stream = stub_->Talk(&talk);
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamTest, MessagesReadAreOverwrittenNotMergedInto) {
  Start();
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  Msg message;
  message.set_text("old");
  EXPECT_TRUE(stream->Write(Number(1)) && stream->Read(&message));
  EXPECT_EQ(message.text(), "");
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamTest, HalfClosingEndsTheServersReadsAndNothingElse) {
  Start();
  service_.talk = [](ServerContext* context, Talker* stream) {
    Msg message;
    int64_t sum = 0;
    while (stream->Read(&message)) sum += message.number();
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_FALSE(context->IsCancelled());
    for (int i = 0; i < 100; ++i) EXPECT_TRUE(stream->Write(Number(sum)));
    EXPECT_FALSE(context->IsCancelled());
    return Status::OK;
  };
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  for (int i = 1; i <= 10; ++i) EXPECT_TRUE(stream->Write(Number(i)));
  EXPECT_TRUE(stream->WritesDone());
  Msg message;
  int count = 0;
  for (; stream->Read(&message); ++count) EXPECT_EQ(message.number(), 55);
  EXPECT_EQ(count, 100);
  EXPECT_TRUE(stream->Finish().ok());
  StopServer();
}

TEST_F(StreamTest, WriteLastHalfCloses) {
  Start();
  ClientContext collect, talk;
  Msg message;
  const auto writer = stub_->Collect(&collect, &message);
  EXPECT_TRUE(writer->Write(Number(1)));
  writer->WriteLast(Number(2), grpc::WriteOptions());
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(message.number(), 3);
  EXPECT_EQ(message.text(), "2");
  const auto stream = stub_->Talk(&talk);
  stream->WriteLast(Number(4), grpc::WriteOptions());
  EXPECT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.number(), 4);
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamTest, TheServersWriteLastIsDelivered) {
  Start();
  service_.emit = [](ServerContext*, const Msg*, Emitter* writer) {
    writer->Write(Number(1));
    writer->WriteLast(Number(2), grpc::WriteOptions());
    return Status(StatusCode::ABORTED, "with a last message");
  };
  ClientContext context;
  const auto reader = stub_->Emit(&context, Msg());
  Msg message;
  EXPECT_TRUE(reader->Read(&message));
  EXPECT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.number(), 2);
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::ABORTED);
}

TEST_F(StreamTest, CorkedMetadataTravelWithTheFirstWrite) {
  Start();
  std::vector<std::string> seen;
  service_.talk = [&](ServerContext* context, Talker* stream) {
    seen = Values(context->client_metadata(), "k");
    Msg message;
    while (stream->Read(&message)) stream->Write(message);
    return Status::OK;
  };
  service_.collect = [&](ServerContext* context, Collector* reader, Msg* response) {
    seen = Values(context->client_metadata(), "k");
    EXPECT_TRUE(reader->Read(response));
    return Status::OK;
  };
  Msg message;
  {
    ClientContext context;
    context.AddMetadata("k", "talk");
    context.set_initial_metadata_corked(true);
    const auto stream = stub_->Talk(&context);
    EXPECT_TRUE(stream->Write(Number(1)) && stream->Read(&message));
    EXPECT_THAT(seen, ElementsAre("talk"));
    EXPECT_TRUE(stream->WritesDone());
    EXPECT_TRUE(stream->Finish().ok());
  }
  {
    ClientContext context;
    context.AddMetadata("k", "collect");
    context.set_initial_metadata_corked(true);
    const auto writer = stub_->Collect(&context, &message);
    writer->WriteLast(Number(9), grpc::WriteOptions());
    EXPECT_TRUE(writer->Finish().ok());
    EXPECT_EQ(message.number(), 9);
    EXPECT_THAT(seen, ElementsAre("collect"));
  }
  StopServer();
}

TEST_F(StreamTest, BufferHintsHoldNothingBackForGood) {
  Start();
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  Msg message;
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(stream->Write(Number(i), grpc::WriteOptions().set_buffer_hint()));
  EXPECT_TRUE(stream->Write(Number(10)));
  for (int i = 0; i <= 10; ++i) {
    ASSERT_TRUE(stream->Read(&message));
    EXPECT_EQ(message.number(), i);
  }
  EXPECT_TRUE(stream->Write(Number(11), grpc::WriteOptions().set_buffer_hint()));
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.number(), 11);
  EXPECT_TRUE(stream->Finish().ok());
  grpc::WriteOptions options;
  EXPECT_TRUE(options.set_buffer_hint().get_buffer_hint());
  EXPECT_FALSE(options.clear_buffer_hint().get_buffer_hint());
  EXPECT_TRUE(options.set_last_message().is_last_message());
  options.set_no_compression().clear_no_compression().clear_last_message();
  EXPECT_FALSE(options.is_last_message());
}

TEST_F(StreamTest, WhatWasSentBeforeTheStatusRemainsReadable) {
  Start();
  Event returned;
  service_.emit = [](ServerContext*, const Msg*, Emitter* writer) {
    for (int i = 0; i < 50; ++i) EXPECT_TRUE(writer->Write(Number(i)));
    return Status(StatusCode::DATA_LOSS, "after fifty");
  };
  ClientContext context;
  const auto reader = stub_->Emit(&context, Msg());
  std::this_thread::sleep_for(100ms);
  Msg message;
  int count = 0;
  for (; reader->Read(&message); ++count) EXPECT_EQ(message.number(), count);
  EXPECT_EQ(count, 50);
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::DATA_LOSS);
  StopServer();
}

TEST_F(StreamTest, AServerThatReturnsEarlyFailsPendingWrites) {
  Start();
  service_.talk = [](ServerContext*, Talker* stream) {
    Msg message;
    stream->Read(&message);
    stream->Write(Number(77));
    return Status(StatusCode::FAILED_PRECONDITION, "enough");
  };
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  const Msg bulk = Data(100'000);
  Stopwatch watch;
  EXPECT_TRUE(Eventually([&] { return !stream->Write(bulk); }));
  EXPECT_LT(watch.ms(), kPromptMs);
  Msg message;
  EXPECT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.number(), 77);
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::FAILED_PRECONDITION);
}

// Without the cancellation gRPC's Finish() waits until somebody has read everything.
TEST_F(StreamTest, FinishAfterCancellingNeedsNoReading) {
  Start();
  service_.emit = [](ServerContext*, const Msg*, Emitter* writer) {
    for (int i = 0; i < 5; ++i) writer->Write(Number(i));
    return Status(StatusCode::ALREADY_EXISTS, "unread");
  };
  ClientContext context;
  const auto reader = stub_->Emit(&context, Msg());
  Msg message;
  EXPECT_TRUE(reader->Read(&message));
  context.TryCancel();
  Stopwatch watch;
  EXPECT_THAT(reader->Finish().error_code(), AnyOf(StatusCode::ALREADY_EXISTS, StatusCode::CANCELLED));
  EXPECT_LT(watch.ms(), kPromptMs);
}

TEST_F(StreamTest, OneReaderAndOneWriterThreadOnBothSides) {
  Start();
  static constexpr int kCount = 3000;
  service_.talk = [](ServerContext*, Talker* stream) {
    std::jthread writer([&] {
      for (int i = 0; i < kCount; ++i) EXPECT_TRUE(stream->Write(Number(i)));
    });
    Msg message;
    int next = 0;
    for (; stream->Read(&message); ++next) EXPECT_EQ(message.number(), -next);
    EXPECT_EQ(next, kCount);
    return Status::OK;
  };
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  std::jthread writer([&] {
    for (int i = 0; i < kCount; ++i) EXPECT_TRUE(stream->Write(Number(-i)));
    EXPECT_TRUE(stream->WritesDone());
  });
  Msg message;
  int next = 0;
  for (; stream->Read(&message); ++next) ASSERT_EQ(message.number(), next);
  EXPECT_EQ(next, kCount);
  writer.join();
  EXPECT_TRUE(stream->Finish().ok());
  StopServer();
}

TEST_F(StreamTest, OrderIsKeptOverMessagesOfAllSizes) {
  Start();
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  std::jthread writer([&] {
    for (int i = 0; i < 300; ++i) {
      Msg message = Data(i % 7 == 0 ? 200'000 : static_cast<size_t>(i) * 13);
      message.set_number(i);
      EXPECT_TRUE(stream->Write(message));
    }
    EXPECT_TRUE(stream->WritesDone());
  });
  Msg message;
  int next = 0;
  for (; stream->Read(&message); ++next) {
    ASSERT_EQ(message.number(), next);
    ASSERT_EQ(message.data().size(), next % 7 == 0 ? 200'000 : static_cast<size_t>(next) * 13);
  }
  EXPECT_EQ(next, 300);
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamTest, NextMessageSizeDoesNotUnderstate) {
  Start();
  service_.talk = [](ServerContext*, Talker* stream) {
    uint32_t size = 0;
    EXPECT_TRUE(stream->NextMessageSize(&size));
    EXPECT_GE(size, 5000u);
    Msg message;
    EXPECT_TRUE(stream->Read(&message));
    EXPECT_TRUE(stream->Write(message));
    return Status::OK;
  };
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  EXPECT_TRUE(stream->Write(Data(5000)));
  uint32_t size = 0;
  EXPECT_TRUE(stream->NextMessageSize(&size));
  EXPECT_GE(size, 5000u);
  Msg message;
  EXPECT_TRUE(stream->Read(&message));
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_F(StreamTest, DroppingAStreamCancelsItsCall) {
  Start();
  Event cancelled;
  service_.talk = [&](ServerContext* context, Talker* stream) {
    stream->Write(Msg());
    Msg message;
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    cancelled.Set();
    return Status::OK;
  };
  {
    ClientContext context;
    const auto stream = stub_->Talk(&context);
    Msg message;
    EXPECT_TRUE(stream->Read(&message));
  }
  EXPECT_TRUE(cancelled.Wait());
  StopServer();
}

TEST_F(StreamTest, AMessageThatDoesNotParseLooksLikeTheEndOfReadsToTheHandler) {
  Start();
  std::atomic<int> reads{0};
  service_.collect = [&](ServerContext*, Collector* reader, Msg* response) {
    for (Msg message; reader->Read(&message);) ++reads;
    *response = Number(reads);
    return Status::OK;
  };
  ClientContext context;
  Msg response;
  const auto writer = stub_->Collect(&context, &response);
  EXPECT_TRUE(writer->Write(Number(1)));
  EXPECT_TRUE(writer->Write(Broken()));
  writer->WritesDone();
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(response.number(), 1);
  StopServer();
}

TEST_F(StreamTest, ManyStreamsAtOnceDoNotMixTheirMessages) {
  Start();
  std::vector<std::jthread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      ClientContext context;
      const auto stream = stub_->Talk(&context);
      Msg message;
      for (int i = 0; i < 100; ++i) {
        ASSERT_TRUE(stream->Write(Number(t * 1000 + i)) && stream->Read(&message));
        ASSERT_EQ(message.number(), t * 1000 + i);
      }
      EXPECT_TRUE(stream->WritesDone());
      EXPECT_TRUE(stream->Finish().ok());
    });
  }
}

}  // namespace
}  // namespace differential

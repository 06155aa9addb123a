// Back-pressure: who does not read stops his writer, after a bounded amount, and nobody else.
#include "tests/behaviour/fixture.h"

namespace behaviour {
namespace {

// "Some MiB at most" for one stream: windows, rings and sockets on the way.
constexpr size_t kStreamBound = 4 << 20;

class Flow : public BehaviourTest {
 protected:
  // Counts the bytes that writes took until one of them has blocked for a while.
  static bool Stalled(const std::atomic<size_t>& written) {
    size_t last = ~size_t{0};
    return Eventually([&] {
      const size_t now = written;
      if (now == last) return true;
      last = now;
      std::this_thread::sleep_for(kSlower * 60ms);
      return false;
    });
  }
};

TEST_P(Flow, ServerThatDoesNotReadStopsTheClientAfterABoundedAmount) {
  Start();
  Event read_on;
  service_.collect = [&](ServerContext*, ServerCollector* reader, Msg* response) {
    EXPECT_TRUE(read_on.Wait());
    int64_t expected = 0;
    for (Msg message; reader->Read(&message); ++expected) EXPECT_EQ(message.number(), expected);
    response->set_number(expected);
    return Status::OK;
  };
  constexpr size_t kBytes = 1000;
  constexpr int kCount = 20'000;
  std::atomic<size_t> written{0};
  ClientContext context;
  Msg response;
  auto writer = stub_->Collect(&context, &response);
  std::thread thread([&] {
    Msg message = Data(kBytes);
    for (int i = 0; i < kCount; ++i, written += kBytes) {
      message.set_number(i);
      ASSERT_TRUE(writer->Write(message));
    }
    EXPECT_TRUE(writer->WritesDone());
  });
  EXPECT_TRUE(Stalled(written));
  RecordProperty("buffered_bytes", static_cast<int>(written));
  std::printf("    buffered for one stream: %zu bytes\n", written.load());
  EXPECT_LT(written, kStreamBound);
  // Others go on meanwhile.
  for (int i = 0; i < 100; ++i) {
    ClientContext other;
    other.set_deadline(In(20s));
    Msg answer;
    EXPECT_TRUE(stub_->Unary(&other, Data(10'000), &answer).ok());
  }
  read_on.Set();
  thread.join();
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(response.number(), kCount);
  StopServer();
}

TEST_P(Flow, ClientThatDoesNotReadStopsTheServerAfterABoundedAmount) {
  Start();
  constexpr size_t kBytes = 1000;
  constexpr int kCount = 20'000;
  std::atomic<size_t> written{0};
  service_.emit = [&](ServerContext*, const Msg*, ServerEmitter* writer) {
    Msg message = Data(kBytes);
    for (int i = 0; i < kCount; ++i, written += kBytes) {
      message.set_number(i);
      if (!writer->Write(message)) return Status(StatusCode::ABORTED, "the write failed");
    }
    return Status::OK;
  };
  ClientContext context;
  auto reader = stub_->Emit(&context, Msg());
  EXPECT_TRUE(Stalled(written));
  std::printf("    buffered for one stream: %zu bytes\n", written.load());
  EXPECT_LT(written, kStreamBound);
  for (int i = 0; i < 100; ++i) {
    ClientContext other;
    other.set_deadline(In(20s));
    Msg answer;
    EXPECT_TRUE(stub_->Unary(&other, Data(10'000), &answer).ok());
  }
  Msg message;
  for (int i = 0; i < kCount; ++i) {
    ASSERT_TRUE(reader->Read(&message)) << i;
    ASSERT_EQ(message.number(), i);
  }
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_TRUE(reader->Finish().ok());
  StopServer();
}

// Large messages count whole: not one each of the last few bytes.
TEST_P(Flow, UnreadLargeMessagesAreBoundedToo) {
  Start();
  Event read_on;
  service_.collect = [&](ServerContext*, ServerCollector* reader, Msg* response) {
    EXPECT_TRUE(read_on.Wait());
    int64_t count = 0;
    for (Msg message; reader->Read(&message); ++count) {
    }
    response->set_number(count);
    return Status::OK;
  };
  constexpr size_t kBytes = 3'000'000;
  constexpr int kCount = 30;
  std::atomic<size_t> written{0};
  ClientContext context;
  Msg response;
  auto writer = stub_->Collect(&context, &response);
  std::thread thread([&] {
    const Msg message = Data(kBytes);
    for (int i = 0; i < kCount; ++i, written += kBytes) ASSERT_TRUE(writer->Write(message));
    EXPECT_TRUE(writer->WritesDone());
  });
  EXPECT_TRUE(Stalled(written));
  EXPECT_LE(written, 3 * kBytes);
  read_on.Set();
  thread.join();
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(response.number(), kCount);
  StopServer();
}

TEST_P(Flow, StalledStreamsDelayNoOtherStream) {
  Start();
  Event read_on;
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    const bool stalls = context->client_metadata().count("stall") != 0;
    EXPECT_TRUE(!stalls || read_on.Wait());
    Msg message;
    while (stream->Read(&message)) {
      if (!stream->Write(message)) break;
    }
    return Status::OK;
  };
  constexpr int kStalled = 8;
  std::vector<std::thread> threads;
  std::atomic<size_t> written{0};
  for (int t = 0; t < kStalled; ++t) {
    threads.emplace_back([&] {
      ClientContext context;
      context.AddMetadata("stall", "1");
      auto stream = stub_->Talk(&context);
      std::thread writer([&] {
        const Msg message = Data(50'000);
        for (int i = 0; i < 60; ++i, written += 50'000) EXPECT_TRUE(stream->Write(message));
        EXPECT_TRUE(stream->WritesDone());
      });
      int count = 0;
      for (Msg message; stream->Read(&message);) ++count;
      EXPECT_EQ(count, 60);
      writer.join();
      EXPECT_TRUE(stream->Finish().ok());
    });
  }
  EXPECT_TRUE(Stalled(written));
  ClientContext context;
  auto stream = stub_->Talk(&context);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < 500; ++i) {
    Msg message;
    ASSERT_TRUE(stream->Write(Number(i)));
    ASSERT_TRUE(stream->Read(&message));
    ASSERT_EQ(message.number(), i);
  }
  EXPECT_LT(MsSince(start), kSlower * 2000);
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
  if (!one_connection()) {  // nor one of another channel
    const auto other = NewStub();
    for (int i = 0; i < 100; ++i) {
      ClientContext other_context;
      other_context.set_deadline(In(20s));
      Msg answer;
      EXPECT_TRUE(other->Unary(&other_context, Data(10'000), &answer).ok());
    }
  }
  read_on.Set();
  for (std::thread& thread : threads) thread.join();
  StopServer();
}

// What unblocks a writer that waits for its reader.
TEST_P(Flow, BlockedClientWritersAreUnblocked) {
  Start();
  Event leave;
  std::atomic<bool> return_now{false};
  service_.collect = [&](ServerContext* context, ServerCollector*, Msg*) {
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled() || return_now.load(); }));
    return Status(StatusCode::ABORTED, "returned");
  };
  const auto blocked_write = [&](ClientContext& context, const std::function<void()>& unblock) {
    Msg response;
    auto writer = stub_->Collect(&context, &response);
    std::atomic<size_t> written{0};
    std::atomic<bool> failed{false};
    std::thread thread([&] {
      const Msg message = Data(10'000);
      while (writer->Write(message)) written += 10'000;
      failed = true;
    });
    EXPECT_TRUE(Stalled(written));
    EXPECT_FALSE(failed);
    const auto start = std::chrono::steady_clock::now();
    unblock();
    thread.join();
    EXPECT_LT(MsSince(start), kSlower * 1000);
    return writer->Finish().error_code();
  };
  {
    ClientContext context;
    EXPECT_EQ(blocked_write(context, [&] { context.TryCancel(); }), StatusCode::CANCELLED);
  }
  {
    ClientContext context;
    context.set_deadline(In(kSlower * 300ms));
    EXPECT_EQ(blocked_write(context, [] {}), StatusCode::DEADLINE_EXCEEDED);
  }
  {
    ClientContext context;
    EXPECT_EQ(blocked_write(context, [&] { return_now = true; }), StatusCode::ABORTED);
    return_now = false;
  }
  {
    ClientContext context;
    EXPECT_THAT(blocked_write(context, [&] { server_->Shutdown(In(0ms)); }),
                ::testing::AnyOf(StatusCode::UNAVAILABLE, StatusCode::CANCELLED));
  }
  StopServer();
}

TEST_P(Flow, BlockedServerWritersAreUnblocked) {
  Start();
  std::atomic<size_t> written{0};
  std::atomic<int> failed{0};
  Event cancel_now;
  service_.emit = [&](ServerContext* context, const Msg* request, ServerEmitter* writer) {
    const Msg message = Data(10'000);
    std::thread canceller;
    if (request->text() == "self") {
      canceller = std::thread([&] {
        EXPECT_TRUE(cancel_now.Wait());
        context->TryCancel();
      });
    }
    while (writer->Write(message)) written += 10'000;
    EXPECT_TRUE(context->IsCancelled());
    EXPECT_FALSE(writer->Write(message));
    ++failed;
    if (canceller.joinable()) canceller.join();
    return Status::OK;
  };
  int calls = 0;
  const auto blocked_write = [&](std::chrono::milliseconds deadline, const char* text, const std::function<void(ClientContext&)>& unblock) {
    Msg request;
    request.set_text(text);
    ClientContext context;
    if (deadline != 0ms) context.set_deadline(In(deadline));
    written = 0;
    auto reader = stub_->Emit(&context, request);
    EXPECT_TRUE(Eventually([&] { return written != 0; }) && Stalled(written));
    EXPECT_EQ(failed, calls);
    const auto start = std::chrono::steady_clock::now();
    unblock(context);
    ++calls;
    EXPECT_TRUE(Eventually([&] { return failed == calls; }));
    EXPECT_LT(MsSince(start), kSlower * 1000 + static_cast<double>(deadline.count()));
    return reader->Finish().error_code();
  };
  EXPECT_EQ(blocked_write(0ms, "", [](ClientContext& context) { context.TryCancel(); }), StatusCode::CANCELLED);
  EXPECT_EQ(blocked_write(kSlower * 500ms, "", [](ClientContext&) {}), StatusCode::DEADLINE_EXCEEDED);
  // The server's own TryCancel() reaches a client that has a window full of unread messages.
  EXPECT_EQ(blocked_write(0ms, "self", [&](ClientContext&) { cancel_now.Set(); }), StatusCode::CANCELLED);
  EXPECT_THAT(blocked_write(0ms, "", [&](ClientContext&) { server_->Shutdown(In(0ms)); }),
              ::testing::AnyOf(StatusCode::UNAVAILABLE, StatusCode::CANCELLED));
  StopServer();
}

TEST_P(Flow, AUnaryResponseLargerThanTheWindowWaitsForItsReader) {
  ipcrpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  Start({}, arguments);
  service_.unary = [&](ServerContext*, const Msg*, Msg* response) {
    *response = Data(20'000'000);
    return Status::OK;
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 2; ++i) {
        ClientContext context;
        Msg response;
        EXPECT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
        EXPECT_EQ(response.data().size(), 20'000'000u);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  StopServer();
}

// Their pieces are interleaved on the way, and wait for credit and space at any of them.
TEST_P(Flow, LargeMessagesOfManyThreadsStayWhole) {
  Start();
  service_.talk = [](ServerContext*, ipcrpc::ServerReaderWriter<Msg, Msg>* stream) {
    for (Msg message; stream->Read(&message);) {
      if (!stream->Write(message)) break;
    }
    return Status::OK;
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      ClientContext context;
      auto stream = stub_->Talk(&context);
      for (const size_t bytes : {2'000u, 49'000u, 65'536u, 100'001u, 1'048'576u, 3'000'001u, 70'000u}) {
        Msg message, echo;
        std::string& data = *message.mutable_data();
        data.resize(bytes);
        for (size_t i = 0; i < bytes; ++i) data[i] = static_cast<char>((i + static_cast<size_t>(t)) * 2654435761u >> 15);
        ASSERT_TRUE(stream->Write(message));
        ASSERT_TRUE(stream->Read(&echo));
        EXPECT_TRUE(echo.data() == data) << bytes;
      }
      EXPECT_TRUE(stream->WritesDone());
      EXPECT_TRUE(stream->Finish().ok());
    });
  }
  for (std::thread& thread : threads) thread.join();
  StopServer();
}

BEHAVIOUR_SUITE(Flow);

}  // namespace
}  // namespace behaviour

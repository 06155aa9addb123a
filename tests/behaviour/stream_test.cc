// The three streaming kinds: order, ends, halves, limits, two threads at once.
#include <numeric>

#include "tests/behaviour/callback_kit.h"
#include "tests/behaviour/generic_kit.h"

namespace behaviour {
namespace {

using ::testing::ElementsAre;

class Stream : public BehaviourTest {};

TEST_P(Stream, ClientStreaming) {
  Start();
  for (const int count : {0, 1, 1000}) {
    ClientContext context;
    Msg response;
    auto writer = stub_->Collect(&context, &response);
    for (int i = 1; i <= count; ++i) ASSERT_TRUE(writer->Write(Number(i)));
    EXPECT_TRUE(writer->WritesDone());
    ASSERT_TRUE(writer->Finish().ok());
    EXPECT_EQ(response.text(), std::to_string(count));
    EXPECT_EQ(response.number(), count * (count + 1) / 2);
  }
}

TEST_P(Stream, ServerStreamingKeepsOrderAndEndsForGood) {
  Start();
  ClientContext context;
  auto reader = stub_->Emit(&context, Number(5000));
  Msg message;
  uint32_t size = 0;
  for (int i = 0; i < 5000; ++i) {
    if (i % 100 == 1) {
      ASSERT_TRUE(reader->NextMessageSize(&size));
      EXPECT_EQ(size, Number(i).ByteSizeLong());
    }
    ASSERT_TRUE(reader->Read(&message)) << i;
    ASSERT_EQ(message.number(), i);
  }
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_FALSE(reader->NextMessageSize(&size));
  EXPECT_TRUE(reader->Finish().ok());
  EXPECT_FALSE(reader->Read(&message));
}

TEST_P(Stream, PingPong) {
  Start();
  ClientContext context;
  auto stream = stub_->Talk(&context);
  for (int i = 0; i < 2000; ++i) {
    Msg message;
    ASSERT_TRUE(stream->Write(Number(i)));
    ASSERT_TRUE(stream->Read(&message));
    ASSERT_EQ(message.number(), i);
  }
  EXPECT_TRUE(stream->WritesDone());
  Msg message;
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_P(Stream, MessagesOfAllSizesInOneStream) {
  ipcrpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  Start([](ipcrpc::ServerBuilder& builder) { builder.SetMaxReceiveMessageSize(-1); }, arguments);
  ClientContext context;
  auto stream = stub_->Talk(&context);
  std::vector<size_t> sizes = {0, 1, 10'000'000, 0, 65'536, 17, 1'000'000, 16'000, 16'384, 262'144, 0};
  std::thread writer([&] {
    for (size_t i = 0; i < sizes.size(); ++i) EXPECT_TRUE(stream->Write(Data(sizes[i], static_cast<char>('a' + i))));
    EXPECT_TRUE(stream->WritesDone());
  });
  for (size_t i = 0; i < sizes.size(); ++i) {
    Msg message;
    ASSERT_TRUE(stream->Read(&message)) << i;
    EXPECT_EQ(message.data(), std::string(sizes[i], static_cast<char>('a' + i))) << i;
  }
  writer.join();
  Msg message;
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_P(Stream, HalfCloseEndsTheReadsAndNotTheCall) {
  Start();
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    Msg message;
    int64_t reads = 0;
    while (stream->Read(&message)) ++reads;
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_FALSE(context->IsCancelled());
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(stream->Write(Number(reads + i)));
    return Status::OK;
  };
  ClientContext context;
  auto stream = stub_->Talk(&context);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(stream->Write(Msg()));
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_FALSE(stream->Write(Msg()));  // it was said that nothing would follow
  for (int i = 0; i < 10; ++i) {
    Msg message;
    ASSERT_TRUE(stream->Read(&message));
    EXPECT_EQ(message.number(), 3 + i);
  }
  EXPECT_TRUE(stream->Finish().ok());
  StopServer();
}

TEST_P(Stream, EarlyReturnFailsWritesAndKeepsWhatWasSent) {
  Start();
  service_.talk = [&](ServerContext*, ServerTalk* stream) {
    Msg message;
    stream->Read(&message);
    for (int i = 0; i < 3; ++i) stream->Write(Number(i));
    return Status(StatusCode::OUT_OF_RANGE, "enough");
  };
  ClientContext context;
  auto stream = stub_->Talk(&context);
  const Msg bulk = Data(10'000);
  ASSERT_TRUE(Eventually([&] { return !stream->Write(bulk); }));
  Msg message;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(stream->Read(&message));
    EXPECT_EQ(message.number(), i);
  }
  EXPECT_FALSE(stream->Read(&message));
  const Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), StatusCode::OUT_OF_RANGE);
  EXPECT_EQ(status.error_message(), "enough");
  StopServer();
}

TEST_P(Stream, EarlyOkOfAClientStreamDeliversItsResponse) {
  Start();
  service_.collect = [&](ServerContext*, ServerCollector*, Msg* response) {
    response->set_text("early");
    return Status::OK;
  };
  ClientContext context;
  Msg response;
  auto writer = stub_->Collect(&context, &response);
  const Msg bulk = Data(100'000);
  ASSERT_TRUE(Eventually([&] { return !writer->Write(bulk); }));
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(response.text(), "early");
  StopServer();
}

TEST_P(Stream, WriteLastIsWriteAndHalfClose) {
  Start();
  Msg response;
  {
    ClientContext context;
    auto writer = stub_->Collect(&context, &response);
    writer->Write(Number(1));
    writer->WriteLast(Number(2), ipcrpc::WriteOptions());
    EXPECT_TRUE(writer->Finish().ok());
    EXPECT_EQ(response.number(), 3);
  }
  {
    ClientContext context;
    auto stream = stub_->Talk(&context);
    stream->WriteLast(Data(200'000), ipcrpc::WriteOptions());
    EXPECT_TRUE(stream->Read(&response));
    EXPECT_EQ(response.data().size(), 200'000u);
    EXPECT_FALSE(stream->Read(&response));
    EXPECT_TRUE(stream->Finish().ok());
  }
}

TEST_P(Stream, BufferHintsHoldNothingBackForGood) {
  Start();
  ClientContext context;
  auto stream = stub_->Talk(&context);
  Msg message;
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(stream->Write(Number(i), ipcrpc::WriteOptions().set_buffer_hint()));
    ASSERT_TRUE(stream->Read(&message));
    EXPECT_EQ(message.number(), i);
  }
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
}

TEST_P(Stream, MessagesReadAreOverwrittenNotMergedInto) {
  Start();
  service_.talk = [](ServerContext*, ServerTalk* stream) {
    Msg message;
    message.set_text("the server's old one");
    while (stream->Read(&message)) stream->Write(message);
    return Status::OK;
  };
  service_.emit = [](ServerContext*, const Msg*, ServerEmitter* writer) { return writer->Write(Msg()), Status::OK; };
  Msg message;
  ClientContext talk, collect, emit;
  auto stream = stub_->Talk(&talk);
  for (int i = 0; i < 3; ++i) {
    message.set_text("the client's old one");
    EXPECT_TRUE(stream->Write(Number(i)) && stream->Read(&message));
    EXPECT_EQ(message.SerializeAsString(), Number(i).SerializeAsString());
  }
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok());
  message.set_data("old");
  auto writer = stub_->Collect(&collect, &message);
  EXPECT_TRUE(writer->WritesDone());
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(message.data(), "");
  auto reader = stub_->Emit(&emit, Msg());
  EXPECT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.ByteSizeLong(), 0u) << "a message of no bytes";
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_TRUE(reader->Finish().ok());
  StopServer();
}

TEST_P(Stream, TheServersHintsAndItsLastWriteHoldNothingBack) {
  Start();
  Event seen;
  service_.emit = [&](ServerContext*, const Msg*, ServerEmitter* writer) {
    EXPECT_TRUE(writer->Write(Number(0), ipcrpc::WriteOptions().set_buffer_hint()));
    EXPECT_TRUE(seen.Wait());
    EXPECT_TRUE(writer->Write(Number(1), ipcrpc::WriteOptions().set_buffer_hint()));
    writer->WriteLast(Number(2), ipcrpc::WriteOptions());
    return Status(StatusCode::ABORTED, "with a last message");
  };
  ClientContext context;
  auto reader = stub_->Emit(&context, Msg());
  Msg message;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(reader->Read(&message));
    EXPECT_EQ(message.number(), i);
    seen.Set();
  }
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::ABORTED);
  StopServer();
}

TEST_P(Stream, StatusReachesTheClientByteForByteInEveryShape) {
  Start();
  const std::string text = std::string(" \0\x01", 3) + "100 % of %41 \xc3\xa4\n ";
  const std::string details = std::string("\0\xff\xfe", 3) + std::string(2000, '\x80');
  const auto end = [&](const Msg& asked) { return Status(static_cast<StatusCode>(asked.number()), text, details); };
  service_.collect = [&](ServerContext*, ServerCollector* reader, Msg* response) {
    Msg message;
    EXPECT_TRUE(reader->Read(&message));
    response->set_text("must not be delivered");
    return end(message);
  };
  service_.emit = [&](ServerContext*, const Msg* request, ServerEmitter* writer) { return writer->Write(Msg()), end(*request); };
  service_.talk = [&](ServerContext*, ServerTalk* stream) {
    Msg message;
    EXPECT_TRUE(stream->Read(&message));
    return end(message);
  };
  for (int code = 1; code <= 16; ++code) {
    ClientContext collect, emit, talk;
    Msg response, message;
    response.set_text("untouched");
    auto writer = stub_->Collect(&collect, &response);
    EXPECT_TRUE(writer->Write(Number(code)));
    auto reader = stub_->Emit(&emit, Number(code));
    EXPECT_TRUE(reader->Read(&message));
    EXPECT_FALSE(reader->Read(&message));
    auto stream = stub_->Talk(&talk);
    EXPECT_TRUE(stream->Write(Number(code)));
    EXPECT_FALSE(stream->Read(&message));
    for (const Status& status : {writer->Finish(), reader->Finish(), stream->Finish()}) {
      EXPECT_EQ(status.error_code(), code);
      EXPECT_EQ(status.error_message(), text);
      EXPECT_EQ(status.error_details(), details);
    }
    EXPECT_EQ(response.text(), "untouched");
  }
  StopServer();
}

// Bytes of one's own to a typed handler.
TEST_P(Stream, AMessageThatDoesNotParseLooksLikeTheEndOfReads) {
  Start();
  service_.talk = [](ServerContext*, ServerTalk* stream) {
    int64_t reads = 0;
    for (Msg message; stream->Read(&message);) ++reads;
    return Status(StatusCode::ALREADY_EXISTS, std::to_string(reads));
  };
  service_.collect = [](ServerContext*, ServerCollector* reader, Msg*) {
    int64_t reads = 0;
    for (Msg message; reader->Read(&message);) ++reads;
    return Status(StatusCode::ALREADY_EXISTS, std::to_string(reads));
  };
  for (const char* method : {"/behaviour.Methods/Talk", "/behaviour.Methods/Collect"}) {
    Writing<ClientSide<ipcrpc::ClientBidiReactor<ByteBuffer, ByteBuffer>>> call;
    const ByteBuffer good = Bytes(Number(1).SerializeAsString()), broken = Bytes("\x0a\xff");
    int writes = 0;
    call.on_write = [&](bool ok) {
      if (!ok) return;
      ++writes;
      writes < 3 ? call.StartWrite(writes < 2 ? &good : &broken) : call.StartWritesDone();
    };
    ipcrpc::GenericStub stub(channel_);
    stub.PrepareBidiStreamingCall(&call.context, method, ipcrpc::StubOptions(), &call);
    call.StartWrite(&good);
    call.StartCall();
    EXPECT_EQ(call.Code(), StatusCode::ALREADY_EXISTS) << method;
    EXPECT_EQ(call.status.error_message(), "2") << method;
    EXPECT_EQ(writes, 3);
  }
  ExpectAlive();
  StopServer();
}

TEST_P(Stream, CorkedMetadataTravelsWithTheFirstWrite) {
  Start();
  std::atomic<int> begun{0};
  std::string value;
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    const auto it = context->client_metadata().find("cork");
    if (it != context->client_metadata().end()) value = it->second;
    ++begun;
    Msg message;
    while (stream->Read(&message)) stream->Write(message);
    return Status::OK;
  };
  ClientContext context;
  context.AddMetadata("cork", "popped");
  context.set_initial_metadata_corked(true);
  auto stream = stub_->Talk(&context);
  std::this_thread::sleep_for(20ms);
  EXPECT_EQ(begun, 0);
  Msg message;
  EXPECT_TRUE(stream->Write(Number(5)));
  EXPECT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.number(), 5);
  EXPECT_EQ(value, "popped");
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok());
  // One that never writes begins all the same.
  ClientContext silent_context;
  silent_context.set_initial_metadata_corked(true);
  auto silent = stub_->Talk(&silent_context);
  EXPECT_TRUE(silent->WritesDone());
  EXPECT_TRUE(silent->Finish().ok());
  EXPECT_EQ(begun, 2);
  StopServer();
}

TEST_P(Stream, FinishWithoutReadingLosesTheMessagesAndKeepsTheStatus) {
  Start();
  service_.emit = [&](ServerContext*, const Msg*, ServerEmitter* writer) {
    const Msg bulk = Data(1000);
    for (int i = 0; i < 3000; ++i) EXPECT_TRUE(writer->Write(bulk));
    return Status(StatusCode::DATA_LOSS, "all of it");
  };
  ClientContext context;
  auto reader = stub_->Emit(&context, Msg());
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::DATA_LOSS);
  StopServer();
}

TEST_P(Stream, ReceiveLimitsOnBothSides) {
  constexpr size_t kDefault = 4 << 20;
  Start();
  Event over;
  service_.talk = [&](ServerContext*, ServerTalk* stream) {
    Msg message;
    while (stream->Read(&message)) {
      Msg answer = Data(static_cast<size_t>(message.number()));
      if (!stream->Write(answer)) break;
    }
    over.Set();
    return Status::OK;
  };
  {  // The client's: exactly, then one more.
    ClientContext context;
    auto stream = stub_->Talk(&context);
    Msg message;
    EXPECT_TRUE(stream->Write(Number(kDefault - 5)));
    EXPECT_TRUE(stream->Read(&message));
    EXPECT_EQ(message.ByteSizeLong(), kDefault);
    EXPECT_TRUE(stream->Write(Number(kDefault - 4)));
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  }
  {  // The server's.
    ClientContext context;
    auto stream = stub_->Talk(&context);
    Msg message;
    EXPECT_TRUE(stream->Write(Data(kDefault - 5)));
    EXPECT_TRUE(stream->Read(&message));
    stream->Write(Data(kDefault - 4));
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  }
  {  // In the request of a server stream.
    ClientContext context;
    auto stream = stub_->Emit(&context, Data(kDefault - 4));
    Msg message;
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  }
  ExpectAlive();
  StopServer();
}

TEST_P(Stream, OneReaderAndOneWriterThreadOnBothSides) {
  Start();
  constexpr int kCount = 20'000;
  service_.talk = [&](ServerContext*, ServerTalk* stream) {
    std::thread writer([&] {
      for (int i = 0; i < kCount; ++i) {
        if (!stream->Write(Number(i))) break;
      }
    });
    int64_t read = 0;
    for (Msg message; stream->Read(&message); ++read) EXPECT_EQ(message.number(), read);
    writer.join();
    return Status(StatusCode::ABORTED, std::to_string(read));
  };
  ClientContext context;
  auto stream = stub_->Talk(&context);
  std::thread writer([&] {
    for (int i = 0; i < kCount; ++i) ASSERT_TRUE(stream->Write(Number(i)));
    EXPECT_TRUE(stream->WritesDone());
  });
  Msg message;
  for (int i = 0; i < kCount; ++i) {
    ASSERT_TRUE(stream->Read(&message));
    ASSERT_EQ(message.number(), i);
  }
  writer.join();
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_EQ(stream->Finish().error_message(), std::to_string(kCount));
  StopServer();
}

TEST_P(Stream, WritesAtTheServerAfterTheClientLeftFail) {
  Start();
  Event done;
  service_.emit = [&](ServerContext* context, const Msg*, ServerEmitter* writer) {
    while (writer->Write(Data(1000))) {
    }
    EXPECT_TRUE(context->IsCancelled());
    done.Set();
    return Status::OK;
  };
  {
    ClientContext context;
    auto reader = stub_->Emit(&context, Msg());
    Msg message;
    EXPECT_TRUE(reader->Read(&message));
  }  // destroyed without Finish: cancelled
  EXPECT_TRUE(done.Wait());
  ExpectAlive();
  StopServer();
}

// Answers with bytes of its own, which no Msg can be.
class Scrambler : public ipcrpc::Service {
 public:
  Scrambler() {
    using Handler = ipcrpc::internal::MethodHandler;
    struct Broken : Handler {
      static ipcrpc::internal::OutgoingMessage Message() {
        return {.message = nullptr, .size = [](const void*) { return size_t{4}; },
                .write = [](const void*, std::byte* out, size_t size) { std::memset(out, 0xff, size); }};
      }
      void RunUnary(ServerContext*, std::span<const std::byte>, ipcrpc::internal::UnaryReply& reply) override {
        const auto message = Message();
        reply.Finish(Status::OK, &message);
      }
      Status RunStream(ipcrpc::internal::ServerCall& call) override {
        call.Write(Message(), ipcrpc::WriteOptions());
        return Status::OK;
      }
    };
    using ipcrpc::internal::RpcMethod;
    for (const auto& [name, kind] : {std::pair{"/behaviour.Methods/Unary", RpcMethod::NORMAL_RPC},
                                     std::pair{"/behaviour.Methods/Collect", RpcMethod::CLIENT_STREAMING},
                                     std::pair{"/behaviour.Methods/Emit", RpcMethod::SERVER_STREAMING}}) {
      AddMethod(std::make_unique<ipcrpc::internal::RpcServiceMethod>(name, kind, std::make_unique<Broken>()));
    }
  }
};

TEST_P(Stream, ResponsesThatDoNotParseAreNeverOk) {
  Scrambler scrambler;
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(address()).RegisterService(&scrambler);
  const auto server = builder.BuildAndStart();
  ASSERT_NE(server, nullptr) << builder.error();
  const auto stub = NewStub();
  Msg message;
  {
    ClientContext context;
    EXPECT_EQ(stub->Unary(&context, Msg(), &message).error_code(), StatusCode::INTERNAL);
  }
  {
    ClientContext context;
    auto writer = stub->Collect(&context, &message);
    EXPECT_EQ(writer->Finish().error_code(), StatusCode::INTERNAL);
  }
  for (const bool wait_for_end : {false, true}) {
    ClientContext context;
    auto reader = stub->Emit(&context, Msg());
    if (wait_for_end) std::this_thread::sleep_for(20ms);  // the OK is there before the read
    EXPECT_FALSE(reader->Read(&message));
    EXPECT_EQ(reader->Finish().error_code(), StatusCode::INTERNAL);
  }
}

BEHAVIOUR_SUITE(Stream);

}  // namespace
}  // namespace behaviour

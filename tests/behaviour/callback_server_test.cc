// The callback API, server: what reactors may do and when, and how their methods mix with others.
#include <map>

#include "ipcrpc/internal/client_unary_call.h"
#include "tests/behaviour/callback_kit.h"
#include "tests/behaviour/generic_kit.h"

namespace behaviour {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

class CallbackServer : public CallbackTest {
 protected:
  Status Ask(const Msg& request, Msg* response) {
    ClientContext context;
    context.set_deadline(In(20s));
    return stub_->Unary(&context, request, response);
  }
};

TEST_P(CallbackServer, FinishMayComeLaterFromAnyThread) {
  StartCallback();
  std::vector<std::thread> finishers;
  std::atomic<int> dones{0};
  callback_service_.unary = [&](CallbackServerContext* context, const Msg* request, Msg* response) -> ipcrpc::ServerUnaryReactor* {
    if (request->number() % 2 == 0) {  // the library's reactor
      auto* reactor = context->DefaultReactor();
      finishers.emplace_back([=] {
        response->set_number(request->number());
        reactor->Finish(Status::OK);
      });
      return reactor;
    }
    auto* reactor = new ServerAnswers;
    reactor->on_done = [&] { ++dones; };
    finishers.emplace_back([=] {
      std::this_thread::sleep_for(5ms);
      response->set_number(request->number());
      reactor->Finish(Status(StatusCode::ALREADY_EXISTS, "later"));
    });
    return reactor;
  };
  for (int i = 0; i < 10; ++i) {
    Msg response;
    const Status status = Ask(Number(i), &response);
    EXPECT_EQ(status.error_code(), i % 2 == 0 ? StatusCode::OK : StatusCode::ALREADY_EXISTS);
    EXPECT_EQ(response.number(), i % 2 == 0 ? i : 0);
  }
  for (std::thread& finisher : finishers) finisher.join();
  EXPECT_TRUE(Eventually([&] { return dones == 5; }));
  StopServer();
}

// Everything that can be started is started before the handler has returned its reactor.
TEST_P(CallbackServer, OperationsStartedInTheConstructorAreKept) {
  StartCallback();
  struct AllAtOnce : ServerTalks {
    explicit AllAtOnce(CallbackServerContext* context, std::vector<std::string>& said) {
      const auto says = [&said](const char* what) {
        return [&said, what](bool ok) { said.push_back(std::string(what) + (ok ? "" : " failed")); };
      };
      on_initial = says("initial");
      on_read = says("read");
      on_write = [this, note = says("write")](bool ok) {
        note(ok);
        Finish(Status(StatusCode::ABORTED, "enough"));
      };
      on_done = [&said] { said.push_back("done"); };
      context->AddInitialMetadata("from", "the constructor");
      StartSendInitialMetadata();
      StartRead(&in);
      StartWrite(&out);
      EXPECT_TRUE(said.empty());
    }
    Msg in, out = Number(6);
  };
  std::vector<std::string> said;
  callback_service_.talk = [&](CallbackServerContext* context) { return new AllAtOnce(context, said); };
  ClientContext context;
  auto stream = stub_->Talk(&context);
  Msg message;
  stream->WaitForInitialMetadata();
  EXPECT_THAT(context.GetServerInitialMetadata(), ElementsAre(Pair("from", "the constructor")));
  EXPECT_TRUE(stream->Read(&message));
  EXPECT_EQ(message.number(), 6);
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::ABORTED);
  StopServer();
  EXPECT_THAT(said, ElementsAre("initial", "write", "read failed", "done"));
}

TEST_P(CallbackServer, FinishInTheConstructor) {
  StartCallback();
  std::atomic<int> dones{0};
  callback_service_.talk = [&](CallbackServerContext*) {
    auto* reactor = new ServerTalks;
    reactor->on_done = [&] { ++dones; };
    reactor->Finish(Status(StatusCode::OUT_OF_RANGE, "no"));
    return reactor;
  };
  callback_service_.collect = [&](CallbackServerContext*, Msg* response) {
    auto* reactor = new ServerReads;
    reactor->on_done = [&] { ++dones; };
    response->set_number(11);
    reactor->Finish(Status::OK);  // without having read
    return reactor;
  };
  ClientContext context, collect_context;
  EXPECT_EQ(stub_->Talk(&context)->Finish().error_code(), StatusCode::OUT_OF_RANGE);
  Msg response;
  auto writer = stub_->Collect(&collect_context, &response);
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(response.number(), 11);
  EXPECT_TRUE(Eventually([&] { return dones == 2; }));
  StopServer();
}

TEST_P(CallbackServer, StreamsOfEveryShapeForWaitingClients) {
  StartCallback();
  Msg response;
  EXPECT_TRUE(Ask(Number(3), &response).ok());
  EXPECT_EQ(response.number(), 3);
  {
    ClientContext context;
    auto reader = stub_->Emit(&context, Number(1000));
    int64_t read = 0;
    for (Msg message; reader->Read(&message); ++read) EXPECT_EQ(message.number(), read);
    EXPECT_EQ(read, 1000);
    EXPECT_TRUE(reader->Finish().ok());
  }
  {
    ClientContext context;
    auto writer = stub_->Collect(&context, &response);
    for (int i = 1; i <= 1000; ++i) EXPECT_TRUE(writer->Write(Number(i)));
    EXPECT_TRUE(writer->WritesDone());
    EXPECT_TRUE(writer->Finish().ok());
    EXPECT_EQ(response.number(), 500'500);
  }
  {
    ClientContext context;
    auto stream = stub_->Talk(&context);
    for (const size_t size : {0, 1, 1000, 100'000, 3'000'000}) {
      EXPECT_TRUE(stream->Write(Data(size)));
      Msg message;
      ASSERT_TRUE(stream->Read(&message));
      EXPECT_EQ(message.data().size(), size);
    }
    EXPECT_TRUE(stream->WritesDone());
    EXPECT_FALSE(stream->Read(&response));
    EXPECT_TRUE(stream->Finish().ok());
  }
  // A request that comes in many pieces.
  ClientContext context;
  Msg large = Data(3'000'000);
  large.set_number(2);
  auto reader = stub_->Emit(&context, large);
  EXPECT_TRUE(reader->Read(&response));
  EXPECT_TRUE(reader->Read(&response));
  EXPECT_FALSE(reader->Read(&response));
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_P(CallbackServer, AHalfCloseEndsReadsAndCancelsNothing) {
  StartCallback();
  Msg message;
  std::atomic<bool> cancelled{false};
  Event half_closed;
  ServerTalks* reactor = nullptr;
  callback_service_.talk = [&](CallbackServerContext* context) {
    reactor = new ServerTalks;
    reactor->on_read = [&, context](bool ok) {
      EXPECT_FALSE(ok);
      EXPECT_FALSE(context->IsCancelled());
      half_closed.Set();
    };
    reactor->on_cancel = [&] { cancelled = true; };
    reactor->StartRead(&message);
    return reactor;
  };
  ClientContext context;
  auto stream = stub_->Talk(&context);
  EXPECT_TRUE(stream->WritesDone());
  ASSERT_TRUE(half_closed.Wait());
  const Msg late = Number(12);
  reactor->on_write = [&](bool ok) {
    EXPECT_TRUE(ok);
    reactor->Finish(Status::OK);
  };
  reactor->StartWrite(&late);
  Msg read;
  EXPECT_TRUE(stream->Read(&read));
  EXPECT_EQ(read.number(), 12);
  EXPECT_TRUE(stream->Finish().ok());
  StopServer();
  EXPECT_FALSE(cancelled);
}

TEST_P(CallbackServer, WriteAndFinishHasNoWriteReaction) {
  StartCallback();
  std::atomic<int> writes{0}, dones{0};
  static const Msg last = Number(13);
  for (const StatusCode code : {StatusCode::OK, StatusCode::ABORTED}) {
    callback_service_.emit = [&, code](CallbackServerContext* context, const Msg*) {
      auto* reactor = new ServerWrites;
      reactor->on_write = [&](bool) { ++writes; };
      reactor->on_done = [&] { ++dones; };
      context->AddTrailingMetadata("trailing", "too");
      reactor->StartWriteAndFinish(&last, ipcrpc::WriteOptions(), Status(code, ""));
      return reactor;
    };
    ClientContext context;
    auto reader = stub_->Emit(&context, Msg());
    Msg message;
    EXPECT_TRUE(reader->Read(&message));
    EXPECT_EQ(message.number(), 13);
    EXPECT_FALSE(reader->Read(&message));
    EXPECT_EQ(reader->Finish().error_code(), code);
    EXPECT_THAT(context.GetServerTrailingMetadata(), ElementsAre(Pair("trailing", "too")));
  }
  StopServer();
  EXPECT_EQ(writes, 0);
  EXPECT_EQ(dones, 2);
}

TEST_P(CallbackServer, WriteLastHoldsTheMessageForFinish) {
  StartCallback();
  for (const StatusCode code : {StatusCode::OK, StatusCode::ABORTED}) {
    Event written;
    ServerWrites* reactor = nullptr;
    callback_service_.emit = [&](CallbackServerContext*, const Msg*) {
      reactor = new ServerWrites;
      reactor->on_write = [&](bool ok) {
        EXPECT_TRUE(ok);
        written.Set();
      };
      const Msg last = Number(14);  // needed until OnWriteDone() alone, but kept here less long than that
      auto* message = new Msg(last);
      reactor->on_done = [message] { delete message; };
      reactor->StartWriteLast(message, ipcrpc::WriteOptions());
      return reactor;
    };
    ClientContext context;
    auto reader = stub_->Emit(&context, Msg());
    ASSERT_TRUE(written.Wait());
    std::atomic<bool> read{false};
    std::thread waits([&] {
      Msg message;
      EXPECT_TRUE(reader->Read(&message));
      EXPECT_EQ(message.number(), 14);
      read = true;
    });
    EXPECT_FALSE(Eventually([&] { return read.load(); }, 60ms));
    reactor->Finish(Status(code, ""));
    waits.join();
    EXPECT_EQ(reader->Finish().error_code(), code);
  }
  StopServer();
}

TEST_P(CallbackServer, InitialMetadataMayGoBeforeAnyMessage) {
  StartCallback();
  Event seen;
  callback_service_.unary = [&](CallbackServerContext* context, const Msg*, Msg*) {
    auto* reactor = new ServerAnswers;
    context->AddInitialMetadata("early", "bird");
    EXPECT_EQ(context->client_metadata().count("asked"), 1u);
    reactor->on_initial = [&, reactor](bool ok) {
      EXPECT_TRUE(ok);
      std::thread([&seen, reactor] {
        EXPECT_TRUE(seen.Wait());
        reactor->Finish(Status::OK);
      }).detach();
    };
    reactor->StartSendInitialMetadata();
    return reactor;
  };
  ClientAsker asker;
  asker.context.AddMetadata("asked", "for");
  asker.on_initial = [&](bool ok) {
    EXPECT_TRUE(ok);
    EXPECT_EQ(asker.context.GetServerInitialMetadata().count("early"), 1u);
    seen.Set();
  };
  const Msg request;
  Msg response;
  stub_->async()->Unary(&asker.context, &request, &response, &asker);
  asker.StartCall();
  EXPECT_EQ(asker.Code(), StatusCode::OK);
  StopServer();
}

TEST_P(CallbackServer, HandlersThatReturnNothingOrThrow) {
  StartCallback();
  Msg response;
  callback_service_.unary = [](CallbackServerContext*, const Msg*, Msg*) { return nullptr; };
  EXPECT_EQ(Ask(Msg(), &response).error_code(), StatusCode::UNIMPLEMENTED);
  callback_service_.unary = [](CallbackServerContext*, const Msg*, Msg*) -> ipcrpc::ServerUnaryReactor* { throw std::string("no"); };
  EXPECT_EQ(Ask(Msg(), &response).error_code(), StatusCode::UNKNOWN);
  callback_service_.talk = [](CallbackServerContext*) -> ipcrpc::ServerBidiReactor<Msg, Msg>* { throw 1; };
  ClientContext context;
  EXPECT_EQ(stub_->Talk(&context)->Finish().error_code(), StatusCode::UNKNOWN);
  callback_service_.unary = {};
  EXPECT_TRUE(Ask(Number(1), &response).ok());
  ExpectAlive();
}

TEST_P(CallbackServer, LimitsEndTheCallAlone) {
  StartCallback([](ipcrpc::ServerBuilder& builder) {
    builder.SetMaxReceiveMessageSize(1000);
    builder.SetMaxSendMessageSize(1000);
  });
  Msg response;
  EXPECT_EQ(Ask(Data(2000), &response).error_code(), StatusCode::RESOURCE_EXHAUSTED);
  callback_service_.unary = [](CallbackServerContext* context, const Msg*, Msg* answer) {
    *answer = Data(2000);
    context->DefaultReactor()->Finish(Status::OK);
    return context->DefaultReactor();
  };
  EXPECT_EQ(Ask(Msg(), &response).error_code(), StatusCode::RESOURCE_EXHAUSTED);
  static const Msg large = Data(2000);
  std::atomic<bool> write_failed{false};
  callback_service_.emit = [&](CallbackServerContext*, const Msg*) {
    auto* reactor = new ServerWrites;
    reactor->on_write = [&, reactor](bool ok) {
      write_failed = !ok;
      reactor->Finish(Status::OK);
    };
    reactor->StartWrite(&large);
    return reactor;
  };
  ClientContext context;
  EXPECT_EQ(stub_->Emit(&context, Msg())->Finish().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(write_failed);
  std::atomic<int> cancels{0};
  Msg in;
  callback_service_.talk = [&](CallbackServerContext*) {
    auto* reactor = new ServerTalks;
    reactor->on_cancel = [&, reactor] {
      ++cancels;
      reactor->Finish(Status::OK);
    };
    reactor->StartRead(&in);
    return reactor;
  };
  ClientContext talk_context;
  auto stream = stub_->Talk(&talk_context);
  stream->Write(large);
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(Eventually([&] { return cancels == 1; }));
  ExpectAlive();
  StopServer();
}

TEST_P(CallbackServer, AHandlerThatBlocksHoldsUpNoOtherCall) {
  StartCallback();
  Event go;
  std::atomic<int> stuck{0};
  callback_service_.unary = [&](CallbackServerContext* context, const Msg*, Msg*) {
    ++stuck;
    EXPECT_TRUE(go.Wait());
    context->DefaultReactor()->Finish(Status::OK);
    return context->DefaultReactor();
  };
  ClientAsker askers[3];
  const Msg request;
  Msg responses[3];
  for (int i = 0; i < 3; ++i) {
    stub_->async()->Unary(&askers[i].context, &request, &responses[i], &askers[i]);
    askers[i].StartCall();
  }
  EXPECT_TRUE(Eventually([&] { return stuck == 3; }));
  PingPong talk(*stub_, 10);
  EXPECT_EQ(talk.Code(), StatusCode::OK);
  go.Set();
  for (ClientAsker& asker : askers) EXPECT_EQ(asker.Code(), StatusCode::OK);
  StopServer();
}

// One service, all styles: waiting, callback, raw.
class MixedService final
    : public Methods::WithRawCallbackMethod_Talk<Methods::WithRawCallbackMethod_Unary<Methods::WithCallbackMethod_Emit<Methods::Service>>> {
 public:
  Status Collect(ServerContext*, ServerCollector* reader, Msg* response) override {
    for (Msg message; reader->Read(&message);) response->set_number(response->number() + message.number());
    return Status::OK;
  }
  ipcrpc::ServerWriteReactor<Msg>* Emit(CallbackServerContext*, const Msg* request) override {
    ++emits;
    return NewEmitter(request->number());
  }
  // The bytes as they came, with one more.
  ipcrpc::ServerUnaryReactor* Unary(CallbackServerContext* context, const ipcrpc::ByteBuffer* request,
                                    ipcrpc::ByteBuffer* response) override {
    std::vector<ipcrpc::Slice> slices;
    EXPECT_TRUE(request->Dump(&slices).ok());
    slices.emplace_back(append);
    *response = ipcrpc::ByteBuffer(slices.data(), slices.size());
    auto* reactor = context->DefaultReactor();
    reactor->Finish(Status::OK);
    return reactor;
  }
  ipcrpc::ServerBidiReactor<ipcrpc::ByteBuffer, ipcrpc::ByteBuffer>* Talk(CallbackServerContext*) override {
    class Echo final : public ipcrpc::ServerBidiReactor<ipcrpc::ByteBuffer, ipcrpc::ByteBuffer> {
     public:
      Echo() { StartRead(&bytes_); }
      void OnReadDone(bool ok) override { ok ? StartWrite(&bytes_) : Finish(Status::OK); }
      void OnWriteDone(bool) override { StartRead(&bytes_); }
      void OnDone() override { delete this; }

     private:
      ipcrpc::ByteBuffer bytes_;
    };
    return new Echo;
  }
  std::string append;
  std::atomic<int> emits{0};
};

TEST_P(CallbackServer, StylesMixMethodByMethod) {
  MixedService service;
  server_ = Serve(service, address());
  Start();
  Msg response;
  service.append = Number(5).SerializeAsString();
  EXPECT_TRUE(Ask(Data(10), &response).ok());
  EXPECT_EQ(response.data().size(), 10u);
  EXPECT_EQ(response.number(), 5);
  ClientContext emit_context, collect_context;
  auto reader = stub_->Emit(&emit_context, Number(2));
  EXPECT_TRUE(reader->Read(&response));
  EXPECT_TRUE(reader->Finish().ok());
  auto writer = stub_->Collect(&collect_context, &response);
  EXPECT_TRUE(writer->Write(Number(4)));
  EXPECT_TRUE(writer->Write(Number(5)));
  EXPECT_TRUE(writer->WritesDone());
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(response.number(), 9);
  PingPong talk(*stub_, 20);
  EXPECT_EQ(talk.Code(), StatusCode::OK);
  ExpectAlive();
  StopServer();
}

// Sends what is not a Msg: "text" is a string that must be UTF-8, in place of which a raw method sends anything.
TEST_P(CallbackServer, MessagesThatDoNotParse) {
  MixedService service;
  server_ = Serve(service, address());
  Start();
  service.append = std::string("\x0a\xff", 2);  // a length beyond the end
  Msg response = Number(7);
  EXPECT_EQ(Ask(Number(1), &response).error_code(), StatusCode::INTERNAL);
  ClientAsker asker;
  const Msg request;
  stub_->async()->Unary(&asker.context, &request, &response, &asker);
  asker.StartCall();
  EXPECT_EQ(asker.Code(), StatusCode::INTERNAL);

  // Bytes for a typed method, from a stub whose messages are bytes.
  const std::string garbage("\x0a\xff", 2);
  const ipcrpc::Slice slice(garbage);
  const ipcrpc::ByteBuffer bytes(&slice, 1);
  ipcrpc::ByteBuffer answer;
  // A raw method sees them as they are.
  ClientContext raw_context;
  const ipcrpc::internal::RpcMethod unary("/behaviour.Methods/Unary", ipcrpc::internal::RpcMethod::NORMAL_RPC);
  EXPECT_TRUE(ipcrpc::internal::BlockingUnaryCall(channel_.get(), unary, &raw_context, bytes, &answer).ok());
  EXPECT_EQ(Text(answer), garbage + service.append);
  const ipcrpc::internal::RpcMethod emit("/behaviour.Methods/Emit", ipcrpc::internal::RpcMethod::SERVER_STREAMING);
  ClientContext context;
  class ByteReads final : public ClientSide<ipcrpc::ClientReadReactor<ipcrpc::ByteBuffer>> {};
  ByteReads reader;
  ipcrpc::internal::CallbackStreamingCall(channel_.get(), emit, &reader.context, &bytes, &reader);
  reader.StartCall();
  EXPECT_EQ(reader.Code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(service.emits, 0);
  ExpectAlive();
  StopServer();
}

class CountingAllocator final : public ipcrpc::MessageAllocator<Msg, Msg> {
 public:
  struct Holder final : ipcrpc::MessageHolder<Msg, Msg> {
    explicit Holder(CountingAllocator& allocator) : owner(allocator) {
      set_request(&in);
      set_response(&out);
    }
    void Release() override {
      ++owner.released;
      delete this;
    }
    void FreeRequest() override { ++owner.freed; }
    CountingAllocator& owner;
    Msg in, out;
  };
  ipcrpc::MessageHolder<Msg, Msg>* AllocateMessages() override {
    ++allocated;
    return new Holder(*this);
  }
  std::atomic<int> allocated{0}, released{0}, freed{0};
};

TEST_P(CallbackServer, MessagesFromAnAllocator) {
  CountingAllocator allocator;
  callback_service_.SetMessageAllocatorFor_Unary(&allocator);
  callback_service_.unary = [](CallbackServerContext* context, const Msg* request, Msg* response) {
    auto* holder = static_cast<CountingAllocator::Holder*>(context->GetRpcAllocatorState());
    EXPECT_EQ(&holder->in, request);
    EXPECT_EQ(&holder->out, response);
    response->set_number(request->number());
    context->GetRpcAllocatorState()->FreeRequest();
    context->DefaultReactor()->Finish(Status::OK);
    return context->DefaultReactor();
  };
  StartCallback();
  Msg response;
  for (int i = 1; i <= 10; ++i) {
    EXPECT_TRUE(Ask(Number(i), &response).ok());
    EXPECT_EQ(response.number(), i);
  }
  EXPECT_TRUE(Eventually([&] { return allocator.released == 10; }));
  // One that does not parse.
  const std::string garbage("\x0a\xff", 2);
  const ipcrpc::Slice slice(garbage);
  const ipcrpc::ByteBuffer bytes(&slice, 1);
  ipcrpc::ByteBuffer answer;
  const ipcrpc::internal::RpcMethod unary("/behaviour.Methods/Unary", ipcrpc::internal::RpcMethod::NORMAL_RPC);
  ClientContext context;
  EXPECT_EQ(ipcrpc::internal::BlockingUnaryCall(channel_.get(), unary, &context, bytes, &answer).error_code(),
            StatusCode::UNIMPLEMENTED);
  StopServer();
  EXPECT_EQ(allocator.allocated, 11);
  EXPECT_EQ(allocator.released, 11);
  EXPECT_EQ(allocator.freed, 10);
}

// A program's own loop runs handlers and reactions alike.
TEST_P(CallbackServer, OnARuntimeWithoutThreads) {
  auto runtime = ipcrpc::Runtime::WithoutThreads();
  std::atomic<bool> stop{false};
  std::thread::id loop_thread;
  std::thread loop([&] {
    loop_thread = std::this_thread::get_id();
    while (!stop) {
      runtime->RunOnce();
      std::this_thread::sleep_for(1ms);
    }
  });
  callback_service_.unary = [&](CallbackServerContext* context, const Msg*, Msg*) {
    EXPECT_EQ(std::this_thread::get_id(), loop_thread);
    context->DefaultReactor()->Finish(Status::OK);
    return context->DefaultReactor();
  };
  StartCallback([&](ipcrpc::ServerBuilder& builder) { builder.SetRuntime(runtime); });
  Msg response;
  EXPECT_TRUE(Ask(Msg(), &response).ok());
  PingPong talk(*stub_, 5);
  EXPECT_EQ(talk.Code(), StatusCode::OK);
  stop = true;
  loop.join();
  StopServer();  // drives it meanwhile
}

BEHAVIOUR_SUITE(CallbackServer);

}  // namespace
}  // namespace behaviour

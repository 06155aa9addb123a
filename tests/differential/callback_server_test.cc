// The callback server: reactors of all kinds, their ends, and services that mix styles.
#include <grpcpp/support/message_allocator.h>
#include <grpcpp/support/server_callback.h>

#include "fixture.h"
#include "reactions.h"

namespace differential {
namespace {

using grpc::CallbackServerContext;

// Its handlers are the test's.
class LambdaCallbackService : public Methods::CallbackService {
 public:
  std::function<grpc::ServerUnaryReactor*(CallbackServerContext*, const Msg*, Msg*)> unary;
  std::function<grpc::ServerReadReactor<Msg>*(CallbackServerContext*, Msg*)> collect;
  std::function<grpc::ServerWriteReactor<Msg>*(CallbackServerContext*, const Msg*)> emit;
  std::function<grpc::ServerBidiReactor<Msg, Msg>*(CallbackServerContext*)> talk;

  grpc::ServerUnaryReactor* Unary(CallbackServerContext* context, const Msg* request, Msg* response) override {
    if (unary) return unary(context, request, response);
    *response = *request;
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(Status::OK);
    return reactor;
  }
  grpc::ServerReadReactor<Msg>* Collect(CallbackServerContext* context, Msg* response) override {
    return collect ? collect(context, response) : Methods::CallbackService::Collect(context, response);
  }
  grpc::ServerWriteReactor<Msg>* Emit(CallbackServerContext* context, const Msg* request) override {
    return emit ? emit(context, request) : Methods::CallbackService::Emit(context, request);
  }
  grpc::ServerBidiReactor<Msg, Msg>* Talk(CallbackServerContext* context) override {
    return talk ? talk(context) : Methods::CallbackService::Talk(context);
  }
};

// Reactors that note what happens to them; the tests own them and start the operations.
class Single final : public grpc::ServerUnaryReactor, public Reactions {
 public:
  void OnSendInitialMetadataDone(bool ok) override { Note("metadata", ok); }
  void OnCancel() override { Note("cancel"); }
  void OnDone() override { NoteDone(); }
};

class Download final : public grpc::ServerWriteReactor<Msg>, public Reactions {
 public:
  void OnSendInitialMetadataDone(bool ok) override { Note("metadata", ok); }
  void OnWriteDone(bool ok) override { Note("write", ok); }
  void OnCancel() override { Note("cancel"); }
  void OnDone() override { NoteDone(); }
};

class Upload final : public grpc::ServerReadReactor<Msg>, public Reactions {
 public:
  void OnSendInitialMetadataDone(bool ok) override { Note("metadata", ok); }
  void OnReadDone(bool ok) override { Note("read", ok); }
  void OnCancel() override { Note("cancel"); }
  void OnDone() override { NoteDone(); }
};

class Both final : public grpc::ServerBidiReactor<Msg, Msg>, public Reactions {
 public:
  void OnSendInitialMetadataDone(bool ok) override { Note("metadata", ok); }
  void OnReadDone(bool ok) override { Note("read", ok); }
  void OnWriteDone(bool ok) override { Note("write", ok); }
  void OnCancel() override { Note("cancel"); }
  void OnDone() override { NoteDone(); }
};

// Echoes, wholly by its reactions, from its constructor on.
class Echo final : public grpc::ServerBidiReactor<Msg, Msg> {
 public:
  Echo() { StartRead(&message_); }
  void OnReadDone(bool ok) override {
    if (ok) return StartWrite(&message_);
    Finish(Status::OK);
  }
  void OnWriteDone(bool ok) override {
    if (ok) return StartRead(&message_);
    Finish(Status(StatusCode::UNKNOWN, "a write failed"));
  }
  void OnDone() override { delete this; }

 private:
  Msg message_;
};

class CallbackServerTest : public DifferentialTest {
 protected:
  ~CallbackServerTest() override { StopServer(); }

  void StartCallback(grpc::Service* service) {
    server_ = Serve(address(), service);
    ASSERT_NE(server_, nullptr);
    channel_ = Connect(address());
    stub_ = Methods::NewStub(channel_);
  }
  void StartCallback() { StartCallback(&callback_); }

  LambdaCallbackService callback_;
};

TEST_F(CallbackServerTest, UnaryByTheDefaultReactor) {
  StartCallback();
  Msg response;
  EXPECT_TRUE(Call(Number(8), &response).ok());
  EXPECT_EQ(response.number(), 8);
  callback_.unary = [](CallbackServerContext* context, const Msg*, Msg*) {
    EXPECT_FALSE(context->IsCancelled());
    EXPECT_NE(context->peer(), "");
    context->AddInitialMetadata("first", Values(context->client_metadata(), "k").at(0));
    context->AddTrailingMetadata("last", "w");
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(Status(StatusCode::ABORTED, "no", "d"));
    return reactor;
  };
  ClientContext context;
  context.AddMetadata("k", "v");
  const Status status = stub_->Unary(&context, Msg(), &response);
  EXPECT_EQ(status.error_code(), StatusCode::ABORTED);
  EXPECT_EQ(status.error_details(), "d");
  EXPECT_THAT(Values(context.GetServerInitialMetadata(), "first"), ElementsAre("v"));
  EXPECT_THAT(Values(context.GetServerTrailingMetadata(), "last"), ElementsAre("w"));
}

TEST_F(CallbackServerTest, FinishMayComeLaterFromAnyThread) {
  StartCallback();
  std::vector<std::jthread> threads;
  std::mutex mu;
  callback_.unary = [&](CallbackServerContext* context, const Msg* request, Msg* response) {
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    std::lock_guard<std::mutex> lock(mu);
    threads.emplace_back([=] {
      std::this_thread::sleep_for(20ms);
      response->set_number(request->number() * 2);
      reactor->Finish(Status::OK);
    });
    return reactor;
  };
  std::vector<std::jthread> callers;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&, i] {
      Msg response;
      EXPECT_TRUE(Call(Number(i), &response).ok());
      EXPECT_EQ(response.number(), 2 * i);
    });
  }
  callers.clear();
  StopServer();
}

TEST_F(CallbackServerTest, HandlersAreUnimplementedByDefault) {
  class Plain : public Absent::CallbackService {
  } plain;
  StartCallback(&plain);
  const auto stub = Absent::NewStub(channel_);
  Msg message;
  ClientContext unary, collect, emit, talk;
  EXPECT_EQ(stub->Unary(&unary, Msg(), &message).error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(stub->Collect(&collect, &message)->Finish().error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(stub->Emit(&emit, Msg())->Finish().error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(stub->Talk(&talk)->Finish().error_code(), StatusCode::UNIMPLEMENTED);
  StopServer();
}

TEST_F(CallbackServerTest, OperationsStartedInTheConstructorAreKept) {
  StartCallback();
  callback_.talk = [](CallbackServerContext*) { return new Echo; };
  for (int round = 0; round < 20; ++round) {
    ClientContext context;
    const auto stream = stub_->Talk(&context);
    Msg message;
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(stream->Write(Number(i)) && stream->Read(&message));
      EXPECT_EQ(message.number(), i);
    }
    EXPECT_TRUE(stream->WritesDone());
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_TRUE(stream->Finish().ok());
  }
  // Finish, too.
  callback_.unary = [](CallbackServerContext*, const Msg*, Msg* response) {
    class Immediate final : public grpc::ServerUnaryReactor {
     public:
      Immediate() { Finish(Status::OK); }
      void OnDone() override { delete this; }
    };
    response->set_number(1);
    return new Immediate;
  };
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(Call().ok());
  StopServer();
}

TEST_F(CallbackServerTest, UploadsStepByStep) {
  StartCallback();
  Upload reactor;
  Msg in;
  Msg* answer = nullptr;
  Event called;
  callback_.collect = [&](CallbackServerContext*, Msg* response) {
    answer = response;
    called.Set();
    return &reactor;
  };
  ClientContext context;
  Msg response;
  const auto writer = stub_->Collect(&context, &response);
  ASSERT_TRUE(called.Wait());
  for (int i = 0; i < 5; ++i) {
    reactor.StartRead(&in);
    EXPECT_TRUE(writer->Write(Number(i)));
    ASSERT_TRUE(reactor.WaitFor("read ok", i + 1));
    EXPECT_EQ(in.number(), i);
  }
  reactor.StartRead(&in);
  EXPECT_TRUE(writer->WritesDone());
  ASSERT_TRUE(reactor.WaitFor("read failed"));
  EXPECT_EQ(reactor.count("cancel"), 0);
  EXPECT_FALSE(reactor.done().set()) << "never before Finish";
  answer->set_number(55);
  reactor.Finish(Status::OK);
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(response.number(), 55);
  ASSERT_TRUE(reactor.done().Wait());
  EXPECT_EQ(reactor.dones(), 1);
  EXPECT_EQ(reactor.last(), "done");
  EXPECT_EQ(reactor.count("cancel"), 0);
  StopServer();
}

TEST_F(CallbackServerTest, DownloadsStepByStep) {
  StartCallback();
  Download reactor;
  Event called;
  callback_.emit = [&](CallbackServerContext* context, const Msg* request) {
    EXPECT_EQ(request->number(), 3);
    context->AddInitialMetadata("early", "yes");
    reactor.StartSendInitialMetadata();
    called.Set();
    return &reactor;
  };
  ClientContext context;
  const auto reader = stub_->Emit(&context, Number(3));
  ASSERT_TRUE(called.Wait());
  ASSERT_TRUE(reactor.WaitFor("metadata ok"));
  reader->WaitForInitialMetadata();
  EXPECT_THAT(Values(context.GetServerInitialMetadata(), "early"), ElementsAre("yes"));
  Msg out, in;
  for (int i = 0; i < 5; ++i) {
    out = Number(i);
    reactor.StartWrite(&out);
    ASSERT_TRUE(reactor.WaitFor("write ok", i + 1));
    EXPECT_TRUE(reader->Read(&in));
    EXPECT_EQ(in.number(), i);
  }
  reactor.Finish(Status(StatusCode::ABORTED, "end"));
  EXPECT_FALSE(reader->Read(&in));
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::ABORTED);
  ASSERT_TRUE(reactor.done().Wait());
  EXPECT_EQ(reactor.last(), "done");
  StopServer();
}

TEST_F(CallbackServerTest, StartWriteAndFinishHasNoWriteReaction) {
  StartCallback();
  Download reactor;
  const Msg out = Number(9);
  callback_.emit = [&](CallbackServerContext*, const Msg*) {
    reactor.StartWriteAndFinish(&out, grpc::WriteOptions(), Status(StatusCode::ABORTED, "with it"));
    return &reactor;
  };
  ClientContext context;
  const auto reader = stub_->Emit(&context, Msg());
  Msg in;
  EXPECT_TRUE(reader->Read(&in));
  EXPECT_EQ(in.number(), 9);
  EXPECT_FALSE(reader->Read(&in));
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::ABORTED);
  ASSERT_TRUE(reactor.done().Wait());
  EXPECT_THAT(reactor.all(), ElementsAre("done"));
  StopServer();
}

TEST_F(CallbackServerTest, StartWriteLastIsDeliveredWithFinish) {
  StartCallback();
  Both reactor;
  Event called;
  callback_.talk = [&](CallbackServerContext*) {
    called.Set();
    return &reactor;
  };
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  ASSERT_TRUE(called.Wait());
  const Msg out = Number(4);
  reactor.StartWriteLast(&out, grpc::WriteOptions());
  reactor.Finish(Status::OK);
  Msg in;
  EXPECT_TRUE(stream->Read(&in));
  EXPECT_EQ(in.number(), 4);
  EXPECT_FALSE(stream->Read(&in));
  EXPECT_TRUE(stream->Finish().ok());
  ASSERT_TRUE(reactor.done().Wait());
  EXPECT_THAT(reactor.all(), ElementsAre("write ok", "done"));
  StopServer();
}

TEST_F(CallbackServerTest, CancellationRunsOnCancelOnceAndWaitsForFinish) {
  StartCallback();
  Both reactor;
  Event called;
  CallbackServerContext* served = nullptr;
  callback_.talk = [&](CallbackServerContext* context) {
    served = context;
    called.Set();
    return &reactor;
  };
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  ASSERT_TRUE(called.Wait());
  EXPECT_FALSE(served->IsCancelled());
  Msg in;
  const Msg out;
  reactor.StartRead(&in);
  context.TryCancel();
  ASSERT_TRUE(reactor.WaitFor("cancel"));
  ASSERT_TRUE(reactor.WaitFor("read failed"));
  EXPECT_TRUE(served->IsCancelled());
  reactor.StartWrite(&out);
  ASSERT_TRUE(reactor.WaitFor("write failed"));
  reactor.StartRead(&in);
  ASSERT_TRUE(reactor.WaitFor("read failed", 2));
  EXPECT_FALSE(reactor.done().Wait(100ms)) << "never before Finish";
  reactor.Finish(Status::OK);
  ASSERT_TRUE(reactor.done().Wait());
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  EXPECT_EQ(reactor.count("cancel"), 1);
  EXPECT_EQ(reactor.dones(), 1);
  EXPECT_EQ(reactor.last(), "done");
  StopServer();
}

TEST_F(CallbackServerTest, UnaryCallsAreCancelledToo) {
  StartCallback();
  Single reactor;
  Event called;
  callback_.unary = [&](CallbackServerContext*, const Msg*, Msg*) {
    called.Set();
    return &reactor;
  };
  ClientContext context;
  std::jthread canceller([&] {
    EXPECT_TRUE(called.Wait());
    context.TryCancel();
  });
  Msg response;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::CANCELLED);
  ASSERT_TRUE(reactor.WaitFor("cancel"));
  EXPECT_FALSE(reactor.done().set());
  reactor.Finish(Status::OK);
  ASSERT_TRUE(reactor.done().Wait());
  StopServer();
}

TEST_F(CallbackServerTest, DeadlinesCancelAtTheServer) {
  StartCallback();
  Single reactor;
  std::chrono::system_clock::time_point deadline;
  callback_.unary = [&](CallbackServerContext* context, const Msg*, Msg*) {
    deadline = context->deadline();
    return &reactor;
  };
  ClientContext context;
  const auto limit = In(250ms);
  context.set_deadline(limit);
  Msg response;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::DEADLINE_EXCEEDED);
  ASSERT_TRUE(reactor.WaitFor("cancel"));
  EXPECT_LT(deadline, limit + 1s);
  EXPECT_GT(deadline, limit - 1s);
  reactor.Finish(Status::OK);
  ASSERT_TRUE(reactor.done().Wait());
  StopServer();
}

TEST_F(CallbackServerTest, TheServersOwnCancellation) {
  StartCallback();
  Both reactor;
  callback_.talk = [&](CallbackServerContext* context) {
    context->TryCancel();
    return &reactor;
  };
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  Msg in;
  EXPECT_FALSE(stream->Read(&in));
  ASSERT_TRUE(reactor.WaitFor("cancel"));
  reactor.Finish(Status::OK);
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  ASSERT_TRUE(reactor.done().Wait());
  StopServer();
}

TEST_F(CallbackServerTest, AClientThatDoesNotReadKeepsOnWriteDoneBack) {
  StartCallback();
  class Writer final : public grpc::ServerWriteReactor<Msg> {
   public:
    explicit Writer(std::atomic<int>* written) : written_(written) { StartWrite(&bulk_); }
    void OnWriteDone(bool ok) override {
      if (!ok) return Finish(Status::OK);
      ++*written_;
      StartWrite(&bulk_);
    }
    void OnDone() override { delete this; }

   private:
    std::atomic<int>* const written_;
    const Msg bulk_ = Data(64 * 1024);
  };
  std::atomic<int> written{0};
  callback_.emit = [&](CallbackServerContext*, const Msg*) { return new Writer(&written); };
  {
    ClientContext context;
    const auto reader = stub_->Emit(&context, Msg());
    EXPECT_TRUE(Settles(written));
    EXPECT_LT(written, 256);
    EXPECT_TRUE(Call().ok());
    const int before = written;
    Msg in;
    for (int i = 0; i < before + 50; ++i) ASSERT_TRUE(reader->Read(&in));
    EXPECT_GT(written, before);
    context.TryCancel();
  }
  StopServer();
}

TEST_F(CallbackServerTest, ShutdownCancelsWhatStillRuns) {
  StartCallback();
  Both reactor;
  Event called;
  callback_.talk = [&](CallbackServerContext*) {
    called.Set();
    return &reactor;
  };
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  ASSERT_TRUE(called.Wait());
  std::jthread finisher([&] {
    EXPECT_TRUE(reactor.WaitFor("cancel"));
    reactor.Finish(Status::OK);
  });
  server_->Shutdown(In(100ms));
  EXPECT_THAT(stream->Finish().error_code(), AnyOf(StatusCode::UNAVAILABLE, StatusCode::CANCELLED));
  EXPECT_TRUE(reactor.done().Wait());
  StopServer();
}

TEST_F(CallbackServerTest, NestedCallsTakeOverDeadlineAndCancellation) {
  LambdaCallbackService inner;
  const std::string inner_address = FreshAddress();
  Single innermost;
  std::atomic<bool> inner_called{false};
  inner.unary = [&](CallbackServerContext*, const Msg*, Msg*) {
    inner_called = true;
    return &innermost;
  };
  const auto inner_server = Serve(inner_address, &inner);
  const auto inner_stub = Methods::NewStub(Connect(inner_address));
  StartCallback();
  std::unique_ptr<ClientContext> nested;
  const Msg request;
  Event nested_done;
  callback_.unary = [&](CallbackServerContext* context, const Msg*, Msg* response) {
    nested = ClientContext::FromCallbackServerContext(*context);
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    inner_stub->async()->Unary(nested.get(), &request, response, [&nested_done, reactor](Status status) {
      EXPECT_EQ(status.error_code(), StatusCode::CANCELLED);
      reactor->Finish(status);
      nested_done.Set();
    });
    return reactor;
  };
  ClientContext context;
  std::jthread canceller([&] {
    EXPECT_TRUE(Eventually([&] { return inner_called.load(); }));
    context.TryCancel();
  });
  Msg response;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::CANCELLED);
  EXPECT_TRUE(innermost.WaitFor("cancel"));
  innermost.Finish(Status::OK);
  EXPECT_TRUE(innermost.done().Wait() && nested_done.Wait());
  StopServer();
  inner_server->Shutdown();
}

TEST_F(CallbackServerTest, RequestsThatDoNotParseRunNoHandler) {
  StartCallback();
  std::atomic<int> runs{0};
  callback_.unary = [&](CallbackServerContext* context, const Msg*, Msg*) {
    ++runs;
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(Status::OK);
    return reactor;
  };
  EXPECT_THAT(Call(Broken()).error_code(), AnyOf(StatusCode::INTERNAL, StatusCode::UNIMPLEMENTED));
  ClientContext context;
  const auto reader = stub_->Emit(&context, Broken());
  EXPECT_THAT(reader->Finish().error_code(), AnyOf(StatusCode::INTERNAL, StatusCode::UNIMPLEMENTED));
  EXPECT_EQ(runs, 0);
  EXPECT_TRUE(Call().ok());
  StopServer();
}

TEST_F(CallbackServerTest, HandlersThatThrowEndTheirCalls) {
  StartCallback();
  callback_.unary = [](CallbackServerContext*, const Msg*, Msg*) -> grpc::ServerUnaryReactor* { throw 1; };
  callback_.talk = [](CallbackServerContext*) -> grpc::ServerBidiReactor<Msg, Msg>* { throw 1; };
  EXPECT_FALSE(Call().ok());
  ClientContext context;
  EXPECT_FALSE(stub_->Talk(&context)->Finish().ok());
  callback_.unary = nullptr;
  EXPECT_TRUE(Call().ok());
}

// Styles by method: Unary by callbacks, Talk raw, the others synchronous.
class Mixed final : public Methods::WithCallbackMethod_Unary<Methods::WithRawCallbackMethod_Talk<Methods::Service>> {
 public:
  grpc::ServerUnaryReactor* Unary(CallbackServerContext* context, const Msg* request, Msg* response) override {
    response->set_number(request->number() + 1);
    grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
    reactor->Finish(Status::OK);
    return reactor;
  }
  Status Collect(ServerContext*, Collector* reader, Msg* response) override {
    for (Msg message; reader->Read(&message);) response->set_number(response->number() + 1);
    return Status::OK;
  }
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Talk(CallbackServerContext*) override { return new RawEcho; }

 private:
  class RawEcho final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
   public:
    RawEcho() { StartRead(&bytes_); }
    void OnReadDone(bool ok) override {
      if (ok) return StartWrite(&bytes_);
      Finish(Status::OK);
    }
    void OnWriteDone(bool ok) override {
      if (ok) return StartRead(&bytes_);
      Finish(Status(StatusCode::UNKNOWN, ""));
    }
    void OnDone() override { delete this; }

   private:
    grpc::ByteBuffer bytes_;
  };
};

TEST_F(CallbackServerTest, StylesMixMethodByMethod) {
  Mixed mixed;
  StartCallback(&mixed);
  Msg message;
  EXPECT_TRUE(Call(Number(1), &message).ok());
  EXPECT_EQ(message.number(), 2);
  ClientContext collect, talk, emit;
  const auto writer = stub_->Collect(&collect, &message);
  EXPECT_TRUE(writer->Write(Msg()));
  EXPECT_TRUE(writer->WritesDone());
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(message.number(), 1);
  const auto stream = stub_->Talk(&talk);
  EXPECT_TRUE(stream->Write(Number(6)) && stream->Read(&message));
  EXPECT_EQ(message.number(), 6);
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(stub_->Emit(&emit, Msg())->Finish().error_code(), StatusCode::UNIMPLEMENTED);
  StopServer();
}

TEST_F(CallbackServerTest, RawMethodsSeeBytesThatDoNotParse) {
  class Raw final : public Methods::WithRawCallbackMethod_Unary<Methods::Service> {
   public:
    grpc::ServerUnaryReactor* Unary(CallbackServerContext* context, const grpc::ByteBuffer* request, grpc::ByteBuffer* response) override {
      length = request->Length();
      const Msg answer = Number(static_cast<int64_t>(request->Length()));
      const grpc::Slice slice(answer.SerializeAsString());
      *response = grpc::ByteBuffer(&slice, 1);
      grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
      reactor->Finish(Status::OK);
      return reactor;
    }
    std::atomic<size_t> length{0};
  } raw;
  StartCallback(&raw);
  Msg response;
  EXPECT_TRUE(Call(Broken(), &response).ok());
  EXPECT_EQ(static_cast<size_t>(response.number()), Broken().ByteSizeLong());
  EXPECT_EQ(raw.length, Broken().ByteSizeLong());
  StopServer();
}

class CountingAllocator final : public grpc::MessageAllocator<Msg, Msg> {
 public:
  grpc::MessageHolder<Msg, Msg>* AllocateMessages() override {
    ++allocated;
    return new Holder(this);
  }
  std::atomic<int> allocated{0}, released{0};

 private:
  class Holder final : public grpc::MessageHolder<Msg, Msg> {
   public:
    explicit Holder(CountingAllocator* owner) : owner_(owner) {
      set_request(&request_);
      set_response(&response_);
    }
    void Release() override {
      ++owner_->released;
      delete this;
    }

   private:
    CountingAllocator* const owner_;
    Msg request_, response_;
  };
};

TEST_F(CallbackServerTest, MessageAllocatorsAreAskedOncePerCall) {
  CountingAllocator allocator;
  callback_.SetMessageAllocatorFor_Unary(&allocator);
  StartCallback();
  for (int i = 0; i < 10; ++i) {
    Msg response;
    EXPECT_TRUE(Call(Number(i), &response).ok());
    EXPECT_EQ(response.number(), i);
  }
  EXPECT_FALSE(Call(Broken()).ok());
  EXPECT_EQ(allocator.allocated, 11);
  EXPECT_TRUE(Eventually([&] { return allocator.released == 11; }));
  StopServer();
}

}  // namespace
}  // namespace differential

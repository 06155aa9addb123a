// The callback client: what reactions come, when, and in which order.
#include <grpcpp/support/client_callback.h>

#include "fixture.h"
#include "reactions.h"

namespace differential {
namespace {

class CallbackClientTest : public DifferentialTest {
 protected:
  // What a call with the lambda interface ends with.
  Status CallAsync(Methods::StubInterface& stub, const Msg& request, Msg* response, const std::function<void(ClientContext&)>& prepare = {}) {
    ClientContext context;
    context.set_deadline(In(kLimit));
    if (prepare) prepare(context);
    Event done;
    Status result;
    stub.async()->Unary(&context, &request, response, [&](Status status) {
      result = std::move(status);
      done.Set();
    });
    EXPECT_TRUE(done.Wait(2 * kLimit));
    return result;
  }
};

// Notes its reactions; what they start is up to the test.
class Talk final : public grpc::ClientBidiReactor<Msg, Msg>, public Reactions {
 public:
  void OnReadInitialMetadataDone(bool ok) override { Note("metadata", ok); }
  void OnReadDone(bool ok) override { Note("read", ok); }
  void OnWriteDone(bool ok) override { Note("write", ok); }
  void OnWritesDoneDone(bool ok) override { Note("writes done", ok); }
  void OnDone(const Status& status) override { NoteDone(status); }
};

class Download final : public grpc::ClientReadReactor<Msg>, public Reactions {
 public:
  void OnReadInitialMetadataDone(bool ok) override { Note("metadata", ok); }
  void OnReadDone(bool ok) override {
    Note("read", ok);
    if (!ok) return;
    numbers.push_back(message.number());
    StartRead(&message);
  }
  void OnDone(const Status& status) override { NoteDone(status); }

  Msg message;
  std::vector<int64_t> numbers;
};

class Upload final : public grpc::ClientWriteReactor<Msg>, public Reactions {
 public:
  void OnReadInitialMetadataDone(bool ok) override { Note("metadata", ok); }
  void OnWriteDone(bool ok) override { Note("write", ok); }
  void OnWritesDoneDone(bool ok) override { Note("writes done", ok); }
  void OnDone(const Status& status) override { NoteDone(status); }
};

class Single final : public grpc::ClientUnaryReactor, public Reactions {
 public:
  void OnReadInitialMetadataDone(bool ok) override { Note("metadata", ok); }
  void OnDone(const Status& status) override { NoteDone(status); }
};

TEST_F(CallbackClientTest, UnaryCallsWithALambda) {
  Start();
  Msg response;
  response.set_text("overwritten");
  EXPECT_TRUE(CallAsync(*stub_, Number(7), &response).ok());
  EXPECT_EQ(response.number(), 7);
  EXPECT_EQ(response.text(), "");
  service_.unary = [](ServerContext* context, const Msg*, Msg*) {
    context->AddTrailingMetadata("t", "v");
    return Status(StatusCode::ABORTED, "no", "d");
  };
  std::vector<std::string> trailing;
  {
    ClientContext context;
    Event done;
    const Msg request;
    stub_->async()->Unary(&context, &request, &response, [&](Status status) {
      EXPECT_EQ(status.error_code(), StatusCode::ABORTED);
      EXPECT_EQ(status.error_details(), "d");
      trailing = Values(context.GetServerTrailingMetadata(), "t");
      done.Set();
    });
    EXPECT_TRUE(done.Wait());
  }
  EXPECT_THAT(trailing, ElementsAre("v"));
  EXPECT_EQ(response.number(), 7) << "not delivered with an error";
}

TEST_F(CallbackClientTest, ManyUnaryCallsAtOnce) {
  Start();
  constexpr int kCalls = 200;
  struct OneCall {
    ClientContext context;
    Msg request, response;
  };
  std::vector<OneCall> calls(kCalls);
  std::atomic<int> right{0}, over{0};
  for (int i = 0; i < kCalls; ++i) {
    OneCall& call = calls[static_cast<size_t>(i)];
    call.request = Number(i);
    stub_->async()->Unary(&call.context, &call.request, &call.response, [&, i](Status status) {
      if (status.ok() && call.response.number() == i) ++right;
      ++over;
    });
  }
  EXPECT_TRUE(Eventually([&] { return over == kCalls; }));
  EXPECT_EQ(right, kCalls);
}

TEST_F(CallbackClientTest, CallsMayBeStartedFromReactions) {
  Start();
  struct Chain {
    Methods::Stub* stub;
    std::vector<std::unique_ptr<ClientContext>> contexts;
    Msg request, response;
    Event done;
    void Next() {
      contexts.push_back(std::make_unique<ClientContext>());
      stub->async()->Unary(contexts.back().get(), &request, &response, [this](Status status) {
        EXPECT_TRUE(status.ok());
        request.set_number(response.number() + 1);
        if (request.number() == 100) return done.Set();
        Next();
      });
    }
  } chain{stub_.get(), {}, {}, {}, {}};
  chain.Next();
  EXPECT_TRUE(chain.done.Wait());
}

TEST_F(CallbackClientTest, ReactionsNeverRunInsideTheCallThatStartedThem) {
  Start();
  const auto nobody = Methods::NewStub(Connect(FreshAddress()));
  for (Methods::Stub* stub : {stub_.get(), nobody.get()}) {
    for (const bool cancelled : {false, true}) {
      for (int i = 0; i < 20; ++i) {
        std::mutex mu;
        Event done, talk_done;
        ClientContext context;
        if (cancelled) context.TryCancel();
        const Msg request;
        Msg response;
        {
          std::lock_guard<std::mutex> lock(mu);
          stub->async()->Unary(&context, &request, &response, [&](Status) {
            { std::lock_guard<std::mutex> inside(mu); }
            done.Set();
          });
        }
        ASSERT_TRUE(done.Wait());
      }
      // The same for the operations of a stream.
      std::mutex mu;
      ClientContext context;
      if (cancelled) context.TryCancel();
      class Locking final : public grpc::ClientBidiReactor<Msg, Msg> {
       public:
        explicit Locking(std::mutex* mu) : mu_(mu) {}
        void OnReadInitialMetadataDone(bool) override { Lock(); }
        void OnReadDone(bool) override { Lock(); }
        void OnWriteDone(bool) override { Lock(); }
        void OnWritesDoneDone(bool) override { Lock(); }
        void OnDone(const Status&) override {
          Lock();
          done.Set();
        }
        Event done;

       private:
        void Lock() { std::lock_guard<std::mutex> lock(*mu_); }
        std::mutex* const mu_;
      } reactor(&mu);
      Msg in;
      const Msg out;
      {
        std::lock_guard<std::mutex> lock(mu);
        stub->async()->Talk(&context, &reactor);
        reactor.AddHold();
        reactor.StartCall();
        reactor.StartRead(&in);
        reactor.StartWrite(&out);
        std::this_thread::sleep_for(20ms);
      }
      std::this_thread::sleep_for(5ms);
      {
        std::lock_guard<std::mutex> lock(mu);
        context.TryCancel();
        reactor.RemoveHold();
        std::this_thread::sleep_for(5ms);
      }
      ASSERT_TRUE(reactor.done.Wait());
    }
  }
}

TEST_F(CallbackClientTest, NothingHappensBeforeStartCall) {
  Start();
  std::atomic<int> runs{0};
  service_.talk = [&](ServerContext*, Talker* stream) {
    ++runs;
    Msg message;
    while (stream->Read(&message)) stream->Write(message);
    return Status::OK;
  };
  ClientContext context;
  Talk reactor;
  Msg in;
  const Msg out = Number(3);
  stub_->async()->Talk(&context, &reactor);
  reactor.StartRead(&in);
  reactor.StartWriteLast(&out, grpc::WriteOptions());
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(runs, 0);
  EXPECT_EQ(reactor.size(), 0u);
  reactor.StartCall();
  ASSERT_TRUE(reactor.done().Wait());
  EXPECT_EQ(in.number(), 3);
  EXPECT_EQ(runs, 1);
  EXPECT_TRUE(reactor.status().ok());
  EXPECT_EQ(reactor.count("read ok"), 1);
  EXPECT_EQ(reactor.count("write ok"), 1);
  EXPECT_EQ(reactor.count("writes done ok") + reactor.count("writes done failed"), 0) << "of StartWriteLast";
  StopServer();
}

TEST_F(CallbackClientTest, ABidiStreamStepByStep) {
  Start();
  service_.talk = [](ServerContext* context, Talker* stream) {
    context->AddInitialMetadata("early", "yes");
    stream->SendInitialMetadata();
    Msg message;
    while (stream->Read(&message)) stream->Write(message);
    return Status(StatusCode::ABORTED, "at the end");
  };
  ClientContext context;
  Talk reactor;
  Msg in, out;
  stub_->async()->Talk(&context, &reactor);
  reactor.AddHold();
  reactor.StartCall();
  ASSERT_TRUE(reactor.WaitFor("metadata ok"));
  EXPECT_THAT(Values(context.GetServerInitialMetadata(), "early"), ElementsAre("yes"));
  for (int i = 0; i < 10; ++i) {
    out = Number(i);
    reactor.StartWrite(&out);
    reactor.StartRead(&in);
    ASSERT_TRUE(reactor.WaitFor("write ok", i + 1) && reactor.WaitFor("read ok", i + 1));
    EXPECT_EQ(in.number(), i);
  }
  reactor.StartWritesDone();
  ASSERT_TRUE(reactor.WaitFor("writes done ok"));
  reactor.StartRead(&in);
  ASSERT_TRUE(reactor.WaitFor("read failed"));
  EXPECT_FALSE(reactor.done().Wait(100ms)) << "a hold is left";
  reactor.RemoveHold();
  ASSERT_TRUE(reactor.done().Wait());
  EXPECT_EQ(reactor.status().error_code(), StatusCode::ABORTED);
  EXPECT_EQ(reactor.dones(), 1);
  EXPECT_EQ(reactor.last(), "done");
  EXPECT_EQ(reactor.first(), "metadata ok");
}

TEST_F(CallbackClientTest, SeveralHoldsMustAllBeRemoved) {
  Start();
  ClientContext context;
  Upload reactor;
  const Msg out;
  Msg response;
  stub_->async()->Collect(&context, &response, &reactor);
  reactor.AddMultipleHolds(2);
  reactor.AddHold();
  reactor.StartWriteLast(&out, grpc::WriteOptions());
  reactor.StartCall();
  for (int i = 0; i < 3; ++i) {
    EXPECT_FALSE(reactor.done().Wait(50ms)) << i;
    reactor.RemoveHold();
  }
  EXPECT_TRUE(reactor.done().Wait());
}

TEST_F(CallbackClientTest, Downloads) {
  Start();
  ClientContext context;
  Download reactor;
  const Msg request = Number(100);
  stub_->async()->Emit(&context, &request, &reactor);
  reactor.StartRead(&reactor.message);
  reactor.StartCall();
  ASSERT_TRUE(reactor.done().Wait());
  EXPECT_TRUE(reactor.status().ok());
  ASSERT_EQ(reactor.numbers.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(reactor.numbers[static_cast<size_t>(i)], i);
  EXPECT_EQ(reactor.count("read failed"), 1);
  EXPECT_EQ(reactor.count("metadata ok"), 1);
  EXPECT_EQ(reactor.last(), "done");
}

TEST_F(CallbackClientTest, Uploads) {
  Start();
  ClientContext context;
  Upload reactor;
  Msg response, out = Number(1);
  stub_->async()->Collect(&context, &response, &reactor);
  reactor.AddHold();
  reactor.StartCall();
  for (int i = 0; i < 5; ++i) {
    reactor.StartWrite(&out);
    ASSERT_TRUE(reactor.WaitFor("write ok", i + 1));
  }
  reactor.StartWritesDone();
  reactor.RemoveHold();
  ASSERT_TRUE(reactor.done().Wait());
  EXPECT_TRUE(reactor.status().ok());
  EXPECT_EQ(response.text(), "5");
  EXPECT_EQ(reactor.count("writes done ok"), 1);

  ClientContext last_context;
  Upload last;
  stub_->async()->Collect(&last_context, &response, &last);
  last.StartWriteLast(&out, grpc::WriteOptions());
  last.StartCall();
  ASSERT_TRUE(last.done().Wait());
  EXPECT_EQ(response.text(), "1");
  EXPECT_EQ(last.count("write ok"), 1);
  EXPECT_EQ(last.count("writes done ok"), 0);
}

TEST_F(CallbackClientTest, UnaryCallsWithAReactor) {
  Start();
  service_.unary = [&](ServerContext* context, const Msg* request, Msg* response) {
    context->AddInitialMetadata("k", "v");
    *response = *request;
    return Status::OK;
  };
  ClientContext context;
  Single reactor;
  const Msg request = Number(5);
  Msg response;
  stub_->async()->Unary(&context, &request, &response, &reactor);
  reactor.StartCall();
  ASSERT_TRUE(reactor.done().Wait());
  EXPECT_TRUE(reactor.status().ok());
  EXPECT_EQ(response.number(), 5);
  EXPECT_THAT(Values(context.GetServerInitialMetadata(), "k"), ElementsAre("v"));
  EXPECT_EQ(reactor.first(), "metadata ok");
  EXPECT_EQ(reactor.size(), 2u);
  StopServer();
}

TEST_F(CallbackClientTest, WithoutAServerMetadataFailBeforeDone) {
  const auto stub = Methods::NewStub(Connect(address()));
  ClientContext context, unary_context;
  Talk reactor;
  Msg in;
  const Msg out;
  stub->async()->Talk(&context, &reactor);
  reactor.StartRead(&in);
  reactor.StartWrite(&out);
  reactor.StartCall();
  ASSERT_TRUE(reactor.done().Wait());
  EXPECT_EQ(reactor.status().error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(reactor.count("metadata failed"), 1);
  EXPECT_EQ(reactor.count("read failed"), 1);
  EXPECT_EQ(reactor.count("write failed"), 1);
  EXPECT_EQ(reactor.last(), "done");
  EXPECT_EQ(reactor.dones(), 1);
  Msg response;
  EXPECT_EQ(CallAsync(*stub, Msg(), &response).error_code(), StatusCode::UNAVAILABLE);
  Single single;
  stub->async()->Unary(&unary_context, &out, &response, &single);
  single.StartCall();
  ASSERT_TRUE(single.done().Wait());
  EXPECT_EQ(single.first(), "metadata failed");
}

TEST_F(CallbackClientTest, WaitsForAServerIfToldTo) {
  const auto stub = Methods::NewStub(Connect(address()));
  ClientContext context;
  context.set_wait_for_ready(true);
  const Msg request;
  Msg response;
  Event done;
  stub->async()->Unary(&context, &request, &response, [&](Status status) {
    EXPECT_TRUE(status.ok());
    done.Set();
  });
  EXPECT_FALSE(done.Wait(150ms));
  ASSERT_NE(server_ = Serve(address(), &service_), nullptr);
  EXPECT_TRUE(done.Wait());
}

TEST_F(CallbackClientTest, CancellationAnswersWhatIsOutstanding) {
  Start();
  Event over;
  service_.talk = [&](ServerContext*, Talker* stream) {
    Msg message;
    stream->Write(message);
    while (stream->Read(&message)) {
    }
    over.Set();
    return Status::OK;
  };
  ClientContext context;
  Talk reactor;
  Msg in;
  stub_->async()->Talk(&context, &reactor);
  reactor.AddHold();
  reactor.StartRead(&in);
  reactor.StartCall();
  ASSERT_TRUE(reactor.WaitFor("read ok"));
  reactor.StartRead(&in);
  context.TryCancel();
  context.TryCancel();
  ASSERT_TRUE(reactor.WaitFor("read failed"));
  const Msg out;
  reactor.StartWrite(&out);
  ASSERT_TRUE(reactor.WaitFor("write failed"));
  reactor.RemoveHold();
  ASSERT_TRUE(reactor.done().Wait());
  EXPECT_EQ(reactor.status().error_code(), StatusCode::CANCELLED);
  EXPECT_TRUE(over.Wait());

  Msg response;
  EXPECT_EQ(CallAsync(*stub_, Msg(), &response, [](ClientContext& early) { early.TryCancel(); }).error_code(), StatusCode::CANCELLED);
  StopServer();
}

TEST_F(CallbackClientTest, DeadlinesFireByThemselves) {
  Start();
  service_.unary = [](ServerContext* context, const Msg*, Msg*) {
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    return Status::OK;
  };
  service_.talk = [](ServerContext*, Talker* stream) {
    Msg message;
    EXPECT_FALSE(stream->Read(&message));
    return Status::OK;
  };
  Stopwatch watch;
  Msg response;
  EXPECT_EQ(CallAsync(*stub_, Msg(), &response, [](ClientContext& context) { context.set_deadline(In(150ms)); }).error_code(),
            StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(CallAsync(*stub_, Msg(), &response, [](ClientContext& context) { context.set_deadline(In(-150ms)); }).error_code(),
            StatusCode::DEADLINE_EXCEEDED);
  ClientContext context;
  context.set_deadline(In(150ms));
  Talk reactor;
  stub_->async()->Talk(&context, &reactor);
  reactor.StartRead(&response);
  reactor.StartCall();
  ASSERT_TRUE(reactor.done().Wait());
  EXPECT_EQ(reactor.status().error_code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(reactor.count("read failed"), 1);
  EXPECT_LT(watch.ms(), kPromptMs);
  StopServer();
}

// Writes for as long as writes succeed, and deletes itself.
class SelfDeleting final : public grpc::ClientBidiReactor<Msg, Msg> {
 public:
  SelfDeleting(std::atomic<int>* written, Event* gone) : written_(written), gone_(gone) {}
  ~SelfDeleting() override { gone_->Set(); }
  void OnWriteDone(bool ok) override {
    if (!ok) return;
    ++*written_;
    StartWrite(&bulk_);
  }
  void OnDone(const Status& status) override {
    EXPECT_EQ(status.error_code(), StatusCode::CANCELLED);
    delete this;
  }
  void Begin() {
    StartWrite(&bulk_);
    StartCall();
  }

 private:
  std::atomic<int>* const written_;
  Event* const gone_;
  const Msg bulk_ = Data(64 * 1024);
};

TEST_F(CallbackClientTest, AServerThatDoesNotReadKeepsOnWriteDoneBack) {
  Start();
  Event release;
  service_.talk = [&](ServerContext*, Talker*) {
    EXPECT_TRUE(release.Wait());
    return Status::OK;
  };
  std::atomic<int> written{0};
  Event gone;
  ClientContext context;
  auto* const reactor = new SelfDeleting(&written, &gone);
  stub_->async()->Talk(&context, reactor);
  reactor->Begin();
  EXPECT_TRUE(Settles(written));
  EXPECT_LT(written, 256);
  Msg response;
  EXPECT_TRUE(CallAsync(*stub_, Msg(), &response).ok());
  context.TryCancel();
  EXPECT_TRUE(gone.Wait());
  release.Set();
  StopServer();
}

TEST_F(CallbackClientTest, ARunningCallKeepsTheChannelAlive) {
  Start();
  Event running, release, done;
  service_.unary = [&](ServerContext*, const Msg*, Msg*) {
    running.Set();
    EXPECT_TRUE(release.Wait());
    return Status::OK;
  };
  ClientContext context;
  const Msg request;
  Msg response;
  stub_->async()->Unary(&context, &request, &response, [&](Status status) {
    EXPECT_TRUE(status.ok());
    done.Set();
  });
  EXPECT_TRUE(running.Wait());
  stub_.reset();
  channel_.reset();
  release.Set();
  EXPECT_TRUE(done.Wait());
  StopServer();
}

TEST_F(CallbackClientTest, OneChannelServesBothStyles) {
  Start();
  std::atomic<int> over{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        Msg response;
        EXPECT_TRUE((i % 2 == 0 ? CallAsync(*stub_, Number(i), &response) : Call(Number(i), &response)).ok());
        EXPECT_EQ(response.number(), i);
        ++over;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(over, 200);
}

// A stand-in for the asynchronous half of a stub.
class Mock final : public Methods::StubInterface::async_interface {
 public:
  void Unary(ClientContext*, const Msg* request, Msg* response, std::function<void(Status)> done) override {
    response->set_number(-request->number());
    done(Status::OK);
  }
  void Unary(ClientContext*, const Msg*, Msg*, grpc::ClientUnaryReactor*) override { ++calls; }
  void Collect(ClientContext*, Msg*, grpc::ClientWriteReactor<Msg>*) override { ++calls; }
  void Emit(ClientContext*, const Msg*, grpc::ClientReadReactor<Msg>*) override { ++calls; }
  void Talk(ClientContext*, grpc::ClientBidiReactor<Msg, Msg>*) override { ++calls; }
  int calls = 0;
};

TEST_F(CallbackClientTest, TheAsyncInterfaceCanBeMocked) {
  Mock mock;
  Methods::StubInterface::async_interface* const stub = &mock;
  ClientContext context;
  const Msg request = Number(3);
  Msg response;
  bool called = false;
  stub->Unary(&context, &request, &response, [&](Status status) { called = status.ok(); });
  EXPECT_TRUE(called);
  EXPECT_EQ(response.number(), -3);
  stub->Talk(&context, nullptr);
  EXPECT_EQ(mock.calls, 1);
}

}  // namespace
}  // namespace differential

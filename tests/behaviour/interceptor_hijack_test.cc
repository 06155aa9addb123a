// Interceptors that answer in the server's place, and what interceptors see of cancellations.
#include "tests/behaviour/interceptor_kit.h"

namespace behaviour {
namespace {

class HijackTest : public InterceptorTest {
 protected:
  // Answers each call with `messages` numbers from 0 on, then the end of the messages, and `status`; has each way `on`, which is
  // Proceed() now or later.
  static Action Hijacker(int messages, Status status, Action on = Plainly()) {
    auto next = std::make_shared<std::atomic<int>>(0);
    return [=](Batch* batch) {
      if (Sees(batch, Hook::PRE_RECV_INITIAL_METADATA)) batch->GetRecvInitialMetadata()->emplace("i", "forged");
      if (Sees(batch, Hook::PRE_RECV_MESSAGE)) {
        if (const int number = (*next)++; number < messages) {
          Received(batch)->set_number(number);
        } else {
          batch->FailHijackedRecvMessage();
        }
      }
      if (Sees(batch, Hook::PRE_RECV_STATUS)) {
        *batch->GetRecvStatus() = status;
        batch->GetRecvTrailingMetadata()->emplace("t", "forged");
      }
      if (!Sees(batch, Hook::PRE_SEND_INITIAL_METADATA)) return on(batch);
      *next = 0;
      batch->Hijack();
    };
  }
  void ExpectForged(const ClientContext& context) {
    EXPECT_EQ(context.GetServerInitialMetadata().count("i"), 1u);
    EXPECT_EQ(context.GetServerTrailingMetadata().count("t"), 1u);
  }
  // Nothing of a hijacked call reaches those behind, nor the server.
  void StartHijacked(int messages, Status status, Action on = Plainly()) {
    StartWith(Client({Counting(before_), Hijacker(messages, std::move(status), std::move(on)), Counting(after_)}),
              Server({Counting(server_side_)}));
  }
  ~HijackTest() override {
    StopServer();
    EXPECT_EQ(after_.Text(), "");
    EXPECT_EQ(server_side_.Text(), "");
  }

  Counts before_, after_, server_side_;
  Later later_;
};

TEST_P(HijackTest, SynchronousCallsOfEveryKind) {
  for (const bool later : {false, true}) {
    if (later && one_connection()) break;
    server_.reset();
    StartHijacked(2, Status(StatusCode::OK, ""), later ? Action(std::ref(later_)) : Plainly());
    {
      ClientContext context;
      Msg response;
      EXPECT_TRUE(stub_->Unary(&context, Number(7), &response).ok());
      EXPECT_EQ(response.number(), 0);
      ExpectForged(context);
    }
    {
      ClientContext context;
      Msg response;
      const auto writer = stub_->Collect(&context, &response);
      EXPECT_TRUE(writer->Write(Number(1)) && writer->Write(Number(2)) && writer->WritesDone());
      EXPECT_TRUE(writer->Finish().ok());
      ExpectForged(context);
    }
    {
      ClientContext context;
      const auto reader = stub_->Emit(&context, Number(100));
      reader->WaitForInitialMetadata();
      EXPECT_EQ(context.GetServerInitialMetadata().count("i"), 1u);
      Msg message;
      uint32_t size = 0;
      EXPECT_TRUE(reader->NextMessageSize(&size));
      for (int i = 0; i < 2; ++i) EXPECT_TRUE(reader->Read(&message) && message.number() == i);
      EXPECT_FALSE(reader->Read(&message));
      EXPECT_TRUE(reader->Finish().ok());
      ExpectForged(context);
    }
    before_.Clear();
    ClientContext context;
    const auto stream = stub_->Talk(&context);
    Msg message;
    EXPECT_TRUE(stream->Write(Number(5)));
    EXPECT_TRUE(stream->Read(&message) && stream->Read(&message) && !stream->Read(&message));
    EXPECT_TRUE(stream->WritesDone());
    EXPECT_TRUE(stream->Finish().ok());
    ExpectForged(context);
    EXPECT_EQ(before_.Text(),
              "send metadata 1, send message 1, sent message 1, send close 1, received metadata 1, received message 3, received status 1");
    StopServer();
  }
}

TEST_P(HijackTest, CallbackCallsOfEveryKind) {
  for (const bool later : {false, true}) {
    if (later && one_connection()) break;
    server_.reset();
    StartHijacked(2, Status(StatusCode::OK, ""), later ? Action(std::ref(later_)) : Plainly());
    {
      Event done;
      ClientContext context;
      const Msg request;
      Msg response = Number(9);
      Status status;
      stub_->async()->Unary(&context, &request, &response, [&](Status end) {
        status = end;
        done.Set();
      });
      EXPECT_TRUE(done.Wait());
      EXPECT_TRUE(status.ok());
      EXPECT_EQ(response.number(), 0);
      ExpectForged(context);
    }
    {
      ClientAsker asker;
      const Msg request;
      Msg response;
      std::atomic<int> initial{0};
      asker.on_initial = [&](bool ok) { initial += ok; };
      stub_->async()->Unary(&asker.context, &request, &response, &asker);
      asker.StartCall();
      EXPECT_EQ(asker.Code(), StatusCode::OK);
      EXPECT_EQ(initial, 1);
    }
    {
      ClientWrites writes;
      const Msg message;
      Msg response = Number(9);
      std::atomic<int> written{0}, done{0};
      writes.on_write = [&](bool ok) {
        written += ok;
        writes.StartWritesDone();
      };
      writes.on_writes_done = [&](bool ok) { done += ok; };
      stub_->async()->Collect(&writes.context, &response, &writes);
      writes.StartWrite(&message);
      writes.StartCall();
      EXPECT_EQ(writes.Code(), StatusCode::OK);
      EXPECT_EQ(written, 1);
      EXPECT_EQ(done, 1);
      EXPECT_EQ(response.number(), 0);
    }
    before_.Clear();
    ClientTalks talks;
    Msg ping, pong;
    std::vector<int64_t> read;
    talks.on_read = [&](bool ok) {
      if (!ok) return;
      read.push_back(pong.number());
      talks.StartRead(&pong);
    };
    stub_->async()->Talk(&talks.context, &talks);
    talks.StartWriteLast(&ping, ipcrpc::WriteOptions());
    talks.StartRead(&pong);
    talks.StartCall();
    EXPECT_EQ(talks.Code(), StatusCode::OK);
    EXPECT_THAT(read, ::testing::ElementsAre(0, 1));
    ExpectForged(talks.context);
    EXPECT_EQ(before_.Text(),
              "send metadata 1, send message 1, sent message 1, send close 1, received metadata 1, received message 3, received status 1");
    StopServer();
  }
}

TEST_P(HijackTest, TheHijackersStatusIsTheCalls) {
  StartHijacked(1, Status(StatusCode::DATA_LOSS, "forged"));
  Msg message;
  {
    ClientContext context;
    EXPECT_EQ(stub_->Unary(&context, Msg(), &message).error_code(), StatusCode::DATA_LOSS);
  }
  ClientReads reads;
  const Msg request;
  stub_->async()->Emit(&reads.context, &request, &reads);
  reads.StartCall();
  EXPECT_EQ(reads.Code(), StatusCode::DATA_LOSS);
}

TEST_P(HijackTest, WithoutAResponseAnOkIsNone) {
  StartHijacked(0, Status::OK);
  Msg response;
  {
    ClientContext context;
    EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::INTERNAL);
  }
  ClientAsker asker;
  const Msg request;
  stub_->async()->Unary(&asker.context, &request, &response, &asker);
  asker.StartCall();
  EXPECT_EQ(asker.Code(), StatusCode::INTERNAL);
}

TEST_P(HijackTest, AWriteCanBeMadeToFail) {
  StartWith(Client({[](Batch* batch) {
    if (Sees(batch, Hook::PRE_SEND_MESSAGE)) batch->FailHijackedSendMessage();
    if (Sees(batch, Hook::POST_SEND_MESSAGE)) {
      EXPECT_FALSE(batch->GetSendMessageStatus());
    }
    Sees(batch, Hook::PRE_SEND_INITIAL_METADATA) ? batch->Hijack() : batch->Proceed();
  }}));
  {
    ClientContext context;
    Msg response;
    const auto writer = stub_->Collect(&context, &response);
    EXPECT_FALSE(writer->Write(Msg()));
    EXPECT_TRUE(writer->Finish().ok());
  }
  ClientTalks talks;
  const Msg message;
  std::atomic<int> failed{0};
  talks.on_write = [&](bool ok) { failed += !ok; };
  stub_->async()->Talk(&talks.context, &talks);
  talks.StartWrite(&message);
  talks.StartCall();
  EXPECT_EQ(talks.Code(), StatusCode::OK);
  EXPECT_EQ(failed, 1);
}

// A hold keeps also a hijacked call from its end.
TEST_P(HijackTest, HoldsHoldTheEnd) {
  StartHijacked(1, Status::OK);
  ClientTalks talks;
  Msg message;
  Event read;
  talks.on_read = [&](bool ok) {
    if (ok) read.Set();
  };
  stub_->async()->Talk(&talks.context, &talks);
  talks.AddHold();
  talks.StartCall();
  EXPECT_FALSE(talks.done.Wait(20ms));
  talks.StartRead(&message);
  EXPECT_TRUE(read.Wait());
  EXPECT_FALSE(talks.done.Wait(20ms));
  talks.RemoveHold();
  EXPECT_EQ(talks.Code(), StatusCode::OK);
}

TEST_P(HijackTest, ItMayComeLaterFromAnotherThread) {
  std::mutex mu;
  std::vector<std::jthread> threads;
  StartWith(Client({[&](Batch* batch) {
                      if (!Sees(batch, Hook::PRE_SEND_INITIAL_METADATA)) return batch->Proceed();
                      std::lock_guard lock(mu);
                      threads.emplace_back([batch] { batch->Hijack(); });
                    },
                    Counting(after_)}));
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok());
  ClientTalks talks;
  stub_->async()->Talk(&talks.context, &talks);
  talks.StartCall();
  EXPECT_EQ(talks.Code(), StatusCode::OK);
}

// As a cache does, or a retry: the call is made again, and answered with what came of that.
TEST_P(HijackTest, AHijackerMayAskTheServerItself) {
  struct Answer {
    Msg message;
    Status status;
  };
  Counts later;
  const auto answer = std::make_shared<Answer>();
  StartWith(Client({[answer](Batch* batch) {
                      if (Sees(batch, Hook::PRE_SEND_INITIAL_METADATA)) {
                        const auto stub = Methods::NewStub(std::shared_ptr<ipcrpc::ChannelInterface>(batch->GetInterceptedChannel()));
                        ClientContext context;
                        answer->status = stub->Unary(&context, *Sent(batch), &answer->message);
                        return batch->Hijack();
                      }
                      if (Sees(batch, Hook::PRE_RECV_MESSAGE)) *Received(batch) = answer->message;
                      if (Sees(batch, Hook::PRE_RECV_STATUS)) *batch->GetRecvStatus() = answer->status;
                      batch->Proceed();
                    },
                    Counting(later)}));
  ClientContext context;
  Msg response;
  EXPECT_TRUE(stub_->Unary(&context, Number(8), &response).ok());
  EXPECT_EQ(response.number(), 8);
  EXPECT_EQ(later.Of(Hook::POST_RECV_STATUS), 1);
}

BEHAVIOUR_SUITE(HijackTest);

// ---- cancellation ----------------------------------------------------------------------------

using CancelSights = InterceptorTest;

TEST_P(CancelSights, AClientsCancellationIsShownToAll) {
  Counts first, second;
  Event running;
  service_.talk = [&](ServerContext*, ServerTalk* stream) {
    running.Set();
    for (Msg message; stream->Read(&message);) {
    }
    return Status::OK;
  };
  StartWith(Client({Counting(first), Counting(second)}));
  {
    ClientContext context;
    const auto stream = stub_->Talk(&context);
    EXPECT_TRUE(running.Wait());
    context.TryCancel();
    Msg message;
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  }
  ClientReads reads;
  const Msg request = Number(1'000'000);
  Msg message;
  std::atomic<int> count{0};
  reads.on_read = [&](bool ok) {
    if (++count == 2) reads.context.TryCancel();
    if (ok) reads.StartRead(&message);
  };
  stub_->async()->Emit(&reads.context, &request, &reads);
  reads.StartRead(&message);
  reads.StartCall();
  EXPECT_EQ(reads.Code(), StatusCode::CANCELLED);
  EXPECT_EQ(first.Of(Hook::PRE_SEND_CANCEL), 2);
  EXPECT_EQ(second.Of(Hook::PRE_SEND_CANCEL), 2);
  StopServer();
}

TEST_P(CancelSights, SoIsOneFromBeforeTheCallAndOneOfAHijackedCall) {
  Counts counts;
  std::atomic<bool> hijack{false};
  StartWith(Client({[&](Batch* batch) {
                      if (hijack && Sees(batch, Hook::PRE_SEND_INITIAL_METADATA)) return batch->Hijack();
                      batch->Proceed();
                    },
                    Counting(counts)}));
  Msg message;
  {
    ClientContext context;
    context.TryCancel();
    EXPECT_EQ(stub_->Unary(&context, Msg(), &message).error_code(), StatusCode::CANCELLED);
    EXPECT_EQ(counts.Of(Hook::PRE_SEND_CANCEL), 1);
  }
  hijack = true;
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  context.TryCancel();
  EXPECT_EQ(counts.Of(Hook::PRE_SEND_CANCEL), 2) << "also those behind the hijacker";
  EXPECT_TRUE(stream->Finish().ok()) << "it is the hijacker's";
}

TEST_P(CancelSights, ACallCanBeCancelledWhileAnInterceptorHoldsItsBegin) {
  std::mutex mu;
  Batch* kept = nullptr;
  Counts server;
  StartWith(Client({[&](Batch* batch) {
              if (!Sees(batch, Hook::PRE_SEND_INITIAL_METADATA)) return batch->Proceed();
              std::lock_guard lock(mu);
              kept = batch;
            }}),
            Server({Counting(server)}));
  PingPong talk(*stub_, 3);
  talk.context.TryCancel();
  kept->Proceed();
  EXPECT_EQ(talk.Code(), StatusCode::CANCELLED);
  EXPECT_EQ(talk.answered, 0);
  StopServer();
  EXPECT_EQ(server.Text(), "");
}

TEST_P(CancelSights, AServersCancellationIsShown) {
  for (const bool callback : {false, true}) {
    if (callback && one_connection()) break;
    server_.reset();
    Counts counts;
    StartWith({}, Server({Counting(counts)}), callback);
    service_.unary = [](ServerContext* context, const Msg*, Msg*) {
      context->TryCancel();
      return Status::OK;
    };
    callback_service_.unary = [](CallbackServerContext* context, const Msg*, Msg*) {
      context->TryCancel();
      context->DefaultReactor()->Finish(Status::OK);
      return context->DefaultReactor();
    };
    ClientContext context;
    Msg response;
    EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::CANCELLED);
    EXPECT_TRUE(Eventually([&] { return alive() == 0; }));
    EXPECT_EQ(counts.Of(Hook::PRE_SEND_CANCEL), 1);
    EXPECT_EQ(counts.Of(Hook::POST_RECV_CLOSE), 1);
    StopServer();
  }
}

// The close is shown when the client goes, before the handler hears of it, and not again at the end.
TEST_P(CancelSights, AClientThatGoesIsACloseAtACallbackServer) {
  Counts counts;
  std::atomic<int> closes_before{-1};
  Event running;
  StartWith({}, Server({Counting(counts)}), /*callback=*/true);
  callback_service_.talk = [&](CallbackServerContext*) {
    auto* const reactor = new ServerTalks;
    reactor->on_cancel = [&, reactor] {
      closes_before = counts.Of(Hook::POST_RECV_CLOSE);
      reactor->Finish(Status::CANCELLED);
    };
    running.Set();
    return reactor;
  };
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  EXPECT_TRUE(running.Wait());
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  EXPECT_TRUE(Eventually([&] { return alive() == 0; }));
  EXPECT_EQ(closes_before, 1);
  EXPECT_EQ(counts.Of(Hook::POST_RECV_CLOSE), 1);
  StopServer();
}

TEST_P(CancelSights, AHandlerHearsOfACancellationFromBeforeItBegan) {
  std::mutex mu;
  Batch* kept = nullptr;
  StartWith({}, Server({[&](Batch* batch) {
              if (!Sees(batch, Hook::POST_RECV_INITIAL_METADATA)) return batch->Proceed();
              std::lock_guard lock(mu);
              kept = batch;
            }}),
            /*callback=*/true);
  Event cancelled, done;
  callback_service_.talk = [&](CallbackServerContext*) {
    auto* const reactor = new ServerTalks;
    reactor->on_cancel = [&, reactor] {
      cancelled.Set();
      reactor->Finish(Status::CANCELLED);
    };
    reactor->on_done = [&] { done.Set(); };
    return reactor;
  };
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  const auto held = [&] {
    std::lock_guard lock(mu);
    return kept != nullptr;
  };
  EXPECT_TRUE(Eventually(held));
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), StatusCode::CANCELLED);
  kept->Proceed();
  EXPECT_TRUE(cancelled.Wait());
  EXPECT_TRUE(done.Wait());
  StopServer();
}

// Clients that cancel at any time, and go with the last reaction; servers whose interceptors take their time.
TEST_P(CancelSights, CancelledAtAnyTime) {
  Later client, server;
  StartWith(Client({std::ref(client), Plainly()}), Server({std::ref(server)}), /*callback=*/true);
  for (int i = 0; i < (kSanitized ? 100 : 400); ++i) {
    PingPong talk(*stub_, 1000);
    std::this_thread::sleep_for(std::chrono::microseconds(i % 20 * 25));
    talk.context.TryCancel();
    EXPECT_EQ(talk.Code(), StatusCode::CANCELLED);
  }
  EXPECT_TRUE(Eventually([&] { return alive() == 0; }));
  StopServer();
}

BEHAVIOUR_SUITE(CancelSights);

}  // namespace
}  // namespace behaviour

// Interceptors of calls of every kind, on both sides: what they see, what they change, and how long they take and live.
#include "tests/behaviour/interceptor_kit.h"

namespace behaviour {
namespace {

using Sights = InterceptorTest;
using Call = void (InterceptorTest::*)();

// ---- what is seen ----------------------------------------------------------------------------

TEST_P(Sights, AClientsAreShownEachOperationOnce) {
  Counts counts;
  StartWith(Client({Counting(counts)}));
  const auto seen = [&](auto call) {
    counts.Clear();
    call();
    return counts.Text();
  };
  const std::string unary =
      "send metadata 1, send message 1, sent message 1, send close 1, received metadata 1, received message 1, received status 1";
  const std::string collect =
      "send metadata 1, send message 2, sent message 2, send close 1, received metadata 1, received message 1, received status 1";
  const std::string emit =
      "send metadata 1, send message 1, sent message 1, send close 1, received metadata 1, received message 3, received status 1";
  const std::string talk =
      "send metadata 1, send message 2, sent message 2, send close 1, received metadata 1, received message 3, received status 1";
  const std::string ask_talk =  // it does not read to the end
      "send metadata 1, send message 2, sent message 2, send close 1, received metadata 1, received message 2, received status 1";
  EXPECT_EQ(seen([&] { CallUnary(); }), unary);
  EXPECT_EQ(seen([&] { CallCollect(); }), collect);
  EXPECT_EQ(seen([&] { CallEmit(); }), emit);
  EXPECT_EQ(seen([&] { CallTalk(); }), talk);
  EXPECT_EQ(seen([&] { AskUnary(); }), unary);
  EXPECT_EQ(seen([&] { AskCollect(); }), collect);
  EXPECT_EQ(seen([&] { AskEmit(); }), emit);
  EXPECT_EQ(seen([&] { AskTalk(); }), ask_talk);
}

TEST_P(Sights, AServersAreShownEachOperationOnceInBothStyles) {
  for (const bool callback : {false, true}) {
    if (callback && one_connection()) break;
    Counts counts;
    server_.reset();
    StartWith({}, Server({Counting(counts)}), callback);
    const auto seen = [&](auto call) {
      counts.Clear();
      call();
      EXPECT_TRUE(Eventually([&] { return alive() == 0; }));  // the close is shown after the client has its answer
      return counts.Text();
    };
    EXPECT_EQ(seen([&] { CallUnary(); }),
              "send metadata 1, send message 1, sent message 1, send status 1, received metadata 1, received message 1, received close 1");
    EXPECT_EQ(seen([&] { CallCollect(); }),
              "send metadata 1, send message 1, sent message 1, send status 1, received metadata 1, received message 3, received close 1");
    EXPECT_EQ(seen([&] { CallEmit(); }),
              "send metadata 1, send message 2, sent message 2, send status 1, received metadata 1, received message 1, received close 1");
    EXPECT_EQ(seen([&] { CallTalk(); }),
              "send metadata 1, send message 2, sent message 2, send status 1, received metadata 1, received message 3, received close 1");
    StopServer();
  }
}

TEST_P(Sights, ACorkedCallShowsItsMetadataOnceWithItsFirstWrite) {
  Counts counts;
  std::atomic<bool> together{false};
  StartWith(Client({Counting(counts, [&](Batch* batch) {
    if (Sees(batch, Hook::PRE_SEND_INITIAL_METADATA)) together = Sees(batch, Hook::PRE_SEND_MESSAGE);
    batch->Proceed();
  })}));
  ClientContext context;
  context.set_initial_metadata_corked(true);
  const auto stream = stub_->Talk(&context);
  EXPECT_EQ(counts.Text(), "");
  Msg message;
  EXPECT_TRUE(stream->Write(Number(1)));
  EXPECT_TRUE(together);
  EXPECT_TRUE(stream->Read(&message));
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(counts.Of(Hook::PRE_SEND_INITIAL_METADATA), 1);
  StopServer();
}

TEST_P(Sights, WaitingForInitialMetadataShowsThem) {
  Counts counts;
  StartWith(Client({Counting(counts, [&](Batch* batch) {
    if (auto* const metadata = batch->GetRecvInitialMetadata()) metadata->emplace("more", "seen");
    batch->Proceed();
  })}));
  service_.talk = [](ServerContext* context, ServerTalk* stream) {
    context->AddInitialMetadata("k", "v");
    stream->SendInitialMetadata();
    for (Msg message; stream->Read(&message);) {
    }
    return Status::OK;
  };
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  stream->WaitForInitialMetadata();
  EXPECT_EQ(counts.Of(Hook::POST_RECV_INITIAL_METADATA), 1);
  EXPECT_EQ(context.GetServerInitialMetadata().count("k"), 1u);
  EXPECT_EQ(context.GetServerInitialMetadata().count("more"), 1u);
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(counts.Of(Hook::POST_RECV_INITIAL_METADATA), 1);
  StopServer();
}

using SightsOfNames = InterceptorTest;

TEST_P(SightsOfNames, WithoutAServerTheStatusIsShown) {
  Counts counts;
  std::atomic<int> unavailable{0};
  const Action note = Counting(counts, [&](Batch* batch) {
    if (Sees(batch, Hook::POST_RECV_STATUS) && batch->GetRecvStatus()->error_code() == StatusCode::UNAVAILABLE) ++unavailable;
    batch->Proceed();
  });
  channel_ = ipcrpc::experimental::CreateCustomChannelWithInterceptors(client_address(), nullptr, {}, Client({note}));
  stub_ = Methods::NewStub(channel_);
  {
    ClientContext context;
    Msg response;
    EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::UNAVAILABLE);
  }
  ClientReads reads;
  const Msg request;
  Msg message;
  stub_->async()->Emit(&reads.context, &request, &reads);
  reads.StartRead(&message);
  reads.StartCall();
  EXPECT_EQ(reads.Code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(unavailable, 2);
  EXPECT_EQ(counts.Of(Hook::POST_RECV_INITIAL_METADATA), 2);
}

// ---- what is changed -------------------------------------------------------------------------

TEST_P(Sights, EachMessageOfAStreamCanBeChangedInEachDirection) {
  const auto add = [](int64_t number, Hook hook) {
    return [=](Batch* batch) {
      if (Sees(batch, hook) && Received(batch) != nullptr) Received(batch)->set_number(Received(batch)->number() + number);
      batch->Proceed();
    };
  };
  const auto replace = [](int64_t number) {
    return [=](Batch* batch) {
      if (Sees(batch, Hook::PRE_SEND_MESSAGE) && Sent(batch) != nullptr) {
        const Msg changed = Number(Sent(batch)->number() + number);
        batch->ModifySendMessage(&changed);
        batch->GetSerializedSendMessage();  // so that it need not live on
      }
      batch->Proceed();
    };
  };
  for (const bool callback : {false, true}) {
    if (callback && one_connection()) break;
    server_.reset();
    StartWith(Client({replace(1), add(10, Hook::POST_RECV_MESSAGE)}), Server({replace(100), add(1000, Hook::POST_RECV_MESSAGE)}), callback);
    {
      ClientContext context;
      const auto stream = stub_->Talk(&context);
      Msg message;
      for (int i = 0; i < 3; ++i) EXPECT_TRUE(stream->Write(Number(i)) && stream->Read(&message) && message.number() == 1111 + i);
      EXPECT_TRUE(stream->WritesDone());
      EXPECT_TRUE(stream->Finish().ok());
    }
    {
      ClientContext context;
      Msg response;
      EXPECT_TRUE(stub_->Unary(&context, Number(0), &response).ok());
      EXPECT_EQ(response.number(), 1111);
    }
    {
      ClientContext context;
      Msg response;
      const auto writer = stub_->Collect(&context, &response);
      EXPECT_TRUE(writer->Write(Number(0)) && writer->Write(Number(0)) && writer->WritesDone());
      EXPECT_TRUE(writer->Finish().ok());
      EXPECT_EQ(response.number(), 2 * 1001 + 110);
    }
    Event done;
    ClientContext context;
    const Msg request = Number(0);
    Msg response;
    stub_->async()->Unary(&context, &request, &response, [&](Status) { done.Set(); });
    EXPECT_TRUE(done.Wait());
    EXPECT_EQ(response.number(), 1111);
    StopServer();
  }
}

TEST_P(Sights, MetadataAndStatusCanBeChangedInEachDirection) {
  for (const bool callback : {false, true}) {
    if (callback && one_connection()) break;
    server_.reset();
    StartWith(Client({[](Batch* batch) {
                if (auto* const sent = batch->GetSendInitialMetadata()) sent->emplace("from", "client");
                if (auto* const initial = batch->GetRecvInitialMetadata()) initial->emplace("client-saw", "initial");
                if (auto* const trailing = batch->GetRecvTrailingMetadata()) trailing->emplace("client-saw", "trailing");
                if (Status* const status = batch->GetRecvStatus()) *status = Status(status->error_code(), status->error_message() + "!");
                batch->Proceed();
              }}),
              Server({[](Batch* batch) {
                if (auto* const received = batch->GetRecvInitialMetadata()) {
                  EXPECT_EQ(received->count("from"), 1u);
                  received->emplace("server-saw", "it");
                }
                if (auto* const sent = batch->GetSendInitialMetadata()) sent->emplace("initial", "server");
                if (Sees(batch, Hook::PRE_SEND_STATUS)) {
                  batch->GetSendTrailingMetadata()->emplace("trailing", "server");
                  batch->ModifySendStatus(Status(StatusCode::DATA_LOSS, "was " + std::to_string(batch->GetSendStatus().error_code())));
                }
                batch->Proceed();
              }}),
              callback);
    service_.unary = [](ServerContext* context, const Msg*, Msg*) {
      EXPECT_EQ(context->client_metadata().count("server-saw"), 1u);
      return Status(StatusCode::ABORTED, "");
    };
    callback_service_.unary = [](CallbackServerContext* context, const Msg*, Msg*) {
      EXPECT_EQ(context->client_metadata().count("server-saw"), 1u);
      context->DefaultReactor()->Finish(Status(StatusCode::ABORTED, ""));
      return context->DefaultReactor();
    };
    ClientContext context;
    Msg response;
    const Status status = stub_->Unary(&context, Msg(), &response);
    EXPECT_EQ(status.error_code(), StatusCode::DATA_LOSS);
    EXPECT_EQ(status.error_message(), "was 10!");
    EXPECT_EQ(context.GetServerInitialMetadata().count("initial"), 1u);
    EXPECT_EQ(context.GetServerInitialMetadata().count("client-saw"), 1u);
    EXPECT_EQ(context.GetServerTrailingMetadata().count("trailing"), 1u);
    EXPECT_EQ(context.GetServerTrailingMetadata().count("client-saw"), 1u);
    StopServer();
  }
}

// With an OK that became something else the response does not go.
TEST_P(Sights, AServersMayTurnASuccessDown) {
  for (const bool callback : {false, true}) {
    if (callback && one_connection()) break;
    server_.reset();
    StartWith({}, Server({[](Batch* batch) {
                if (Sees(batch, Hook::PRE_SEND_STATUS)) batch->ModifySendStatus(Status(StatusCode::PERMISSION_DENIED, "no"));
                batch->Proceed();
              }}),
              callback);
    ClientContext unary, collect;
    Msg response = Number(99);
    EXPECT_EQ(stub_->Unary(&unary, Number(1), &response).error_code(), StatusCode::PERMISSION_DENIED);
    const auto writer = stub_->Collect(&collect, &response);
    EXPECT_TRUE(writer->WritesDone());
    EXPECT_EQ(writer->Finish().error_code(), StatusCode::PERMISSION_DENIED);
    EXPECT_EQ(response.number(), 99);
    StopServer();
  }
}

TEST_P(Sights, LargeMessagesPass) {
  for (const bool callback : {false, true}) {
    if (callback && one_connection()) break;
    server_.reset();
    StartWith(Client({Plainly()}), Server({Plainly()}), callback);
    for (const size_t bytes : {size_t{0}, size_t{100'000}, size_t{3'000'000}}) {
      ClientContext context;
      Msg response;
      EXPECT_TRUE(stub_->Unary(&context, Data(bytes), &response).ok());
      EXPECT_EQ(response.data().size(), bytes);
    }
    StopServer();
  }
}

// ---- how long they take ----------------------------------------------------------------------

TEST_P(Sights, EveryKindOfCallPassesThoseThatProceedLater) {
  Later client, server;
  for (const bool callback : {false, true}) {
    if (callback && one_connection()) break;
    server_.reset();
    StartWith(Client({std::ref(client), Plainly(), std::ref(client)}), Server({Plainly(), std::ref(server)}), callback);
    CallAll();
    StopServer();
  }
}

TEST_P(Sights, ACallbackCallDoesNotBlockWhereAnInterceptorTakesItsTime) {
  std::mutex mu;
  Batch* kept = nullptr;
  StartWith(Client({[&](Batch* batch) {
    if (!Sees(batch, Hook::PRE_SEND_INITIAL_METADATA)) return batch->Proceed();
    std::lock_guard lock(mu);
    kept = batch;
  }}));
  PingPong talk(*stub_, 3);  // returns
  EXPECT_FALSE(talk.done.set());
  {
    std::lock_guard lock(mu);
    ASSERT_NE(kept, nullptr);
  }
  kept->Proceed();
  EXPECT_EQ(talk.Code(), StatusCode::OK);
  EXPECT_EQ(talk.answered, 3);
  StopServer();
}

TEST_P(Sights, ACallThatIsHeldUpBeyondItsDeadlineDoesNotBegin) {
  Counts server;
  StartWith(Client({[](Batch* batch) {
              if (Sees(batch, Hook::PRE_SEND_INITIAL_METADATA)) std::this_thread::sleep_for(60ms);
              batch->Proceed();
            }}),
            Server({Counting(server)}));
  ClientContext context;
  context.set_deadline(In(50ms));
  Msg response;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::DEADLINE_EXCEEDED);
  StopServer();
  EXPECT_EQ(server.Text(), "");
}

TEST_P(Sights, HandlersMayFinishWhileAnInterceptorHoldsAnEarlierWrite) {
  Later later;
  StartWith({}, Server({std::ref(later)}), /*callback=*/true);
  callback_service_.emit = [](CallbackServerContext*, const Msg*) {
    auto* const reactor = new ServerWrites;
    static const Msg kMessage = Number(5);
    reactor->StartSendInitialMetadata();
    reactor->StartWrite(&kMessage);
    reactor->Finish(Status(StatusCode::ABORTED, "after it"));
    return reactor;
  };
  ClientContext context;
  const auto reader = stub_->Emit(&context, Msg());
  Msg message;
  EXPECT_TRUE(reader->Read(&message));
  EXPECT_EQ(message.number(), 5);
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::ABORTED);
  StopServer();
}

// ---- how long they live ----------------------------------------------------------------------

TEST_P(Sights, ThoseOfAClientLiveAsLongAsTheContext) {
  StartWith(Client({Plainly(), Plainly()}));
  {
    ClientContext context;
    Msg response;
    EXPECT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
    EXPECT_EQ(alive(), 2);
  }
  EXPECT_EQ(alive(), 0);
  CallAll();
  EXPECT_EQ(alive(), 0);
}

TEST_P(Sights, ARunningCallKeepsItsChannelAndFactories) {
  Counts counts;
  StartWith(Client({Counting(counts)}));
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  PingPong talk(*stub_, 50);
  channel_ = nullptr;
  stub_ = nullptr;
  Msg message;
  EXPECT_TRUE(stream->Write(Number(1)) && stream->Read(&message));
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(talk.Code(), StatusCode::OK);
  EXPECT_EQ(counts.Of(Hook::POST_RECV_STATUS), 2);
  StopServer();
}

TEST_P(Sights, AStreamThatIsDroppedIsCancelledAndItsInterceptorsGo) {
  Event cancelled;
  service_.talk = [&](ServerContext* context, ServerTalk* stream) {
    for (Msg message; stream->Read(&message);) {
    }
    if (context->IsCancelled()) cancelled.Set();
    return Status::OK;
  };
  StartWith(Client({Plainly()}), Server({Plainly()}));
  {
    ClientContext context;
    const auto stream = stub_->Talk(&context);
    EXPECT_TRUE(stream->Write(Number(1)));
  }
  EXPECT_TRUE(cancelled.Wait());
  EXPECT_TRUE(Eventually([&] { return alive() == 0; }));
  StopServer();
}

// ---- channels --------------------------------------------------------------------------------

TEST_P(Sights, AnInterceptedChannelHasTheStatesOfOne) {
  StartWith(Client({Plainly()}));
  EXPECT_EQ(channel_->GetState(false), ipcrpc::ConnectivityState::IDLE);
  EXPECT_TRUE(channel_->WaitForConnected(In(20s)));
  EXPECT_EQ(channel_->GetState(false), ipcrpc::ConnectivityState::READY);
  EXPECT_FALSE(channel_->WaitForStateChange(ipcrpc::ConnectivityState::READY, In(1ms)));
  EXPECT_FALSE(channel_->GetTransportInfo().place.empty());
}

TEST_P(Sights, AnInProcessChannelCanBeIntercepted) {
  StartWith({});
  Counts counts;
  stub_ = Methods::NewStub(server_->experimental().InProcessChannelWithInterceptors({}, Client({Counting(counts)})));
  CallAll();
  EXPECT_EQ(counts.Of(Hook::POST_RECV_STATUS), 8);
}

TEST_P(Sights, AGlobalFactoryComesLast) {
  std::mutex mu;
  std::string order;
  const auto note = [&](char name) {
    return [&, name](Batch* batch) {
      if (Sees(batch, Hook::PRE_SEND_INITIAL_METADATA)) {
        std::lock_guard lock(mu);
        order += name;
      }
      batch->Proceed();
    };
  };
  const ClientFactories global = Client({note('g')});
  ipcrpc::experimental::RegisterGlobalClientInterceptorFactory(global[0].get());
  Start();
  CallUnary();
  if (!one_connection()) {
    stub_ = Methods::NewStub(
        ipcrpc::experimental::CreateCustomChannelWithInterceptors(client_address(), nullptr, {}, Client({note('1'), note('2')})));
    CallUnary();
    EXPECT_EQ(order, "g12g");
  }
  ipcrpc::experimental::TestOnlyResetGlobalClientInterceptorFactory();
  order.clear();
  AskUnary();
  EXPECT_EQ(order, one_connection() ? "" : "12");
}

// ---- many at once ----------------------------------------------------------------------------

TEST_P(Sights, ThreadsAndStreamsMixed) {
  Later client, server;
  Counts counts;
  const auto sometimes = [](Later& later) {
    return [&later, n = std::make_shared<std::atomic<int>>(0)](Batch* batch) {
      if (++*n % 3 == 0) return later(batch);
      batch->Proceed();
    };
  };
  StartWith(Client({Counting(counts, sometimes(client)), sometimes(client)}), Server({sometimes(server)}));
  constexpr int kThreads = 8, kRounds = kSanitized ? 5 : 25;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < kRounds; ++i) CallAll();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counts.Of(Hook::PRE_SEND_INITIAL_METADATA), 8 * kThreads * kRounds);
  EXPECT_EQ(counts.Of(Hook::POST_RECV_STATUS), 8 * kThreads * kRounds);
  EXPECT_TRUE(Eventually([&] { return alive() == 0; }));
  StopServer();
}

BEHAVIOUR_SUITE(Sights);
BEHAVIOUR_SUITE_WITH_NAMES(SightsOfNames);

}  // namespace
}  // namespace behaviour

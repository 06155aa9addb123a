// How callback calls end before their time: cancellation, deadlines, servers and clients that go.
#include "tests/behaviour/callback_kit.h"

namespace behaviour {
namespace {

class CallbackEnd : public CallbackTest {};
class CallbackEndOfNames : public CallbackTest {};
class CallbackEndAcrossProcesses : public CallbackTest {};

TEST_P(CallbackEnd, CancelledAtAnyTime) {
  StartCallback();
  std::atomic<int> cancels{0}, dones{0};
  callback_service_.talk = [&](CallbackServerContext* context) {
    auto* reactor = new ServerTalks;
    reactor->on_cancel = [&, context, reactor] {
      EXPECT_TRUE(context->IsCancelled());
      ++cancels;
      reactor->Finish(Status::OK);
    };
    reactor->on_done = [&] { ++dones; };
    return reactor;
  };
  Msg message;
  {
    ClientTalks before;
    before.context.TryCancel();
    bool read_ok = true;
    before.on_read = [&](bool ok) { read_ok = ok; };
    stub_->async()->Talk(&before.context, &before);
    before.StartRead(&message);
    before.StartCall();
    EXPECT_EQ(before.Code(), StatusCode::CANCELLED);
    EXPECT_FALSE(read_ok);
  }
  EXPECT_EQ(dones, 0) << "the server heard of a call that was cancelled before it began";
  for (int i = 0; i < 10; ++i) {
    ClientTalks during;
    bool read_ok = true;
    during.on_read = [&](bool ok) { read_ok = ok; };
    stub_->async()->Talk(&during.context, &during);
    during.StartRead(&message);
    during.StartCall();
    std::vector<std::thread> cancellers;
    for (int j = 0; j < 2; ++j) cancellers.emplace_back([&] { during.context.TryCancel(); });
    EXPECT_EQ(during.Code(), StatusCode::CANCELLED);
    EXPECT_FALSE(read_ok);
    for (std::thread& canceller : cancellers) canceller.join();
    during.context.TryCancel();  // and after
  }
  EXPECT_TRUE(Eventually([&] { return dones == cancels; }));
  EXPECT_LE(cancels, 10);
  ExpectAlive();
  StopServer();
}

TEST_P(CallbackEnd, CancellationReachesTheReactorOnce) {
  StartCallback();
  std::vector<std::string> said;
  Event begun, done;
  Msg received;
  callback_service_.talk = [&](CallbackServerContext* context) {
    auto* reactor = new ServerTalks;
    reactor->on_read = [&](bool ok) { said.push_back(ok ? "read" : "read failed"); };
    reactor->on_write = [&](bool ok) { said.push_back(ok ? "write" : "write failed"); };
    reactor->on_cancel = [&, reactor, context] {
      said.push_back("cancel");
      EXPECT_TRUE(context->IsCancelled());
      // Operations started after it complete with false; the reactor still has to finish.
      reactor->on_write = [&, reactor](bool ok) {
        said.push_back(ok ? "write" : "write failed");
        reactor->Finish(Status::OK);
      };
      static const Msg message;
      reactor->StartWrite(&message);
    };
    reactor->on_done = [&] {
      said.push_back("done");
      done.Set();
    };
    reactor->StartRead(&received);
    EXPECT_FALSE(context->IsCancelled());
    begun.Set();
    return reactor;
  };
  ClientTalks talk;
  stub_->async()->Talk(&talk.context, &talk);
  talk.StartCall();
  ASSERT_TRUE(begun.Wait());
  for (int i = 0; i < 3; ++i) talk.context.TryCancel();
  EXPECT_EQ(talk.Code(), StatusCode::CANCELLED);
  ASSERT_TRUE(done.Wait());
  EXPECT_THAT(said, ::testing::ElementsAre("read failed", "cancel", "write failed", "done"));
  StopServer();
}

TEST_P(CallbackEnd, TheServerCancels) {
  StartCallback();
  std::atomic<int> cancels{0};
  callback_service_.unary = [&](CallbackServerContext* context, const Msg*, Msg*) {
    auto* reactor = new ServerAnswers;
    reactor->on_cancel = [&, reactor] {
      ++cancels;
      reactor->Finish(Status::OK);
    };
    context->TryCancel();
    return reactor;
  };
  ClientAsker asker;
  const Msg request;
  Msg response;
  stub_->async()->Unary(&asker.context, &request, &response, &asker);
  asker.StartCall();
  EXPECT_EQ(asker.Code(), StatusCode::CANCELLED);
  EXPECT_TRUE(Eventually([&] { return cancels == 1; }));
  StopServer();
}

TEST_P(CallbackEnd, DeadlinesEndCallsThatNobodyWaitsFor) {
  StartCallback();
  std::atomic<int> cancels{0};
  callback_service_.unary = [&](CallbackServerContext* context, const Msg*, Msg*) {
    EXPECT_NE(context->deadline(), std::chrono::system_clock::time_point::max());
    auto* reactor = new ServerAnswers;
    reactor->on_cancel = [&, reactor, context] {
      EXPECT_TRUE(context->IsCancelled());
      ++cancels;
      reactor->Finish(Status::OK);
    };
    return reactor;
  };
  callback_service_.talk = [&](CallbackServerContext*) {
    auto* reactor = new ServerTalks;
    reactor->on_cancel = [&, reactor] {
      ++cancels;
      reactor->Finish(Status::OK);
    };
    return reactor;
  };
  const Msg request;
  Msg response, answer;
  const auto start = std::chrono::steady_clock::now();
  ClientAsker askers[3];
  for (int i = 2; i >= 0; --i) {  // each earlier than the one before
    askers[i].context.set_deadline(In(200ms + i * 100ms));
    stub_->async()->Unary(&askers[i].context, &request, &response, &askers[i]);
    askers[i].StartCall();
  }
  ClientTalks talk;
  talk.context.set_deadline(In(250ms));
  bool read_ok = true;
  talk.on_read = [&](bool ok) { read_ok = ok; };
  stub_->async()->Talk(&talk.context, &talk);
  talk.StartRead(&answer);
  talk.StartCall();
  EXPECT_EQ(askers[0].Code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_GE(MsSince(start), 199);
  EXPECT_EQ(talk.Code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_FALSE(read_ok);
  EXPECT_EQ(askers[1].Code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(askers[2].Code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_GE(MsSince(start), 399);
  EXPECT_TRUE(Eventually([&] { return cancels == 4; }));
  // At once if it has passed already.
  ClientAsker late;
  late.context.set_deadline(In(-1s));
  stub_->async()->Unary(&late.context, &request, &response, &late);
  late.StartCall();
  EXPECT_EQ(late.Code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(cancels, 4);
  ExpectAlive();
  StopServer();
}

TEST_P(CallbackEndAcrossProcesses, ADeadlineAlsoReachesTheServerOfAStoppedClient) {
  std::atomic<int> cancels{0};
  callback_service_.emit = [&](CallbackServerContext*, const Msg*) {
    auto* reactor = new ServerWrites;
    reactor->on_cancel = [&, reactor] {
      ++cancels;
      reactor->Finish(Status::OK);
    };
    return reactor;
  };
  StartCallback();
  Process client({"emit", client_address(), "500"});
  ASSERT_TRUE(client.ready());
  client.Stop();
  EXPECT_TRUE(Eventually([&] { return cancels == 1; }));
  client.Kill();
  StopServer();
}

TEST_P(CallbackEndOfNames, CallsThatWaitForAServer) {
  const std::unique_ptr<Methods::Stub> stub = NewStub();
  const Msg request = Number(8);
  Msg response, unused;
  ClientAsker patient, out_of_time, given_up;
  patient.context.set_wait_for_ready(true);
  out_of_time.context.set_wait_for_ready(true);
  out_of_time.context.set_deadline(In(150ms));
  given_up.context.set_wait_for_ready(true);
  const auto start = std::chrono::steady_clock::now();
  stub->async()->Unary(&patient.context, &request, &response, &patient);
  stub->async()->Unary(&out_of_time.context, &request, &unused, &out_of_time);
  stub->async()->Unary(&given_up.context, &request, &unused, &given_up);
  for (ClientAsker* asker : {&patient, &out_of_time, &given_up}) asker->StartCall();
  // One that is not patient fails meanwhile.
  ClientAsker impatient;
  stub->async()->Unary(&impatient.context, &request, &unused, &impatient);
  impatient.StartCall();
  EXPECT_EQ(impatient.Code(), StatusCode::UNAVAILABLE);
  given_up.context.TryCancel();
  EXPECT_EQ(given_up.Code(), StatusCode::CANCELLED);
  EXPECT_EQ(out_of_time.Code(), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_GE(MsSince(start), 149);
  EXPECT_FALSE(patient.done.set());
  StartCallback();
  EXPECT_EQ(patient.Code(), StatusCode::OK);
  EXPECT_EQ(response.number(), 8);
}

TEST_P(CallbackEndAcrossProcesses, AServerThatDiesEndsItsCalls) {
  for (const bool reads : {true, false}) {
    Process server({"serve", address()});
    ASSERT_TRUE(server.ready());
    auto channel = ipcrpc::CreateChannel(client_address());
    auto stub = Methods::NewStub(channel);
    ClientTalks talk;
    Msg message = Data(100'000), answer;
    Event answered;
    talk.on_read = [&](bool ok) {
      if (ok) answered.Set();
      if (ok && reads) talk.StartRead(&answer);
    };
    talk.on_write = [&](bool ok) {
      if (ok) talk.StartWrite(&message);  // without end: the echo is not read
    };
    stub->async()->Talk(&talk.context, &talk);
    talk.StartRead(&answer);
    talk.StartWrite(&message);
    talk.StartCall();
    ASSERT_TRUE(answered.Wait());
    server.Kill();
    EXPECT_EQ(talk.Code(), StatusCode::UNAVAILABLE) << talk.status.error_message();
  }
}

TEST_P(CallbackEndAcrossProcesses, AClientThatDiesCancelsItsCalls) {
  std::atomic<int> cancels{0}, dones{0};
  callback_service_.emit = [&](CallbackServerContext*, const Msg*) {
    auto* reactor = new ServerWrites;
    static const Msg message = Data(50'000);
    reactor->on_write = [reactor](bool ok) {
      if (ok) reactor->StartWrite(&message);
    };
    reactor->on_cancel = [&, reactor] {
      ++cancels;
      reactor->Finish(Status::OK);
    };
    reactor->on_done = [&] { ++dones; };
    reactor->StartWrite(&message);  // until the client, which does not read, has enough
    return reactor;
  };
  StartCallback();
  Process client({"emit", client_address(), "0"});
  ASSERT_TRUE(client.ready());
  EXPECT_FALSE(Eventually([&] { return cancels != 0; }, 100ms));
  client.Kill();
  EXPECT_TRUE(Eventually([&] { return dones == 1; }));
  EXPECT_EQ(cancels, 1);
  StopServer();
}

TEST_P(CallbackEnd, AShutdownWaitsForCallsAndThenCancelsThem) {
  StartCallback();
  Event begun, cancelled;
  callback_service_.talk = [&](CallbackServerContext*) {
    auto* reactor = new ServerTalks;
    reactor->on_cancel = [&, reactor] {
      cancelled.Set();
      reactor->Finish(Status::OK);
    };
    begun.Set();
    return reactor;
  };
  ClientTalks talk;
  Msg answer;
  stub_->async()->Talk(&talk.context, &talk);
  talk.StartRead(&answer);
  talk.StartCall();
  ASSERT_TRUE(begun.Wait());
  const auto start = std::chrono::steady_clock::now();
  server_->Shutdown(In(200ms));
  EXPECT_GE(MsSince(start), 199);
  EXPECT_TRUE(cancelled.set());
  EXPECT_THAT(talk.Code(), ::testing::AnyOf(StatusCode::UNAVAILABLE, StatusCode::CANCELLED));
  // Nor is there a new one.
  ClientAsker asker;
  const Msg request;
  stub_->async()->Unary(&asker.context, &request, &answer, &asker);
  asker.StartCall();
  EXPECT_EQ(asker.Code(), StatusCode::UNAVAILABLE);
}

TEST_P(CallbackEnd, NestedCallsEndWithTheirOuterOne) {
  StartCallback();
  Event inner_running, inner_done;
  Status inner_status;
  std::unique_ptr<ClientContext> inner_context;
  const Msg request;
  Msg inner_response;
  const auto deadline = In(60s);
  callback_service_.emit = [&](CallbackServerContext* context, const Msg*) {
    EXPECT_LT(std::chrono::abs(context->deadline() - deadline), kSlower * 100ms);
    auto* reactor = new ServerWrites;
    reactor->on_cancel = [reactor] { reactor->Finish(Status::OK); };
    inner_running.Set();
    return reactor;
  };
  ClientReads inner;
  callback_service_.unary = [&](CallbackServerContext* context, const Msg*, Msg*) {
    auto* reactor = new ServerAnswers;
    inner_context = ClientContext::FromCallbackServerContext(*context);
    EXPECT_LT(std::chrono::abs(inner_context->deadline() - context->deadline()), 1ms);  // of two clocks
    stub_->async()->Emit(inner_context.get(), &request, &inner);
    inner.on_done = [&, reactor](const Status&) {
      inner_context.reset();  // before the call it belongs to is done
      reactor->Finish(Status::OK);
    };
    inner.StartCall();
    return reactor;
  };
  ClientAsker outer;
  Msg response;
  outer.context.set_deadline(deadline);
  stub_->async()->Unary(&outer.context, &request, &response, &outer);
  outer.StartCall();
  ASSERT_TRUE(inner_running.Wait());
  outer.context.TryCancel();
  EXPECT_EQ(outer.Code(), StatusCode::CANCELLED);
  EXPECT_EQ(inner.Code(), StatusCode::CANCELLED);
  StopServer();
}

TEST_P(CallbackEnd, WhatNestedCallsTakeOverCanBeSwitchedOff) {
  StartCallback();
  constexpr auto kNone = std::chrono::system_clock::time_point::max();
  std::chrono::system_clock::time_point inner_deadline;
  Event inner_running, outer_cancelled;
  ServerWrites* inner_reactor = nullptr;
  std::atomic<int> inner_cancels{0};
  callback_service_.emit = [&](CallbackServerContext* context, const Msg*) {
    inner_deadline = context->deadline();
    inner_reactor = new ServerWrites;
    inner_reactor->on_cancel = [&] { ++inner_cancels; };
    inner_running.Set();
    return inner_reactor;
  };
  std::unique_ptr<ClientContext> inner_context;
  const Msg request;
  ClientReads inner;
  callback_service_.unary = [&](CallbackServerContext* context, const Msg*, Msg*) {
    EXPECT_NE(context->deadline(), kNone);
    auto* reactor = new ServerAnswers;
    reactor->on_cancel = [&] { outer_cancelled.Set(); };
    inner_context = ClientContext::FromCallbackServerContext(
        *context, ipcrpc::PropagationOptions().disable_deadline_propagation().disable_cancellation_propagation());
    EXPECT_EQ(inner_context->deadline(), kNone);
    stub_->async()->Emit(inner_context.get(), &request, &inner);
    inner.on_done = [&, reactor](const Status&) {
      inner_context.reset();
      reactor->Finish(Status::OK);
    };
    inner.StartCall();
    return reactor;
  };
  ClientAsker outer;
  Msg response;
  outer.context.set_deadline(In(60s));
  stub_->async()->Unary(&outer.context, &request, &response, &outer);
  outer.StartCall();
  ASSERT_TRUE(inner_running.Wait());
  EXPECT_EQ(inner_deadline, kNone);
  outer.context.TryCancel();
  EXPECT_EQ(outer.Code(), StatusCode::CANCELLED);
  ASSERT_TRUE(outer_cancelled.Wait());
  inner_reactor->Finish(Status(StatusCode::ALREADY_EXISTS, "not cancelled"));
  EXPECT_EQ(inner.Code(), StatusCode::ALREADY_EXISTS);
  EXPECT_EQ(inner_cancels, 0);
  StopServer();
}

BEHAVIOUR_SUITE(CallbackEnd);
BEHAVIOUR_SUITE_WITH_NAMES(CallbackEndOfNames);
BEHAVIOUR_SUITE_ACROSS_PROCESSES(CallbackEndAcrossProcesses);

}  // namespace
}  // namespace behaviour

// The callback API, client: what reactors and functions are told of calls, when, and how often.
#include "tests/behaviour/callback_kit.h"

namespace behaviour {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

class CallbackClient : public CallbackTest {};
class CallbackClientOfNames : public CallbackTest {};  // servers that come late, channels by the dozen

TEST_P(CallbackClient, AFunctionIsToldOfTheEndOfAUnaryCall) {
  Start();
  service_.unary = [](ServerContext* context, const Msg* request, Msg* response) {
    context->AddInitialMetadata("i", "1");
    context->AddTrailingMetadata("t", "2");
    response->set_number(2 * request->number());
    return Status::OK;
  };
  ClientContext context;
  Msg response;
  Event done;
  Status status;
  {
    auto request = std::make_unique<Msg>(Number(21));
    stub_->async()->Unary(&context, request.get(), &response, [&](Status end) {
      status = std::move(end);
      done.Set();
    });
  }  // the request is not needed any more
  ASSERT_TRUE(done.Wait());
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.number(), 42);
  EXPECT_THAT(context.GetServerInitialMetadata(), ElementsAre(Pair("i", "1")));
  EXPECT_THAT(context.GetServerTrailingMetadata(), ElementsAre(Pair("t", "2")));
}

TEST_P(CallbackClient, AFailedUnaryCallLeavesItsResponseAlone) {
  Start();
  service_.unary = [](ServerContext*, const Msg*, Msg* response) {
    response->set_number(1);
    return Status(StatusCode::NOT_FOUND, "not here", "details");
  };
  ClientContext context;
  const Msg request;
  Msg response = Number(7);
  Event done;
  Status status;
  stub_->async()->Unary(&context, &request, &response, [&](const Status& end) {
    status = end;
    done.Set();
  });
  ASSERT_TRUE(done.Wait());
  EXPECT_EQ(status.error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(status.error_message(), "not here");
  EXPECT_EQ(status.error_details(), "details");
  EXPECT_EQ(response.number(), 7);
}

// Deadlocks, and so fails by its time limit, where a reaction runs inside of the call that started it.
TEST_P(CallbackClient, ReactionsMayTakeTheLockThatTheirStartersHold) {
  StartCallback();
  std::mutex mu;
  ClientTalks talk;
  Msg message = Number(1), answer;
  std::vector<std::string> said;
  talk.on_read = [&](bool ok) {
    std::lock_guard lock(mu);
    said.push_back(ok ? "read" : "end");
  };
  talk.on_write = [&](bool) {
    std::lock_guard lock(mu);
    said.push_back("write");
  };
  talk.on_writes_done = [&](bool) { std::lock_guard lock(mu); };
  talk.on_done = [&](const Status&) { std::lock_guard lock(mu); };
  const auto heard = [&](size_t count) {
    return Eventually([&] {
      std::lock_guard lock(mu);
      return said.size() == count;
    });
  };
  {
    std::lock_guard lock(mu);
    stub_->async()->Talk(&talk.context, &talk);
    talk.AddHold();
    talk.StartWrite(&message);
    talk.StartCall();
    talk.StartRead(&answer);
  }
  ASSERT_TRUE(heard(2));
  {
    // Both are complete at once.
    std::lock_guard lock(mu);
    talk.StartWrite(&message);
    talk.context.TryCancel();
    talk.StartRead(&answer);
    talk.RemoveHold();
  }
  EXPECT_EQ(talk.Code(), StatusCode::CANCELLED);
  EXPECT_EQ(said.size(), 4u);
  // A call that fails before there is anything to wait for.
  Event done;
  ClientContext context;
  context.TryCancel();
  {
    std::lock_guard lock(mu);
    stub_->async()->Unary(&context, &message, &answer, [&](const Status&) {
      { std::lock_guard inner(mu); }
      done.Set();
    });
  }
  EXPECT_TRUE(done.Wait());
}

TEST_P(CallbackClient, NothingHappensBeforeStartCall) {
  StartCallback();
  std::atomic<int> calls{0};
  callback_service_.talk = [&](CallbackServerContext*) { return ++calls, NewEcho(); };
  ClientTalks talk;
  Msg message = Number(5), answer;
  std::atomic<int> reactions{0};
  talk.on_read = talk.on_write = talk.on_writes_done = [&](bool ok) {
    EXPECT_TRUE(ok);
    ++reactions;
  };
  stub_->async()->Talk(&talk.context, &talk);
  talk.StartRead(&answer);
  talk.StartWrite(&message);
  talk.StartWritesDone();
  PingPong other(*stub_, 3);  // while another call goes through
  EXPECT_EQ(other.Code(), StatusCode::OK);
  EXPECT_EQ(reactions, 0);
  EXPECT_EQ(calls, 1);
  talk.StartCall();
  EXPECT_EQ(talk.Code(), StatusCode::OK);
  EXPECT_EQ(reactions, 3);
  EXPECT_EQ(answer.number(), 5);
  StopServer();
}

TEST_P(CallbackClient, StreamsOfEveryShape) {
  StartCallback();
  Msg request = Number(100), response, message;

  ClientAsker asker;
  stub_->async()->Unary(&asker.context, &request, &response, &asker);
  asker.StartCall();
  EXPECT_EQ(asker.Code(), StatusCode::OK);
  EXPECT_EQ(response.number(), 100);

  ClientReads reader;
  int64_t read = 0;
  reader.on_read = [&](bool ok) {
    if (!ok) return;
    EXPECT_EQ(message.number(), read++);
    reader.StartRead(&message);
  };
  stub_->async()->Emit(&reader.context, &request, &reader);
  reader.StartRead(&message);
  reader.StartCall();
  EXPECT_EQ(reader.Code(), StatusCode::OK);
  EXPECT_EQ(read, 100);

  ClientWrites writer;
  int64_t written = 0;
  Msg out = Number(1);
  writer.on_write = [&](bool ok) {
    EXPECT_TRUE(ok);
    ++written < 100 ? writer.StartWrite(&out) : writer.StartWritesDone();
  };
  stub_->async()->Collect(&writer.context, &response, &writer);
  writer.StartWrite(&out);
  writer.StartCall();
  EXPECT_EQ(writer.Code(), StatusCode::OK);
  EXPECT_EQ(response.number(), 100);
  EXPECT_EQ(response.text(), "100");

  PingPong talk(*stub_, 100);
  EXPECT_EQ(talk.Code(), StatusCode::OK);
  EXPECT_EQ(talk.answered, 100);
}

TEST_P(CallbackClient, InitialMetadataIsToldBeforeReadsAndTheEnd) {
  Start();
  Event go;
  service_.emit = [&](ServerContext* context, const Msg*, ServerEmitter* writer) {
    context->AddInitialMetadata("key", "value");
    writer->SendInitialMetadata();
    EXPECT_TRUE(go.Wait());
    writer->Write(Number(1));
    return Status::OK;
  };
  ClientReads reader;
  const Msg request;
  Msg message;
  std::vector<std::string> said;
  reader.on_initial = [&](bool ok) {
    EXPECT_TRUE(ok);
    EXPECT_THAT(reader.context.GetServerInitialMetadata(), ElementsAre(Pair("key", "value")));
    said.push_back("initial");
    go.Set();
  };
  reader.on_read = [&](bool ok) {
    said.push_back(ok ? "message" : "end");
    if (ok) reader.StartRead(&message);
  };
  reader.on_done = [&](const Status&) { said.push_back("done"); };
  stub_->async()->Emit(&reader.context, &request, &reader);
  reader.StartRead(&message);
  reader.StartCall();
  EXPECT_EQ(reader.Code(), StatusCode::OK);
  EXPECT_THAT(said, ElementsAre("initial", "message", "end", "done"));
  StopServer();
}

TEST_P(CallbackClientOfNames, UnreachableServersFailEverything) {
  const std::unique_ptr<Methods::Stub> stub = NewStub();
  ClientTalks talk;
  Msg message;
  std::vector<std::string> said;
  const auto says = [&](const char* what) {
    return [&said, what](bool ok) { said.push_back(std::string(what) + (ok ? " ok" : " failed")); };
  };
  talk.on_initial = says("initial");
  talk.on_read = says("read");
  talk.on_write = says("write");
  talk.on_writes_done = says("writes done");
  stub->async()->Talk(&talk.context, &talk);
  talk.StartRead(&message);
  talk.StartWrite(&message);
  talk.StartWritesDone();
  talk.StartCall();
  EXPECT_EQ(talk.Code(), StatusCode::UNAVAILABLE);
  EXPECT_THAT(said, ::testing::UnorderedElementsAre("initial failed", "read failed", "write failed", "writes done failed"));
  EXPECT_EQ(said[0], "initial failed");
}

TEST_P(CallbackClient, ACallThatEndsWithAnErrorAloneHasNoInitialMetadata) {
  Start();
  std::vector<bool> told;
  for (const bool with_metadata : {false, true}) {
    service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
      if (with_metadata) context->AddInitialMetadata("key", "value");
      return Status(StatusCode::ABORTED, "");
    };
    ClientAsker asker;
    asker.on_initial = [&](bool ok) { told.push_back(ok); };
    const Msg request;
    Msg response;
    stub_->async()->Unary(&asker.context, &request, &response, &asker);
    asker.StartCall();
    EXPECT_EQ(asker.Code(), StatusCode::ABORTED);
  }
  EXPECT_THAT(told, ElementsAre(false, true));
  StopServer();
}

TEST_P(CallbackClient, WriteLastHasOneReaction) {
  StartCallback();
  ClientWrites writer;
  Msg message = Number(9), response;
  int writes = 0, writes_done = 0;
  writer.on_write = [&](bool ok) {
    EXPECT_TRUE(ok);
    ++writes;
  };
  writer.on_writes_done = [&](bool) { ++writes_done; };
  stub_->async()->Collect(&writer.context, &response, &writer);
  writer.StartWriteLast(&message, ipcrpc::WriteOptions());
  writer.StartCall();
  EXPECT_EQ(writer.Code(), StatusCode::OK);
  EXPECT_EQ(response.number(), 9);
  EXPECT_EQ(writes, 1);
  EXPECT_EQ(writes_done, 0);
}

TEST_P(CallbackClient, HoldsKeepACallFromBeingDone) {
  StartCallback();
  ClientTalks talk;
  Msg message = Number(1), answer;
  Event first, second, end;
  talk.on_read = [&](bool ok) { (!ok ? end : first.set() ? second : first).Set(); };
  stub_->async()->Talk(&talk.context, &talk);
  talk.AddHold();
  talk.AddMultipleHolds(2);
  talk.StartCall();
  // From outside of reactions, with nothing outstanding.
  talk.StartWrite(&message);
  talk.StartRead(&answer);
  ASSERT_TRUE(first.Wait());
  talk.StartWrite(&message);
  talk.StartRead(&answer);
  ASSERT_TRUE(second.Wait());
  talk.StartWritesDone();
  talk.StartRead(&answer);
  ASSERT_TRUE(end.Wait());
  talk.RemoveHold();
  talk.RemoveHold();
  // The call is over, and one hold is left: it can still be asked.
  Event again;
  talk.on_read = [&](bool ok) {
    EXPECT_FALSE(ok);
    again.Set();
  };
  talk.StartRead(&answer);
  ASSERT_TRUE(again.Wait());
  EXPECT_FALSE(talk.done.Wait(100ms));
  talk.RemoveHold();
  EXPECT_EQ(talk.Code(), StatusCode::OK);
}

TEST_P(CallbackClientOfNames, TheLastReactionMayDestroyEverything) {
  StartCallback();
  // All that the call was made with goes in its last reaction.
  struct Everything : ClientReads {
    explicit Everything(std::shared_ptr<Channel> used, std::atomic<int>& counted)
        : channel(std::move(used)), stub(Methods::NewStub(channel)), ended(counted) {}
    ~Everything() override { ++ended; }
    void OnReadDone(bool ok) override {
      if (ok) StartRead(message.get());
    }
    void OnDone(const Status& end) override {
      EXPECT_TRUE(end.ok()) << end.error_message();
      stub.reset();
      channel.reset();
      delete this;
    }
    std::shared_ptr<Channel> channel;
    std::unique_ptr<Methods::Stub> stub;
    Msg request = Number(10);
    std::unique_ptr<Msg> message = std::make_unique<Msg>();
    std::atomic<int>& ended;
  };
  std::atomic<int> ended{0};
  for (int i = 0; i < 20; ++i) {
    auto* call = new Everything(ipcrpc::CreateChannel(client_address()), ended);
    call->stub->async()->Emit(&call->context, &call->request, call);
    call->StartRead(call->message.get());
    call->StartCall();
  }
  EXPECT_TRUE(Eventually([&] { return ended == 20; }));
  // The same with a function, which holds the last reference.
  Event gone;
  {
    auto channel = ipcrpc::CreateChannel(client_address());
    std::shared_ptr<Methods::Stub> stub = Methods::NewStub(channel);
    auto context = std::make_shared<ClientContext>();
    auto messages = std::make_shared<std::pair<Msg, Msg>>();
    auto at_the_end = std::shared_ptr<void>(nullptr, [&](void*) { gone.Set(); });
    Methods::Stub& used = *stub;
    used.async()->Unary(context.get(), &messages->first, &messages->second,
                        [stub = std::move(stub), channel = std::move(channel), context, messages, at_the_end](const Status& end) {
                          EXPECT_TRUE(end.ok()) << end.error_message();
                        });
  }
  EXPECT_TRUE(gone.Wait());
}

TEST_P(CallbackClient, RunningCallsKeepTheChannel) {
  StartCallback();
  Event go, done;
  callback_service_.unary = [&](CallbackServerContext* context, const Msg*, Msg*) {
    auto* reactor = context->DefaultReactor();
    std::thread([&go, reactor] {
      EXPECT_TRUE(go.Wait());
      reactor->Finish(Status::OK);
    }).detach();
    return reactor;
  };
  ClientContext context;
  const Msg request;
  Msg response;
  stub_->async()->Unary(&context, &request, &response, [&](const Status& end) {
    EXPECT_TRUE(end.ok()) << end.error_message();
    done.Set();
  });
  stub_.reset();
  channel_.reset();
  go.Set();
  EXPECT_TRUE(done.Wait());
  StopServer();
}

TEST_P(CallbackClient, UnreadMessagesDoNotHoldUpTheEnd) {
  StartCallback();
  ClientReads reader;
  const Msg request = Number(10);
  stub_->async()->Emit(&reader.context, &request, &reader);
  reader.StartCall();  // and never reads
  EXPECT_EQ(reader.Code(), StatusCode::OK);
}

TEST_P(CallbackClient, CorkedMetadataGoWithTheFirstWrite) {
  StartCallback();
  std::atomic<int> calls{0};
  callback_service_.talk = [&](CallbackServerContext*) { return ++calls, NewEcho(); };
  for (const bool write_first : {true, false}) {
    const int before = calls;
    ClientTalks talk;
    Msg message = Number(3), answer;
    talk.context.set_initial_metadata_corked(true);
    talk.on_read = [&](bool ok) {
      EXPECT_TRUE(ok);
      talk.StartWritesDone();
      talk.RemoveHold();
    };
    stub_->async()->Talk(&talk.context, &talk);
    talk.AddHold();
    if (write_first) talk.StartWrite(&message);
    talk.StartRead(&answer);
    talk.StartCall();
    if (!write_first) {
      PingPong other(*stub_, 2);
      EXPECT_EQ(other.Code(), StatusCode::OK);
      EXPECT_EQ(calls, before + 1) << "the corked call began before its first write";
      talk.StartWrite(&message);
    }
    EXPECT_EQ(talk.Code(), StatusCode::OK);
    EXPECT_EQ(answer.number(), 3);
  }
  StopServer();
}

TEST_P(CallbackClient, MessageLimitsEndTheCallAlone) {
  ipcrpc::ChannelArguments arguments;
  arguments.SetMaxSendMessageSize(1000);
  arguments.SetMaxReceiveMessageSize(1000);
  Start({}, arguments);
  const Msg large = Data(2000), small = Number(1);
  Msg response;
  service_.unary = [](ServerContext*, const Msg*, Msg* answer) { return *answer = Data(2000), Status::OK; };
  for (const Msg* request : {&large, &small}) {
    ClientAsker asker;
    stub_->async()->Unary(&asker.context, request, &response, &asker);
    asker.StartCall();
    EXPECT_EQ(asker.Code(), StatusCode::RESOURCE_EXHAUSTED);
  }
  ClientTalks talk;
  bool write_ok = true;
  talk.on_write = [&](bool ok) { write_ok = ok; };
  stub_->async()->Talk(&talk.context, &talk);
  talk.StartWrite(&large);
  talk.StartCall();
  EXPECT_EQ(talk.Code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_FALSE(write_ok);
  ExpectAlive();
}

TEST_P(CallbackClient, MixesWithWaitingCallsOnOneChannel) {
  StartCallback();
  std::atomic<bool> stop{false};
  std::vector<std::thread> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.emplace_back([&] {
      while (!stop) {
        ClientContext context;
        context.set_deadline(In(20s));
        Msg response;
        ASSERT_TRUE(stub_->Unary(&context, Number(4), &response).ok());
        ASSERT_EQ(response.number(), 4);
        ClientContext stream_context;
        auto stream = stub_->Talk(&stream_context);
        ASSERT_TRUE(stream->Write(Number(5)));
        ASSERT_TRUE(stream->Read(&response));
        ASSERT_TRUE(stream->WritesDone());
        ASSERT_FALSE(stream->Read(&response));
        ASSERT_TRUE(stream->Finish().ok());
      }
    });
  }
  for (int i = 0; i < 20; ++i) {
    PingPong talk(*stub_, 50);
    EXPECT_EQ(talk.Code(), StatusCode::OK);
  }
  stop = true;
  for (std::thread& thread : waiting) thread.join();
}

// The first callback call takes the receive role from a thread that leads, and from one that follows it.
TEST_P(CallbackClient, TheFirstOnePollsForThoseWhoWaitAlready) {
  Start();
  std::atomic<int> running{0};
  Event go;
  service_.unary = [&](ServerContext*, const Msg* request, Msg* response) {
    if (request->number() == 1) {
      ++running;
      EXPECT_TRUE(go.Wait());
    }
    *response = *request;
    return Status::OK;
  };
  std::vector<std::thread> waiting;
  for (int i = 0; i < 3; ++i) {
    waiting.emplace_back([&] {
      ClientContext context;
      Msg response;
      EXPECT_TRUE(stub_->Unary(&context, Number(1), &response).ok());
    });
  }
  ASSERT_TRUE(Eventually([&] { return running == 3; }));
  ClientAsker asker;
  const Msg request;
  Msg response;
  stub_->async()->Unary(&asker.context, &request, &response, &asker);
  asker.StartCall();
  EXPECT_EQ(asker.Code(), StatusCode::OK);
  go.Set();
  for (std::thread& thread : waiting) thread.join();
  StopServer();
}

TEST_P(CallbackClient, AReactionThatBlocksHoldsUpNoOtherCall) {
  StartCallback();
  for (int i = 0; i < 4; ++i) {
    Event go, stuck, done;
    ClientContext context;
    const Msg request;
    Msg response;
    stub_->async()->Unary(&context, &request, &response, [&](const Status&) {
      stuck.Set();
      EXPECT_TRUE(go.Wait());
      done.Set();
    });
    ASSERT_TRUE(stuck.Wait());
    PingPong talk(*stub_, 10);
    EXPECT_EQ(talk.Code(), StatusCode::OK);
    // Also one that waits for a call of the same channel.
    ClientContext nested_context;
    Event nested;
    stub_->async()->Unary(&nested_context, &request, &response, [&](const Status&) {
      ClientContext inner;
      inner.set_deadline(In(20s));
      Msg answer;
      EXPECT_TRUE(stub_->Unary(&inner, Number(1), &answer).ok());
      nested.Set();
    });
    EXPECT_TRUE(nested.Wait());
    go.Set();
    EXPECT_TRUE(done.Wait());
  }
}

BEHAVIOUR_SUITE(CallbackClient);
BEHAVIOUR_SUITE_WITH_NAMES(CallbackClientOfNames);

}  // namespace
}  // namespace behaviour

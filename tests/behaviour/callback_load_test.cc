// Many callback calls at once, readers that do not read, and what all of that costs in threads and memory.
#include "tests/behaviour/callback_kit.h"

namespace behaviour {
namespace {

class CallbackLoad : public CallbackTest {
 protected:
  // Until nothing has been added to this for a while.
  template <typename Count>
  static bool ComesToRest(const std::atomic<Count>& count) {
    Count seen = -1;
    return Eventually([&] {
      const Count now = count;
      std::this_thread::sleep_for(kSlower * 50ms);
      return std::exchange(seen, now) == now && now == count;
    });
  }
};

TEST_P(CallbackLoad, AThousandStreamsNeedNoThreads) {
  StartCallback();
  PingPong first(*stub_, 1);
  ASSERT_EQ(first.Code(), StatusCode::OK);
  const size_t before = Holdings::Now().threads;
  constexpr int kStreams = 1000;
  std::vector<std::unique_ptr<PingPong>> streams;
  for (int i = 0; i < kStreams; ++i) streams.push_back(std::make_unique<PingPong>(*stub_, 20));
  size_t most = 0;
  for (auto& stream : streams) {
    most = std::max(most, Holdings::Now().threads);
    ASSERT_EQ(stream->Code(), StatusCode::OK) << stream->status.error_message();
    EXPECT_EQ(stream->answered, 20);
  }
  // A few may have relieved pollers that lost their processor in the midst of a task: how many depends on the machine, not
  // on the streams.
  EXPECT_LE(most, before + 8 * kSlower);
}

TEST_P(CallbackLoad, ManyInFlightFromReactions) {
  StartCallback();
  constexpr int kInFlight = 64, kCalls = kSanitized ? 5'000 : 50'000;
  struct Slot {
    std::unique_ptr<ClientContext> context;
    Msg request, response;
  };
  std::vector<Slot> slots(kInFlight);
  std::atomic<int> started{0}, ended{0};
  std::function<void(Slot&)> next = [&](Slot& slot) {
    const int number = started++;
    if (number >= kCalls) return;
    slot.context = std::make_unique<ClientContext>();
    slot.request = Number(number);
    stub_->async()->Unary(slot.context.get(), &slot.request, &slot.response, [&, number](const Status& status) {
      EXPECT_TRUE(status.ok()) << status.error_message();
      EXPECT_EQ(slot.response.number(), number);
      next(slot);
      ++ended;
    });
  };
  for (Slot& slot : slots) next(slot);
  EXPECT_TRUE(Eventually([&] { return ended == kCalls; }, 60s));
}

TEST_P(CallbackLoad, AReaderThatDoesNotReadStopsItsWriterAlone) {
  StartCallback();
  // The server writes as fast as it may; the client reads nothing for now.
  constexpr int64_t kMessages = 400;
  static const Msg message = Data(100'000);
  std::atomic<int64_t> written{0};
  callback_service_.emit = [&](CallbackServerContext*, const Msg*) {
    auto* reactor = new ServerWrites;
    reactor->on_write = [&, reactor](bool ok) {
      EXPECT_TRUE(ok);
      if (++written == kMessages) return reactor->Finish(Status::OK);
      reactor->StartWrite(&message);
    };
    reactor->StartWrite(&message);
    return reactor;
  };
  ClientReads reader;
  const Msg request;
  Msg read;
  stub_->async()->Emit(&reader.context, &request, &reader);
  reader.AddHold();
  reader.StartCall();
  ASSERT_TRUE(Eventually([&] { return written > 0; }));
  // It comes to rest, with a few MB on the way.
  EXPECT_TRUE(ComesToRest(written));
  EXPECT_LT(written * 100'000, 8'000'000);
  // Its neighbours go on.
  PingPong neighbour(*stub_, 50);
  EXPECT_EQ(neighbour.Code(), StatusCode::OK);
  // Once it reads, all arrives.
  int64_t got = 0;
  reader.on_read = [&](bool ok) {
    if (!ok) return reader.RemoveHold();
    EXPECT_EQ(read.data().size(), 100'000u);
    ++got;
    reader.StartRead(&read);
  };
  reader.StartRead(&read);
  EXPECT_EQ(reader.Code(), StatusCode::OK);
  EXPECT_EQ(got, kMessages);
  StopServer();
}

TEST_P(CallbackLoad, AServerThatDoesNotReadStopsItsWriter) {
  StartCallback();
  std::atomic<ServerReads*> current{nullptr};
  callback_service_.collect = [&](CallbackServerContext*, Msg*) {
    auto* reactor = new ServerReads;
    reactor->on_cancel = [reactor] { reactor->Finish(Status::OK); };
    current = reactor;
    return reactor;
  };
  static const Msg message = Data(100'000);
  // The write that waits fails promptly.
  const auto blocked_write = [&](std::chrono::milliseconds deadline, const std::function<void(ClientContext&)>& unblock) {
    ClientWrites writer;
    Msg response;
    std::atomic<int> written{0}, failed{0};
    current = nullptr;
    writer.on_write = [&](bool ok) {
      if (!ok) return void(++failed);
      ++written;
      writer.StartWrite(&message);
    };
    if (deadline != 0ms) writer.context.set_deadline(In(deadline));
    stub_->async()->Collect(&writer.context, &response, &writer);
    writer.StartWrite(&message);
    writer.StartCall();
    EXPECT_TRUE(Eventually([&] { return written != 0 && current != nullptr; }) && ComesToRest(written));
    EXPECT_EQ(failed, 0);
    EXPECT_LT(written * 100'000, 8'000'000);
    const auto start = std::chrono::steady_clock::now();
    unblock(writer.context);
    const StatusCode code = writer.Code();
    EXPECT_LT(MsSince(start), kSlower * 1000 + static_cast<double>(deadline.count()));
    EXPECT_EQ(failed, 1);
    return code;
  };
  EXPECT_EQ(blocked_write(0ms, [](ClientContext& context) { context.TryCancel(); }), StatusCode::CANCELLED);
  EXPECT_EQ(blocked_write(kSlower * 500ms, [](ClientContext&) {}), StatusCode::DEADLINE_EXCEEDED);
  const auto returns = [&](ClientContext&) { current.load()->Finish(Status(StatusCode::ABORTED, "returned")); };
  EXPECT_EQ(blocked_write(0ms, returns), StatusCode::ABORTED);
  EXPECT_THAT(blocked_write(0ms, [&](ClientContext&) { server_->Shutdown(In(0ms)); }),
              ::testing::AnyOf(StatusCode::UNAVAILABLE, StatusCode::CANCELLED));
  StopServer();
}

TEST_P(CallbackLoad, AServersWriteThatWaitsFailsWhenItsCallEnds) {
  StartCallback();
  static const Msg message = Data(100'000);
  std::atomic<int> written{0}, failed{0}, dones{0};
  CallbackServerContext* server_context = nullptr;
  callback_service_.emit = [&](CallbackServerContext* context, const Msg*) {
    server_context = context;
    auto* reactor = new ServerWrites;
    reactor->on_write = [&, reactor](bool ok) {
      if (!ok) {
        ++failed;
        return reactor->Finish(Status::OK);
      }
      ++written;
      reactor->StartWrite(&message);
    };
    reactor->on_done = [&] { ++dones; };
    reactor->StartWrite(&message);
    return reactor;
  };
  int calls = 0;
  const auto blocked_write = [&](std::chrono::milliseconds deadline, const std::function<void(ClientContext&)>& unblock) {
    ClientReads reader;
    const Msg request;
    written = 0;
    if (deadline != 0ms) reader.context.set_deadline(In(deadline));
    stub_->async()->Emit(&reader.context, &request, &reader);
    reader.AddHold();  // has not done with reading, yet reads nothing
    reader.StartCall();
    EXPECT_TRUE(Eventually([&] { return written != 0; }) && ComesToRest(written));
    EXPECT_EQ(failed, calls);
    const auto start = std::chrono::steady_clock::now();
    unblock(reader.context);
    ++calls;
    EXPECT_TRUE(Eventually([&] { return dones == calls; }));
    EXPECT_EQ(failed, calls);
    EXPECT_LT(MsSince(start), kSlower * 1000 + static_cast<double>(deadline.count()));
    reader.RemoveHold();
    return reader.Code();
  };
  EXPECT_EQ(blocked_write(0ms, [](ClientContext& context) { context.TryCancel(); }), StatusCode::CANCELLED);
  EXPECT_EQ(blocked_write(kSlower * 500ms, [](ClientContext&) {}), StatusCode::DEADLINE_EXCEEDED);
  EXPECT_EQ(blocked_write(0ms, [&](ClientContext&) { server_context->TryCancel(); }), StatusCode::CANCELLED);
  EXPECT_THAT(blocked_write(0ms, [&](ClientContext&) { server_->Shutdown(In(0ms)); }),
              ::testing::AnyOf(StatusCode::UNAVAILABLE, StatusCode::CANCELLED));
  StopServer();
}

// Calls from many threads at once, ended in every way.
TEST_P(CallbackLoad, CallsOfAllKindsFromManyThreads) {
  StartCallback();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100 / (kSanitized ? 4 : 1); ++i) {
        switch ((i + t) % 4) {
          case 0: {
            PingPong talk(*stub_, 5);
            EXPECT_EQ(talk.Code(), StatusCode::OK);
            break;
          }
          case 1: {
            PingPong talk(*stub_, 1'000'000);
            talk.context.TryCancel();
            EXPECT_EQ(talk.Code(), StatusCode::CANCELLED);
            break;
          }
          case 2: {
            ClientReads reader;
            const Msg request = Number(50);
            Msg message;
            reader.on_read = [&](bool ok) {
              if (ok) reader.StartRead(&message);
            };
            reader.context.set_deadline(In(20s));
            stub_->async()->Emit(&reader.context, &request, &reader);
            reader.StartRead(&message);
            reader.StartCall();
            EXPECT_EQ(reader.Code(), StatusCode::OK);
            break;
          }
          case 3: {
            ClientAsker asker;
            const Msg request = Data(200'000);
            Msg response;
            stub_->async()->Unary(&asker.context, &request, &response, &asker);
            asker.StartCall();
            EXPECT_EQ(asker.Code(), StatusCode::OK);
            EXPECT_EQ(response.data().size(), 200'000u);
            break;
          }
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  ExpectAlive();
}

BEHAVIOUR_SUITE(CallbackLoad);

}  // namespace
}  // namespace behaviour

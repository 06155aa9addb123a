// Messages that lie in shared memory: the same bytes over every transport; not copied where descriptors are passed; blocks that
// come back whatever becomes of the call.
#include <ipcrpc/bytes_payload.h>

#include "tests/behaviour/fd_kit.h"
#include "tests/behaviour/memory_kit.h"

namespace behaviour {
namespace {

// Every call as bytes: keeps the last request as long as it is told to, and answers with it or with what `answer` says.
class Keeper final : public ipcrpc::CallbackGenericService {
 public:
  std::function<ByteBuffer(const ByteBuffer& request)> answer = [](const ByteBuffer& request) { return request; };
  Status end = Status::OK;

  void KeepRequests() { keeps_ = true; }
  std::vector<ByteBuffer> TakeRequests() {
    std::lock_guard lock(mu_);
    return std::move(requests_);
  }

  ipcrpc::ServerGenericBidiReactor* CreateReactor(ipcrpc::GenericCallbackServerContext*) override { return new Reactor(this); }

 private:
  class Reactor final : public ipcrpc::ServerGenericBidiReactor {
   public:
    explicit Reactor(Keeper* keeper) : keeper_(keeper) { StartRead(&in_); }
    void OnReadDone(bool ok) override {
      if (!ok) return Finish(keeper_->end);
      if (keeper_->keeps_) {
        std::lock_guard lock(keeper_->mu_);
        keeper_->requests_.push_back(in_);
      }
      if (!keeper_->end.ok()) return Finish(keeper_->end);
      out_ = keeper_->answer(in_);
      in_.Clear();
      StartWrite(&out_);
    }
    void OnWriteDone(bool ok) override {
      out_.Clear();
      if (!ok) return Finish(keeper_->end);
      StartRead(&in_);
    }
    void OnDone() override { delete this; }

   private:
    Keeper* const keeper_;
    ByteBuffer in_, out_;
  };

  std::atomic<bool> keeps_{false};
  std::mutex mu_;
  std::vector<ByteBuffer> requests_;
};

class Memory : public BehaviourTest {
 protected:
  ~Memory() override { StopServer(); }

  static bool refers() { return PassesFds(scheme()); }

  // A server whose methods are all `keeper_`'s.
  void StartKeeper(const std::string& parameters = "") {
    server_ = ServeKeeper(address() + parameters);
    channel_ = ipcrpc::CreateChannel(client_address() + parameters, ipcrpc::InsecureChannelCredentials());
    Warm();
  }
  std::unique_ptr<ipcrpc::Server> ServeKeeper(const std::string& at) {
    ipcrpc::ServerBuilder builder;
    builder.AddListeningPort(at, ipcrpc::InsecureServerCredentials());
    builder.RegisterCallbackGenericService(&keeper_);
    builder.SetMaxReceiveMessageSize(64 * 1024 * 1024);
    auto server = builder.BuildAndStart();
    EXPECT_NE(server, nullptr) << builder.error();
    return server;
  }
  // What the peer can is known with the first answer.
  void Warm() {
    ByteBuffer response;
    const Status status = CallByName(channel_, kUnary, Bytes("warm"), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }

  void ExpectAllBack(const MemoryPool& pool) {
    EXPECT_TRUE(Eventually([&] { return pool.used() == 0; })) << pool.used();
  }

  Keeper keeper_;
};

// Where addresses can ask for trust.
class TrustedMemory : public Memory {
 protected:
  // A server that keeps what it is sent, where it lies.
  void SetUp() override {
    keeper_.KeepRequests();
    keeper_.answer = [](const ByteBuffer&) { return Bytes("kept"); };
    StartKeeper("?trust=peer");
  }
};
class NamedMemory : public Memory {};

TEST_P(Memory, TheSameBytesEitherWay) {
  StartKeeper();
  const auto pool = NewPool(8 * kMiB);
  for (const size_t bytes : {size_t{1}, size_t{4096}, 100 * size_t{1024}, kMiB}) {
    const std::string text = Pattern(bytes);
    for (const Slice& slice : {Lend(*pool, text), Register(text), Slice(text)}) {
      for (const auto& slices : {std::vector<Slice>{slice}, {Slice(std::string("head ")), slice}, {slice, Slice(std::string(" tail"))},
                                 {Slice(std::string("a")), slice, Slice(std::string("b")), slice}}) {
        ByteBuffer response;
        const Status status = CallByName(channel_, kUnary, Of(slices), &response);
        ASSERT_TRUE(status.ok()) << status.error_message();
        EXPECT_TRUE(Text(response) == Text(Of(slices))) << bytes << " bytes in " << slices.size() << " slices";
      }
    }
  }
  ExpectAllBack(*pool);
}

TEST_P(Memory, WhatIsRegisteredIsReadWhereItLies) {
  keeper_.answer = [](const ByteBuffer& request) {
    const std::vector<Slice> slices = SlicesOf(request);
    const bool shared = slices.size() == 2 && InSharedMemory(slices[1].begin()) && !InSharedMemory(slices[0].begin());
    return Bytes(shared ? "shared" : "copied");
  };
  StartKeeper();
  const std::string text = Pattern(kMiB);
  const Slice registered = Register(text);
  ByteBuffer response;
  ASSERT_TRUE(CallByName(channel_, kUnary, Of({Slice(std::string("head")), registered}), &response).ok());
  EXPECT_EQ(Text(response), refers() ? "shared" : "copied");
  // A part of it, too.
  ASSERT_TRUE(CallByName(channel_, kUnary, Of({Slice(std::string("head")), registered.sub(100, 100'000)}), &response).ok());
  EXPECT_EQ(Text(response), refers() ? "shared" : "copied");
  // Other private memory is not.
  ASSERT_TRUE(CallByName(channel_, kUnary, Of({Slice(std::string("head")), Slice(text)}), &response).ok());
  EXPECT_EQ(Text(response), "copied");
}

TEST_P(Memory, ARegisteredAnswerOutlivesTheCallAndTheServersOwn) {
  const std::string text = Pattern(kMiB);
  {
    const Slice registered = Register(text);
    keeper_.answer = [registered](const ByteBuffer&) { return Of({registered}); };
    StartKeeper();
  }
  ByteBuffer response;
  ASSERT_TRUE(CallByName(channel_, kUnary, Bytes("give"), &response).ok());
  keeper_.answer = [](const ByteBuffer& request) { return request; };
  StopServer();
  channel_ = nullptr;
  EXPECT_EQ(InSharedMemory(SlicesOf(response)[0].begin()), refers());
  EXPECT_TRUE(Text(response) == text);
}

TEST_P(Memory, WithoutTrustALoanIsCopiedOutAndComesBackAtOnce) {
  keeper_.KeepRequests();
  keeper_.answer = [](const ByteBuffer&) { return Bytes("kept"); };
  StartKeeper();
  const auto pool = NewPool(4 * kMiB);
  const std::string text = Pattern(kMiB);
  ByteBuffer response;
  ASSERT_TRUE(CallByName(channel_, kUnary, Of({Lend(*pool, text)}), &response).ok());
  ExpectAllBack(*pool);
  const auto requests = keeper_.TakeRequests();
  EXPECT_FALSE(InSharedMemory(SlicesOf(requests.back())[0].begin()));
  EXPECT_TRUE(Text(requests.back()) == text);
}

TEST_P(TrustedMemory, ALoanIsTheServersUntilItLetsGo) {
  const auto pool = NewPool(4 * kMiB);
  const std::string text = Pattern(kMiB);
  ByteBuffer response;
  ASSERT_TRUE(CallByName(channel_, kUnary, Of({Lend(*pool, text)}), &response).ok());
  EXPECT_EQ(pool->used(), kMiB);
  auto requests = keeper_.TakeRequests();
  EXPECT_TRUE(InSharedMemory(SlicesOf(requests.back())[0].begin()));
  EXPECT_TRUE(Text(requests.back()) == text);
  requests.clear();
  ExpectAllBack(*pool);
}

TEST_P(TrustedMemory, WhatALaggardKeepsIsHalfOfThePoolAtMost) {
  const auto pool = NewPool(4 * kMiB);
  const std::string text = Pattern(kMiB);
  ByteBuffer response;
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(CallByName(channel_, kUnary, Of({Lend(*pool, text)}), &response).ok());
  EXPECT_EQ(pool->used(), 2 * kMiB);
  auto requests = keeper_.TakeRequests();
  int shared = 0;
  requests.erase(requests.begin());  // that of Warm()
  for (const ByteBuffer& request : requests) {
    EXPECT_TRUE(Text(request) == text);
    shared += InSharedMemory(SlicesOf(request).back().begin());
  }
  EXPECT_EQ(shared, 2);
  requests.clear();
  ExpectAllBack(*pool);
}

TEST_P(Memory, AnExhaustedPoolGoesOnWithPrivateMemory) {
  StartKeeper();
  const auto pool = NewPool(kMiB);
  const std::string text = Pattern(kMiB);
  const Slice all = Lend(*pool, text);
  const Slice more = Lend(*pool, text);
  EXPECT_TRUE(InSharedMemory(all.begin()));
  EXPECT_FALSE(InSharedMemory(more.begin()));
  ByteBuffer response;
  ASSERT_TRUE(CallByName(channel_, kUnary, Of({more}), &response).ok());
  EXPECT_TRUE(Text(response) == text);
}

TEST_P(Memory, MoreMemoriesThanAPeerIsShown) {
  StartKeeper();
  std::vector<Slice> registered;
  for (unsigned i = 0; i < 40; ++i) registered.push_back(Register(Pattern(32 * 1024, i)));
  for (int round = 0; round < 3; ++round) {
    for (unsigned i = 0; i < registered.size(); ++i) {
      ByteBuffer response;
      const Status status = CallByName(channel_, kUnary, Of({registered[i]}), &response);
      ASSERT_TRUE(status.ok()) << status.error_message();
      ASSERT_TRUE(Text(response) == Pattern(32 * 1024, i));
    }
  }
}

TEST_P(Memory, OfAMessageThatIsTooLargeComesBack) {
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(address(), ipcrpc::InsecureServerCredentials());
  builder.RegisterCallbackGenericService(&keeper_);
  builder.SetMaxReceiveMessageSize(kMiB);
  server_ = builder.BuildAndStart();
  ASSERT_NE(server_, nullptr) << builder.error();
  channel_ = ipcrpc::CreateChannel(client_address(), ipcrpc::InsecureChannelCredentials());
  Warm();
  const auto pool = NewPool(8 * kMiB);
  ByteBuffer response;
  const Status status = CallByName(channel_, kUnary, Of({Lend(*pool, Pattern(kMiB + 1))}), &response);
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  ExpectAllBack(*pool);
  ASSERT_TRUE(CallByName(channel_, kUnary, Of({Lend(*pool, Pattern(kMiB))}), &response).ok());
}

TEST_P(Memory, OfAMethodThatThereIsNotComesBack) {
  Start();
  {
    ClientContext context;
    Msg response;
    ASSERT_TRUE(stub_->Unary(&context, Number(1), &response).ok());
  }
  const auto pool = NewPool(8 * kMiB);
  ByteBuffer response;
  EXPECT_EQ(CallByName(channel_, "/no.Such/Method", Of({Lend(*pool, Pattern(kMiB))}), &response).error_code(), StatusCode::UNIMPLEMENTED);
  ExpectAllBack(*pool);
}

TEST_P(Memory, AHandlerOfGeneratedTypesParsesItWhereItLies) {
  service_.unary = [](ServerContext*, const Msg* request, Msg* response) {
    response->set_number(static_cast<int64_t>(request->data().size()));
    return Status::OK;
  };
  Start();
  ClientContext context;
  Msg response;
  ASSERT_TRUE(stub_->Unary(&context, Number(1), &response).ok());
  const std::string request = Data(kMiB).SerializeAsString();
  const auto pool = NewPool(8 * kMiB);
  for (const auto& slices : {std::vector<Slice>{Register(request)}, {Lend(*pool, request)},
                             {Slice(request.substr(0, 3)), Lend(*pool, request.substr(3))}}) {
    ByteBuffer bytes;
    const Status status = CallByName(channel_, kUnary, Of(slices), &bytes);
    ASSERT_TRUE(status.ok()) << status.error_message();
    ASSERT_TRUE(response.ParseFromString(Text(bytes)));
    EXPECT_EQ(response.number(), static_cast<int64_t>(kMiB));
  }
  ExpectAllBack(*pool);
}

TEST_P(Memory, AStubOfBytesPayloadBlocks) {
  StartKeeper();
  ipcrpc::TemplatedGenericStub<ipcrpc::BytesPayload, ipcrpc::BytesPayload> stub(channel_);
  const auto pool = NewPool(8 * kMiB);
  const std::string text = Pattern(kMiB);
  for (int i = 0; i < 10; ++i) {
    const ipcrpc::BytesPayload request = {Lend(*pool, text)};
    ipcrpc::BytesPayload response;
    ClientContext context;
    const Status status = stub.UnaryCall(&context, kUnary, ipcrpc::StubOptions(), &request, &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(std::string_view(reinterpret_cast<const char*>(response.data.begin()), response.data.size()), text);
  }
  Warm();  // what came back is heard of with the next call
  ExpectAllBack(*pool);
}

// Writes lent blocks as fast as they are read, and cancels in the midst of it, or not.
class LentStream final : public ipcrpc::ClientBidiReactor<ByteBuffer, ByteBuffer> {
 public:
  LentStream(const std::shared_ptr<Channel>& channel, MemoryPool& pool, int messages) : pool_(pool), left_(messages) {
    ipcrpc::GenericStub stub(channel);
    stub.PrepareBidiStreamingCall(&context_, "/behaviour.Methods/Talk", ipcrpc::StubOptions(), this);
    Write();
    StartRead(&in_);
    StartCall();
  }
  void OnWriteDone(bool ok) override {
    if (ok && --left_ > 0) return Write();
    if (ok) StartWritesDone();
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    good_ += Text(in_) == text_;
    in_.Clear();
    StartRead(&in_);
  }
  void OnDone(const Status& status) override {
    status_ = status;
    done_.Set();
  }
  Status Await() {
    EXPECT_TRUE(done_.Wait());
    in_.Clear();
    out_.Clear();
    return status_;
  }
  void Cancel() { context_.TryCancel(); }
  int good() const { return good_; }

 private:
  void Write() {
    out_ = Of({Lend(pool_, text_)});
    StartWrite(&out_);
  }

  MemoryPool& pool_;
  ClientContext context_;
  const std::string text_ = Pattern(100 * 1024);
  std::atomic<int> left_;
  std::atomic<int> good_{0};
  ByteBuffer in_, out_;
  Event done_;
  Status status_;
};

TEST_P(Memory, AStreamOfLoans) {
  StartKeeper();
  const auto pool = NewPool(4 * kMiB);
  LentStream stream(channel_, *pool, 300);
  const Status status = stream.Await();
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(stream.good(), 300);
  ExpectAllBack(*pool);
}

TEST_P(Memory, OfStreamsThatAreCancelledComesBack) {
  StartKeeper();
  const auto pool = NewPool(4 * kMiB);
  for (int i = 0; i < 20; ++i) {
    LentStream stream(channel_, *pool, 1'000'000);
    std::this_thread::sleep_for(std::chrono::milliseconds(i % 5));
    stream.Cancel();
    EXPECT_EQ(stream.Await().error_code(), StatusCode::CANCELLED);
  }
  ExpectAllBack(*pool);
}

TEST_P(NamedMemory, ComesBackWhenTheServerGoes) {
  StartKeeper();
  const auto pool = NewPool(4 * kMiB);
  LentStream stream(channel_, *pool, 1'000'000);
  EXPECT_TRUE(Eventually([&] { return stream.good() > 10; }));
  server_->Shutdown(std::chrono::system_clock::now());
  EXPECT_FALSE(stream.Await().ok());
  ExpectAllBack(*pool);
}

BEHAVIOUR_SUITE(Memory);
BEHAVIOUR_SUITE_WITH_NAMES(NamedMemory);
INSTANTIATE_TEST_SUITE_P(All, TrustedMemory, ::testing::Values("shm", "unix"), SchemeName);

}  // namespace
}  // namespace behaviour

// Calls without generated classes: generic stubs and services, and the bytes they carry.
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include "fixture.h"
#include "reactions.h"

namespace differential {
namespace {

using grpc::ByteBuffer;
using grpc::Slice;

constexpr char kUnary[] = "/differential.Methods/Unary";

ByteBuffer Bytes(const std::string& text) {
  const Slice slice(text);
  return ByteBuffer(&slice, 1);
}

std::string Text(const ByteBuffer& buffer) {
  std::vector<Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string text;
  for (const Slice& slice : slices) text.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return text;
}

ByteBuffer Packed(const Msg& message) { return Bytes(message.SerializeAsString()); }

Msg Unpacked(const ByteBuffer& buffer) {
  Msg message;
  EXPECT_TRUE(message.ParseFromString(Text(buffer)));
  return message;
}

// Reads until the end, having written what it was given.
class Talk final : public grpc::ClientBidiReactor<ByteBuffer, ByteBuffer>, public Reactions {
 public:
  explicit Talk(std::vector<ByteBuffer> to_write) : to_write_(std::move(to_write)) {}
  void Begin() {
    StartRead(&in_);
    Next();
    StartCall();
  }
  void OnReadInitialMetadataDone(bool ok) override { Note("metadata", ok); }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    read.push_back(Text(in_));
    StartRead(&in_);
  }
  void OnWriteDone(bool ok) override {
    if (ok) Next();
  }
  void OnDone(const Status& status) override { NoteDone(status); }

  std::vector<std::string> read;

 private:
  void Next() {
    if (next_ < to_write_.size()) return StartWrite(&to_write_[next_++]);
    StartWritesDone();
  }

  std::vector<ByteBuffer> to_write_;
  size_t next_ = 0;
  ByteBuffer in_;
};

class GenericTest : public DifferentialTest {
 protected:
  Status GenericUnary(const std::string& method, const ByteBuffer& request, ByteBuffer* response) {
    grpc::GenericStub stub(channel_);
    ClientContext context;
    context.set_deadline(In(kLimit));
    Event done;
    Status result;
    stub.UnaryCall(&context, method, grpc::StubOptions(), &request, response, [&](Status status) {
      result = std::move(status);
      done.Set();
    });
    EXPECT_TRUE(done.Wait(2 * kLimit));
    return result;
  }
};

TEST_F(GenericTest, UnaryCalls) {
  Start();
  ByteBuffer response;
  EXPECT_TRUE(GenericUnary(kUnary, Packed(Number(8)), &response).ok());
  EXPECT_EQ(Unpacked(response).number(), 8);
  EXPECT_EQ(GenericUnary("/differential.Methods/Nothing", Packed(Msg()), &response).error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_EQ(GenericUnary("/differential.Methods/unary", Packed(Msg()), &response).error_code(), StatusCode::UNIMPLEMENTED);

  grpc::GenericStub stub(channel_);
  class Single final : public grpc::ClientUnaryReactor, public Reactions {
   public:
    void OnReadInitialMetadataDone(bool ok) override { Note("metadata", ok); }
    void OnDone(const Status& status) override { NoteDone(status); }
  } reactor;
  ClientContext context;
  const ByteBuffer request = Packed(Number(9));
  stub.PrepareUnaryCall(&context, kUnary, grpc::StubOptions(), &request, &response, &reactor);
  reactor.StartCall();
  ASSERT_TRUE(reactor.done().Wait());
  EXPECT_TRUE(reactor.status().ok());
  EXPECT_EQ(Unpacked(response).number(), 9);
}

TEST_F(GenericTest, ABidiCallCanTalkToMethodsOfAnyShape) {
  Start();
  grpc::GenericStub stub(channel_);
  const std::pair<const char*, size_t> methods[] = {{kUnary, 1}, {"/differential.Methods/Emit", 3}, {"/differential.Methods/Collect", 1}, {"/differential.Methods/Talk", 2}};
  for (const auto& [method, answers] : methods) {
    const bool streams = std::string(method).ends_with("Talk") || std::string(method).ends_with("Collect");
    std::vector<ByteBuffer> requests = {Packed(Number(3))};
    if (streams) requests.push_back(Packed(Number(4)));
    Talk reactor(requests);
    ClientContext context;
    stub.PrepareBidiStreamingCall(&context, method, grpc::StubOptions(), &reactor);
    reactor.Begin();
    ASSERT_TRUE(reactor.done().Wait()) << method;
    EXPECT_TRUE(reactor.status().ok()) << method << reactor.status().error_message();
    EXPECT_EQ(reactor.read.size(), answers) << method;
  }
}

TEST_F(GenericTest, RequestsThatDoNotParseRunNoHandler) {
  Start();
  std::atomic<int> runs{0};
  service_.unary = [&](ServerContext*, const Msg*, Msg*) { return ++runs, Status::OK; };
  ByteBuffer response;
  EXPECT_EQ(GenericUnary(kUnary, Bytes("\x0a\xff\xff\xff"), &response).error_code(), StatusCode::INTERNAL);
  EXPECT_EQ(runs, 0);
  EXPECT_TRUE(GenericUnary(kUnary, Packed(Msg()), &response).ok());
  StopServer();
}

// Serves what nobody else does: echoes, after the method's name.
class GenericService final : public grpc::CallbackGenericService {
 public:
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override { return new Reactor(context->method()); }

 private:
  class Reactor final : public grpc::ServerGenericBidiReactor {
   public:
    explicit Reactor(const std::string& method) : out_(Bytes(method)) { StartWrite(&out_); }
    void OnWriteDone(bool ok) override {
      if (ok) StartRead(&in_);
      else Finish(Status(StatusCode::UNKNOWN, ""));
    }
    void OnReadDone(bool ok) override {
      if (ok) StartWrite(&in_);
      else Finish(Status::OK);
    }
    void OnDone() override { delete this; }

   private:
    ByteBuffer in_, out_;
  };
};

TEST_F(GenericTest, AGenericServiceGetsWhatNobodyElseServes) {
  GenericService generic;
  Start([&](grpc::ServerBuilder& builder) { builder.RegisterCallbackGenericService(&generic); });
  EXPECT_TRUE(Call(Number(1)).ok()) << "the registered service's own";
  grpc::GenericStub stub(channel_);
  for (const char* method : {"/nowhere.Nothing/AtAll", "/differential.Methods/unary"}) {
    Talk reactor({Bytes("one"), Bytes(""), Bytes("three")});
    ClientContext context;
    stub.PrepareBidiStreamingCall(&context, method, grpc::StubOptions(), &reactor);
    reactor.Begin();
    ASSERT_TRUE(reactor.done().Wait());
    EXPECT_TRUE(reactor.status().ok()) << reactor.status().error_message();
    EXPECT_THAT(reactor.read, ElementsAre(method, "one", "", "three"));
  }
  StopServer();
}

TEST_F(GenericTest, AGenericServiceIsUnimplementedByDefault) {
  grpc::CallbackGenericService generic;
  Start([&](grpc::ServerBuilder& builder) { builder.RegisterCallbackGenericService(&generic); });
  ByteBuffer response;
  EXPECT_EQ(GenericUnary("/nowhere.Nothing/AtAll", Bytes(""), &response).error_code(), StatusCode::UNIMPLEMENTED);
  EXPECT_TRUE(Call().ok());
  StopServer();
}

TEST(ByteBufferTest, HoldsBytes) {
  ByteBuffer empty;
  EXPECT_FALSE(empty.Valid());
  const Slice slices[] = {Slice("one"), Slice(std::string("\0two", 4))};
  ByteBuffer buffer(slices, 2);
  EXPECT_TRUE(buffer.Valid());
  EXPECT_EQ(buffer.Length(), 7u);
  EXPECT_EQ(Text(buffer), std::string("one\0two", 7));
  ByteBuffer copy(buffer);
  EXPECT_EQ(Text(copy), Text(buffer));
  copy.Clear();
  EXPECT_FALSE(copy.Valid());
  EXPECT_TRUE(buffer.Valid());
  copy.Swap(&buffer);
  EXPECT_TRUE(copy.Valid());
  EXPECT_FALSE(buffer.Valid());
  buffer = copy;
  EXPECT_EQ(buffer.Length(), 7u);
  const ByteBuffer nothing = Bytes("");
  EXPECT_TRUE(nothing.Valid());
  EXPECT_EQ(nothing.Length(), 0u);
}

TEST(ByteBufferTest, SlicesCopyTheirBytes) {
  std::string text = "text";
  const Slice slice(text.data(), text.size());
  text = "gone";
  EXPECT_EQ(slice.size(), 4u);
  EXPECT_EQ(std::string(slice.begin(), slice.end()), "text");
  const Slice copy = slice;
  EXPECT_EQ(std::string(copy.begin(), copy.end()), "text");
  EXPECT_EQ(Slice().size(), 0u);
}

TEST(ByteBufferTest, SerializationTraitsGoBothWays) {
  ByteBuffer buffer;
  bool own = false;
  const Msg message = Data(5000);
  ASSERT_TRUE(grpc::SerializationTraits<Msg>::Serialize(message, &buffer, &own).ok());
  EXPECT_EQ(buffer.Length(), message.ByteSizeLong());
  Msg read;
  ASSERT_TRUE(grpc::SerializationTraits<Msg>::Deserialize(&buffer, &read).ok());
  EXPECT_EQ(read.data(), message.data());
  ByteBuffer broken = Bytes("\x0a\xff\xff\xff");
  EXPECT_FALSE(grpc::SerializationTraits<Msg>::Deserialize(&broken, &read).ok());
}

}  // namespace
}  // namespace differential

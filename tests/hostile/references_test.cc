// What becomes of memory and loans when the other side does as it likes: all of it comes back, or is bounded, and others are served.
#include <ipcrpc/memory_pool.h>
#include <ipcrpc/registered_memory.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <set>
#include <thread>

#include "tests/behaviour/fd_kit.h"
#include "tests/behaviour/generic_kit.h"
#include "tests/hostile/references_kit.h"

namespace hostile {
namespace {

using namespace behaviour;  // NOLINT: the fixture's
using ipcrpc::MemoryPool;
using ipcrpc::rpc::EntryKind;
using ipcrpc::rpc::kFirstChunk;
using ipcrpc::rpc::kHalfCloses;
using ipcrpc::rpc::kHasMessage;
using ipcrpc::rpc::kMoreChunks;
using ipcrpc::rpc::kRefers;
using ipcrpc::rpc::kTakesReferences;

constexpr uint32_t kBytes = 20 * 1024;
constexpr size_t kMiB = 1024 * 1024;
constexpr size_t kPoolBytes = 16 * kBytes;

// ---- clients that refer ----------------------------------------------------------------------

class References : public ReferringTest {
 protected:
  void SetUp() override {
    service_.collect = [](ServerContext* context, ServerCollector*, Msg*) {  // reads nothing
      EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
      return Status::OK;
    };
    ReferringTest::SetUp();
  }
  static std::string Begin(uint32_t stream, std::string_view method) {
    return FrameOf({.type = FrameType::kBegin, .stream = stream}, EntryOf(static_cast<int>(EntryKind::kMethodName), "", method));
  }
  static std::string Cancel(uint32_t stream) { return FrameOf({.type = FrameType::kCancel, .stream = stream, .number = 1}); }
  // With a pool as memory 1.
  Referrer WithPool() {
    Referrer client = Greeted();
    EXPECT_TRUE(client.ShowNext(kPool, MemoryWith(bytes_, kPoolSeals), kBytes));
    return client;
  }
  static ReferenceBody Lent(uint32_t loan) { return {.memory = 1, .loan = loan, .bytes = kBytes}; }
  static void ExpectReturned(Referrer& client, std::set<uint32_t> loans) {
    while (!loans.empty()) {
      const auto frame = client->ReceiveType(FrameType::kReturn);
      ASSERT_TRUE(frame.has_value()) << loans.size() << " loans did not come back, " << *loans.begin() << " among them";
      EXPECT_EQ(loans.erase(HeaderOf(*frame).number), 1u) << "not lent, or twice: " << HeaderOf(*frame).number;
    }
  }

  const std::string bytes_ = Data(kBytes - 4).SerializeAsString();
};

TEST_P(References, InTheBeginAndInChunks) {
  Referrer client = WithPool();
  // A unary call whose whole request is lent, and one with the number in front, cut in two behind the references.
  std::string begin = Begin(1, "/behaviour.Methods/Unary");
  std::string block = begin.substr(sizeof(FrameHeader)) + Entries({Lent(1)});
  ASSERT_TRUE(client->Send(FrameOf({.type = FrameType::kBegin, .flags = kHasMessage | kFirstChunk | kRefers | kHalfCloses, .stream = 1,
                                    .message_bytes = kBytes}, block)));
  EXPECT_EQ(client.Finish(), 0);
  const std::string number = Number(7).SerializeAsString();
  ASSERT_EQ(number.size(), 2u);
  ASSERT_TRUE(client->Send(Begin(2, "/behaviour.Methods/Talk")));
  ReferenceBody late = Lent(2);
  late.before = 2;
  ASSERT_TRUE(client->Send(Refer({late}, number.substr(0, 1), kBytes + 2, kMoreChunks, 2)));
  ASSERT_TRUE(client->Send(FrameOf({.type = FrameType::kMessage, .flags = kHasMessage, .stream = 2}, {}, number.substr(1))));
  const auto answer = client->ReceiveType(FrameType::kMessage);
  ASSERT_TRUE(answer.has_value());
  // Its number came, and its data.
  EXPECT_THAT(*answer, ::testing::EndsWith(Number(kBytes - 4 + 7).SerializeAsString()));
}

TEST_P(References, LoansComeBackOnceEach) {
  Referrer client = WithPool();
  ASSERT_TRUE(client->Send(BeginTalk(1)));
  for (uint32_t loan = 1; loan <= 5; ++loan) ASSERT_TRUE(client->Send(Refer({Lent(loan)})));
  ExpectReturned(client, {1, 2, 3, 4, 5});
}

TEST_P(References, OfCallsThatAreOverCancelledOrRefusedComeBack) {
  Referrer client = WithPool();
  // Over.
  ASSERT_TRUE(client->Send(BeginTalk(1)));
  ASSERT_TRUE(client->Send(Cancel(1)));
  ASSERT_TRUE(client->Send(Refer({Lent(1), Lent(2)})));
  ExpectReturned(client, {1, 2});
  // Never read, until the call is cancelled; the last one half there.
  ASSERT_TRUE(client->Send(Begin(2, "/behaviour.Methods/Collect")));
  ASSERT_TRUE(client->Send(Refer({Lent(3)}, {}, 0, 0, 2)));
  ASSERT_TRUE(client->Send(Refer({Lent(4)}, "x", kBytes + 10, kMoreChunks, 2)));
  ASSERT_TRUE(client.Answers());
  ASSERT_TRUE(client->Send(Cancel(2)));
  ExpectReturned(client, {3, 4});
  // No such method.
  const std::string block = Begin(3, "/no.Such/Method").substr(sizeof(FrameHeader)) + Entries({Lent(5)});
  ASSERT_TRUE(client->Send(FrameOf({.type = FrameType::kBegin, .flags = kHasMessage | kFirstChunk | kRefers, .stream = 3,
                                    .message_bytes = kBytes}, block)));
  ExpectReturned(client, {5});
}

// Whatever of it is in the frame, or is there at all: references may overlap.
TEST_P(References, OfAMessageOverTheLimitComeBackAndTheCallEnds) {
  const std::string large(5 * kMiB, 'x');
  Referrer client = Greeted();
  ASSERT_TRUE(client.ShowNext(kPool, MemoryWith(large, kPoolSeals), large.size()));
  ASSERT_TRUE(client->Send(BeginTalk(1)));
  ASSERT_TRUE(client->Send(Refer({{.memory = 1, .loan = 9, .bytes = 5 * kMiB}})));
  EXPECT_EQ(client.Finish(), StatusCode::RESOURCE_EXHAUSTED);
  ExpectReturned(client, {9});
  ASSERT_TRUE(client->Send(BeginTalk(2)));
  ASSERT_TRUE(client->Send(Refer(std::vector<ReferenceBody>(16, {.memory = 1, .loan = 10, .bytes = 1 * kMiB}), {}, 0, 0, 2)));
  EXPECT_EQ(client.Finish(2), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(client.Answers());
}

TEST_P(References, BeyondTheWindowCloseTheConnection) {
  Referrer client = WithPool();
  ASSERT_TRUE(client->Send(Begin(1, "/behaviour.Methods/Collect")));
  // Each costs 4,128; 4 MiB and 64 KiB are borne.
  int sent = 0;
  while (sent < 3000 && client->Send(Refer({Lent(1)}))) ++sent;
  EXPECT_TRUE(client->WaitClosed());
}

TEST_P(References, AnEndlessShowAndForgetHoldsNothing) {
  Referrer client = Greeted();
  const UniqueFd memory = MemoryWith(bytes_, kSealedSeals);
  for (uint32_t number = 1; number <= 500; ++number) {
    ASSERT_TRUE(client.ShowNext(kSealed, memory, kBytes));
    ASSERT_TRUE(client->Send(Gone(number)));
  }
  ASSERT_TRUE(client.Answers());
  const Leftovers now = Leftovers::Now();
  EXPECT_LE(now.memories, before_.memories + 4);
  EXPECT_LE(now.descriptors, before_.descriptors + 8);
}

// Messages that nobody reads keep memory that the client has taken back long since: some, but not all that the process can map.
TEST_P(References, MemoryOfUnreadMessagesIsBounded) {
  Referrer client = Greeted();
  ASSERT_TRUE(client->Send(Begin(1, "/behaviour.Methods/Collect")));
  ASSERT_TRUE(client->Send(Begin(2, "/behaviour.Methods/Collect")));
  const UniqueFd memory = MemoryWith(bytes_, kSealedSeals);
  uint32_t number = 0;
  while (number < 1100) {
    ASSERT_TRUE(client.ShowNext(kSealed, memory, kBytes));
    ++number;
    ASSERT_TRUE(client->Send(Refer({{.memory = number, .bytes = kBytes}}, {}, 0, 0, 1 + number % 2)));
    ASSERT_TRUE(client->Send(Gone(number)));
  }
  ASSERT_TRUE(client->ReceiveType(FrameType::kMemoryRefused).has_value());
  EXPECT_EQ(client.Finish(2 - number % 2), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_LE(Leftovers::Now().memories, before_.memories + 1024 + 4);
  EXPECT_TRUE(client.Answers());
}

TEST_P(References, GoWithAClientThatHangsUp) {
  for (int i = 0; i < 10; ++i) {
    Referrer client = WithPool();
    ASSERT_TRUE(client->Send(Begin(1, "/behaviour.Methods/Collect")));
    for (uint32_t loan = 1; loan <= 8; ++loan) ASSERT_TRUE(client->Send(Refer({Lent(loan)})));
    if (i % 2 == 0) client.Answers();
  }
}

// The bytes of a pool change while they are read: the server parses what it has copied, and that parses or does not.
TEST_P(References, BytesThatChangeMeanwhile) {
  Referrer client = Greeted();
  const UniqueFd memory = MemoryWith(bytes_, 0);
  void* const mapped = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  ASSERT_NE(mapped, MAP_FAILED);
  ASSERT_EQ(fcntl(memory.get(), F_ADD_SEALS, kPoolSeals), 0);
  ASSERT_TRUE(client.ShowNext(kPool, memory, kBytes));
  std::atomic<bool> over{false};
  std::thread flipper([&] {
    // The lengths in front, and what looks like further fields.
    auto* const bytes = static_cast<volatile uint8_t*>(mapped);
    for (uint32_t i = 1; !over.load(); i = i * 1664525 + 1013904223) bytes[(i >> 8) % 8] = static_cast<uint8_t>(i >> 24);
  });
  uint32_t stream = 1;
  for (; stream <= 300; ++stream) {
    const std::string block = Begin(stream, "/behaviour.Methods/Unary").substr(sizeof(FrameHeader)) + Entries({Lent(stream)});
    ASSERT_TRUE(client->Send(FrameOf({.type = FrameType::kBegin, .flags = kHasMessage | kFirstChunk | kRefers | kHalfCloses,
                                      .stream = stream, .message_bytes = kBytes}, block)));
    if (client.Finish(stream) < 0) break;
  }
  over = true;
  flipper.join();
  munmap(mapped, kBytes);
  EXPECT_EQ(stream, 301u) << "the connection is closed";
}

INSTANTIATE_TEST_SUITE_P(All, References, ::testing::Values("shm", "unix"), SchemeName);

// ---- clients that are lent to ----------------------------------------------------------------

// Answers each message with what it is told to, "!" as the last, and keeps what came.
class Giver final : public ipcrpc::CallbackGenericService {
 public:
  std::function<ByteBuffer()> give = [] { return behaviour::Bytes("nothing"); };
  std::mutex mu;
  std::vector<ByteBuffer> kept;  // under mu
  std::atomic<int> done{0};      // calls

  ipcrpc::ServerGenericBidiReactor* CreateReactor(ipcrpc::GenericCallbackServerContext*) override { return new Reactor(this); }

 private:
  class Reactor final : public ipcrpc::ServerGenericBidiReactor {
   public:
    explicit Reactor(Giver* giver) : giver_(giver) { StartRead(&in_); }
    void OnReadDone(bool ok) override {
      if (!ok) return Finish(Status::OK);
      {
        std::lock_guard lock(giver_->mu);
        giver_->kept.push_back(in_);
      }
      out_ = giver_->give();
      if (Text(in_) == "!") return StartWriteAndFinish(&out_, ipcrpc::WriteOptions(), Status::OK);
      StartWrite(&out_);
    }
    void OnWriteDone(bool ok) override {
      out_.Clear();
      in_.Clear();
      if (!ok) return Finish(Status::OK);
      StartRead(&in_);
    }
    void OnDone() override {
      Giver* const giver = giver_;
      delete this;
      ++giver->done;
    }

   private:
    Giver* const giver_;
    ByteBuffer in_, out_;
  };
};

class LentTo : public BehaviourTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(MemoryPool::Create(kPoolBytes, &pool_).ok());
    giver_.give = [this] {
      ipcrpc::Loan loan = pool_->Take(kBytes);
      std::memset(loan.bytes().data(), 'g', loan.size());
      const Slice slice = std::move(loan).Seal();
      return ByteBuffer(&slice, 1);
    };
  }
  void TearDown() override {
    StopServer();
    EXPECT_TRUE(Eventually([&] { return pool_->used() == 0; })) << pool_->used();
  }
  void Serve(std::string_view parameters = "") {
    ipcrpc::ServerBuilder builder;
    builder.AddListeningPort(address() + std::string(parameters), ipcrpc::InsecureServerCredentials());
    builder.RegisterCallbackGenericService(&giver_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr) << builder.error();
  }
  // With a call of stream 1 under way.
  Referrer Talking(uint64_t features = kTakesReferences) {
    Referrer client(RawClient::Connect(address()));
    EXPECT_TRUE(client->Send(hostile::Hello(features)));
    EXPECT_TRUE(client->Send(BeginTalk(1)));
    return client;
  }
  // The next answer; with `patience` for credit that lies in the way.
  static std::optional<std::string> Ask(Referrer& client) {
    client->Send(FrameOf({.type = FrameType::kCredit, .stream = 1, .number = 2 * kBytes}));
    client->Send(FrameOf({.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk, .stream = 1, .message_bytes = 1}, {}, "?"));
    return client->ReceiveType(FrameType::kMessage);
  }
  // Its loan; 0: it was copied.
  static uint32_t AskForLoan(Referrer& client) {
    const auto frame = Ask(client);
    EXPECT_TRUE(frame.has_value());
    if (!frame.has_value()) return 0;
    const std::vector<ReferenceBody> references = ReferencesOf(*frame);
    // What is not lent comes in several frames.
    for (FrameHeader header = HeaderOf(*frame); (header.flags & kMoreChunks) != 0;) {
      const auto next = client->ReceiveType(FrameType::kMessage);
      if (!next.has_value()) break;
      header = HeaderOf(*next);
    }
    return references.empty() ? 0 : references.front().loan;
  }

  Giver giver_;
  std::unique_ptr<MemoryPool> pool_;
};

TEST_P(LentTo, WhoReturnsIsLentMore) {
  Serve();
  Referrer client = Talking();
  for (int i = 0; i < 40; ++i) {
    const uint32_t loan = AskForLoan(client);
    ASSERT_NE(loan, 0u) << i;
    ASSERT_TRUE(client->Send(Return(loan)));
  }
}

TEST_P(LentTo, WhoNeverReturnsHasHalfOfThePool) {
  Serve();
  Referrer client = Talking();
  for (int i = 0; i < 8; ++i) ASSERT_NE(AskForLoan(client), 0u) << i;
  for (int i = 0; i < 3; ++i) EXPECT_EQ(AskForLoan(client), 0u) << i;
  EXPECT_TRUE(Eventually([&] { return pool_->used() == kPoolBytes / 2; })) << pool_->used();
}

TEST_P(LentTo, WhoReturnsTwiceOrWhatItNeverHadIsGone) {
  Serve();
  {
    Referrer client = Talking();
    const uint32_t loan = AskForLoan(client);
    ASSERT_NE(loan, 0u);
    ASSERT_TRUE(client->Send(Return(loan)));
    client->Send(Return(loan));
    EXPECT_TRUE(client->WaitClosed());
  }
  Referrer client = Talking();
  const uint32_t loan = AskForLoan(client);
  client->Send(Return(loan + 1));
  EXPECT_TRUE(client->WaitClosed());
}

TEST_P(LentTo, WhoRefusesIsSentCopies) {
  Serve();
  Referrer client = Talking();
  const uint32_t loan = AskForLoan(client);
  ASSERT_NE(loan, 0u);
  ASSERT_TRUE(client->Send(Refuse(1)));
  ASSERT_TRUE(client->Send(Return(loan)));
  for (int i = 0; i < 3; ++i) EXPECT_EQ(AskForLoan(client), 0u);
  // Again is no harm; what was never shown is.
  ASSERT_TRUE(client->Send(Refuse(1)));
  EXPECT_TRUE(client.Answers());
  client->Send(Refuse(2));
  EXPECT_TRUE(client->WaitClosed());
}

// What it has not seen yet it is not even shown after a while: each message that lies there would be lost.
TEST_P(LentTo, WhoRefusesAllIsShownNoMore) {
  std::vector<Slice> registered(6);
  for (Slice& slice : registered) ASSERT_TRUE(ipcrpc::RegisterMemory(kBytes, [](std::span<std::byte>) {}, &slice).ok());
  size_t given = 0;
  giver_.give = [&] { return ByteBuffer(&registered[given++], 1); };
  Serve();
  Referrer client = Talking();
  for (size_t i = 0; i < registered.size(); ++i) {
    const auto answer = Ask(client);
    ASSERT_TRUE(answer.has_value());
    const std::vector<ReferenceBody> references = ReferencesOf(*answer);
    ASSERT_EQ(references.size(), i < 4 ? 1u : 0u) << i;
    ASSERT_TRUE(references.empty() || client->Send(Refuse(references[0].memory)));
    for (FrameHeader header = HeaderOf(*answer); (header.flags & kMoreChunks) != 0;) {
      const auto next = client->ReceiveType(FrameType::kMessage);
      ASSERT_TRUE(next.has_value());
      header = HeaderOf(*next);
    }
  }
}

TEST_P(LentTo, WhoDidNotAskForItIsSentCopies) {
  Serve();
  Referrer client = Talking(/*features=*/0);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(AskForLoan(client), 0u);
}

TEST_P(LentTo, WhoHangsUpHasNothing) {
  Serve();
  for (int i = 0; i < 10; ++i) {
    Referrer client = Talking();
    for (int k = 0; k < 5; ++k) ASSERT_NE(AskForLoan(client), 0u);
  }
}

// The answer that waits for credit is all that is left of its memory, which the client is told is gone only behind it.
TEST_P(LentTo, WhoGrantsNothingIsToldOfMemoryBeforeItGoes) {
  const auto fill = [](std::span<std::byte> out) { std::memset(out.data(), 's', out.size()); };
  Slice registered;
  ASSERT_TRUE(ipcrpc::RegisterMemory(kBytes, fill, &registered).ok());
  std::atomic<int> given{0};
  // 16 answers use the window up, and the last one waits.
  giver_.give = [&] {
    if (++given <= 16) return ByteBuffer(&registered, 1);
    const Slice last = std::exchange(registered, Slice());
    return ByteBuffer(&last, 1);
  };
  Serve();
  Referrer client = Talking();
  const auto say = [&](std::string_view word) {
    return client->Send(FrameOf({.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk, .stream = 1, .message_bytes = 1}, {}, word));
  };
  for (int i = 0; i < 16; ++i) {
    ASSERT_TRUE(say("?"));
    ASSERT_TRUE(client->ReceiveType(FrameType::kMessage).has_value());
  }
  ASSERT_TRUE(say("!"));
  ASSERT_TRUE(Eventually([&] { return giver_.done == 1; }));
  ASSERT_TRUE(client->Send(FrameOf({.type = FrameType::kPing})));
  for (FrameType type{}; type != FrameType::kPong;) {
    const auto frame = client->Receive(20'000);
    ASSERT_TRUE(frame.has_value());
    type = HeaderOf(*frame).type;
    ASSERT_NE(type, FrameType::kMemoryGone);
  }
  ASSERT_TRUE(client->Send(FrameOf({.type = FrameType::kCredit, .stream = 1, .number = 64 * 1024})));
  const auto last = client->ReceiveType(FrameType::kMessage);
  ASSERT_TRUE(last.has_value());
  EXPECT_EQ(ReferencesOf(*last).size(), 1u);
  EXPECT_TRUE(client->ReceiveType(FrameType::kMemoryGone).has_value());
}

// A child that is forked while the server reads in place, and lets go of it: the parent still reads, and the link is the parent's.
TEST_P(LentTo, AForkedChildReturnsNothing) {
  giver_.give = [] { return behaviour::Bytes("kept"); };
  Serve("?trust=peer");
  Referrer client = Talking();
  const std::string bytes(kBytes, 'k');
  ASSERT_TRUE(client.ShowNext(kPool, MemoryWith(bytes, kPoolSeals), kBytes));
  ASSERT_TRUE(client->Send(Refer({{.memory = 1, .loan = 5, .bytes = kBytes}})));
  ASSERT_TRUE(client->ReceiveType(FrameType::kMessage).has_value());
  const pid_t child = fork();
  if (child == 0) {
    giver_.kept.clear();
    _exit(0);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  ASSERT_TRUE(client->Send(FrameOf({.type = FrameType::kPing})));
  for (;;) {
    const auto frame = client->Receive(20'000);
    ASSERT_TRUE(frame.has_value());
    ASSERT_NE(HeaderOf(*frame).type, FrameType::kReturn);
    if (HeaderOf(*frame).type == FrameType::kPong) break;
  }
  {
    std::lock_guard lock(giver_.mu);
    EXPECT_EQ(Text(giver_.kept.back()), bytes);
    giver_.kept.clear();
  }
  EXPECT_TRUE(client->ReceiveType(FrameType::kReturn).has_value());
}

INSTANTIATE_TEST_SUITE_P(All, LentTo, ::testing::Values("shm", "unix"), SchemeName);

}  // namespace
}  // namespace hostile

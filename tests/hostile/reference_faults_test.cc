// Clients that show memory which is none, and refer to what is not there: each loses its connection, or its call, and leaves nothing in
// the server. docs/wire.md, "Messages by reference", says which.
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "tests/behaviour/fd_kit.h"
#include "tests/hostile/references_kit.h"

namespace hostile {
namespace {

using namespace behaviour;  // NOLINT: the fixture's
using ipcrpc::rpc::EntryKind;
using ipcrpc::rpc::kFirstChunk;
using ipcrpc::rpc::kHalfCloses;
using ipcrpc::rpc::kHasMessage;
using ipcrpc::rpc::kMoreChunks;
using ipcrpc::rpc::kRefers;

constexpr uint32_t kBytes = 64 * 1024;
constexpr uint64_t kGiB = uint64_t{1} << 30;

class ReferenceFaults : public ReferringTest {
 protected:
  // With a call of stream 1, and memory 1, a pool, and 2, which is sealed; as large as `bytes_` both.
  Referrer Talking() {
    Referrer client = Greeted();
    EXPECT_TRUE(client->Send(BeginTalk(1)));
    EXPECT_TRUE(client.ShowNext(kPool, MemoryWith(bytes_, kPoolSeals), kBytes));
    EXPECT_TRUE(client.ShowNext(kSealed, MemoryWith(bytes_, kSealedSeals), kBytes));
    return client;
  }
  // Shows it as memory 1, with a reference right behind, as a sender does.
  void ExpectNoMemory(const MemoryBody& body, int descriptor, std::string_view what) {
    Referrer client = Greeted();
    EXPECT_TRUE(client->Send(BeginTalk(1)));
    client.ShowAs(1, body, descriptor);
    EXPECT_TRUE(client->WaitClosed()) << what;
  }
  void ExpectFault(std::string_view frame, std::string_view what) {
    Referrer client = Talking();
    EXPECT_TRUE(client.Answers());
    client->Send(frame);
    EXPECT_TRUE(client->WaitClosed()) << what;
  }

  const std::string bytes_ = Data(kBytes - 4).SerializeAsString();
};

TEST_P(ReferenceFaults, TheTruthIsServed) {
  ASSERT_EQ(bytes_.size(), kBytes);
  Referrer client = Talking();
  const std::string number = Number(7).SerializeAsString();
  for (const auto& [reference, inlined] : {std::pair<ReferenceBody, std::string>{{.memory = 1, .loan = 5, .bytes = kBytes}, ""},
                                           {{.memory = 2, .bytes = kBytes}, ""},
                                           {{.memory = 2, .bytes = kBytes, .before = static_cast<uint32_t>(number.size())}, number}}) {
    ASSERT_TRUE(client->Send(Refer({reference}, inlined)));
    const auto answer = client->ReceiveType(FrameType::kMessage);
    ASSERT_TRUE(answer.has_value());
  }
}

// Where the descriptor can go, and be closed here, before its frame does.
class ReferenceFaultsBesideARing : public ReferenceFaults {};

TEST_P(ReferenceFaults, NoMemory) {
  const MemoryBody pool = {.bytes = kBytes, .kind = kPool}, sealed = {.bytes = kBytes, .kind = kSealed};
  ExpectNoMemory(sealed, UniqueFd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)).get(), "a file");
  ExpectNoMemory(pool, UniqueFd(open("/dev/zero", O_RDONLY | O_CLOEXEC)).get(), "a device");
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  const UniqueFd reading(ends[0]), writing(ends[1]);
  ExpectNoMemory(pool, reading.get(), "a pipe");
  for (const int missing : {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE}) {
    ExpectNoMemory(pool, MemoryWith(bytes_, kPoolSeals & ~(missing | F_SEAL_SEAL)).get(), "a pool without a seal");
  }
  for (const int missing : {F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_WRITE}) {
    ExpectNoMemory(sealed, MemoryWith(bytes_, kSealedSeals & ~(missing | F_SEAL_SEAL)).get(), "sealed without a seal");
  }
  ExpectNoMemory(sealed, MemoryWith(bytes_, 0).get(), "no seal");
  ExpectNoMemory(sealed, MemoryWith(bytes_, kPoolSeals).get(), "a pool as sealed");
}

// What takes long to close, here a socket that still has something to say, in place of memory: the server goes on meanwhile.
TEST_P(ReferenceFaultsBesideARing, WhatIsSlowToCloseHoldsNobodyUp) {
  const UniqueFd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at = {.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
  socklen_t size = sizeof(at);
  ASSERT_EQ(bind(listener.get(), reinterpret_cast<sockaddr*>(&at), size), 0);
  ASSERT_EQ(listen(listener.get(), 1), 0);
  ASSERT_EQ(getsockname(listener.get(), reinterpret_cast<sockaddr*>(&at), &size), 0);
  UniqueFd slow(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_EQ(connect(slow.get(), reinterpret_cast<sockaddr*>(&at), size), 0);
  const std::string much(kBytes, 'm');
  while (send(slow.get(), much.data(), much.size(), MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
  }
  const linger patience = {.l_onoff = 1, .l_linger = 6};
  ASSERT_EQ(setsockopt(slow.get(), SOL_SOCKET, SO_LINGER, &patience, sizeof(patience)), 0);

  RawShmClient client(address());
  ASSERT_TRUE(client.Greet());
  ASSERT_TRUE(client.Send(hostile::Hello()));
  const ipcrpc::shm::FdNotice notice = {.type = 'F', .reserved = {}, .parcel = 1};
  ASSERT_TRUE(SendWithFds(client.socket(), Bytes(&notice, sizeof(notice)), {slow.get()}));
  slow.reset();
  const auto start = std::chrono::steady_clock::now();
  client.Send(Show(1, {.bytes = kBytes, .kind = kPool}, 1));
  EXPECT_TRUE(client.WaitClosed());
  ExpectAlive();
  EXPECT_LT(MsSince(start), 3000);
}

TEST_P(ReferenceFaults, OfAnotherSize) {
  for (const uint64_t said : {uint64_t{1}, uint64_t{kBytes - 1}, uint64_t{kBytes + 1}, uint64_t{2 * kBytes}, kGiB}) {
    ExpectNoMemory({.bytes = said, .kind = kSealed}, MemoryWith(bytes_, kSealedSeals).get(), "another size");
  }
  ExpectNoMemory({.bytes = 0, .kind = kSealed}, MemoryWith(bytes_, kSealedSeals).get(), "any size");
  ExpectNoMemory({.bytes = 0, .kind = kSealed}, MemoryWith("", kSealedSeals).get(), "nothing at all");
  UniqueFd holes(memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(holes.get(), kBytes), 0);
  ASSERT_EQ(pwrite(holes.get(), "x", 1, 0), 1);
  ASSERT_EQ(fcntl(holes.get(), F_ADD_SEALS, kPoolSeals), 0);
  ExpectNoMemory({.bytes = kBytes, .kind = kPool}, holes.get(), "holes");
}

TEST_P(ReferenceFaults, MemoryFramesThatMakeNoSense) {
  const UniqueFd memory = MemoryWith(bytes_, kSealedSeals);
  for (const uint32_t kind : {0u, 3u, 257u, 0xffff'ffffu}) ExpectNoMemory({.bytes = kBytes, .kind = kind}, memory.get(), "no kind");
  ExpectNoMemory({.bytes = kBytes, .kind = kSealed, .reserved = 1}, memory.get(), "reserved");
  const FrameHeader header = {.type = FrameType::kMemory, .fd_count = 1, .number = 1, .fd_sequence = 1};
  const MemoryBody body = {.bytes = kBytes, .kind = kSealed};
  const auto entry = [](std::string_view value) { return EntryOf(static_cast<int>(EntryKind::kMemory), "", value); };
  for (const std::string& block : {std::string(), entry(""), entry(Bytes(&body, 15)), entry(Bytes(&body, 16) + "x"),
                                   EntryOf(static_cast<int>(EntryKind::kReference), "", Bytes(&body, 16)), entry(Bytes(&body, 16)).substr(0, 20)}) {
    Referrer client = Greeted();
    client.ShowAs(1, body, memory.get(), FrameOf(header, block));
    EXPECT_TRUE(client->WaitClosed()) << block.size();
  }
  for (const uint32_t number : {0u, 2u, 0xffff'ffffu}) {
    Referrer client = Greeted();
    client.ShowAs(number, body, memory.get());
    EXPECT_TRUE(client->WaitClosed()) << number;
  }
  {
    Referrer client = Talking();
    client.ShowAs(2, body, memory.get());
    EXPECT_TRUE(client->WaitClosed()) << "twice the same number";
  }
  // Without a descriptor that is announced, and with one that is not.
  ExpectFault(FrameOf({.type = FrameType::kMemory, .number = 3}, entry(Bytes(&body, sizeof(body)))), "no descriptor");
  ExpectFault(Show(3, body, /*parcel=*/9), "a descriptor that did not come");
  ExpectFault(Show(3, body, /*parcel=*/3, /*descriptors=*/2), "two of them");
}

TEST_P(ReferenceFaults, MoreThanAPeerMayShow) {
  Referrer client = Greeted();
  const UniqueFd memory = MemoryWith(bytes_, kSealedSeals);
  for (uint32_t i = 0; i < ipcrpc::rpc::kMaxMemories; ++i) ASSERT_TRUE(client.ShowNext(kSealed, memory, kBytes));
  ASSERT_TRUE(client.Answers());
  EXPECT_TRUE(client->Send(Gone(3)));
  ASSERT_TRUE(client.ShowNext(kSealed, memory, kBytes));
  ASSERT_TRUE(client.Answers()) << "one for another";
  client.ShowNext(kSealed, memory, kBytes);
  EXPECT_TRUE(client->WaitClosed());
}

TEST_P(ReferenceFaults, GoneThatWasNotThere) {
  ExpectFault(Gone(3), "never shown");
  ExpectFault(Gone(0), "zero");
  Referrer client = Talking();
  EXPECT_TRUE(client->Send(Gone(1)));
  EXPECT_TRUE(client.Answers());
  client->Send(Gone(1));
  EXPECT_TRUE(client->WaitClosed());
}

TEST_P(ReferenceFaults, BytesThatAreNotThere) {
  ExpectFault(Refer({{.memory = 0, .bytes = 1}}), "no memory");
  ExpectFault(Refer({{.memory = 3, .bytes = 1}}), "not shown");
  ExpectFault(Refer({{.memory = 2, .offset = 1, .bytes = kBytes}}), "one too many");
  ExpectFault(Refer({{.memory = 2, .offset = kBytes, .bytes = 1}}), "behind the end");
  ExpectFault(Refer({{.memory = 2, .offset = UINT64_MAX, .bytes = 1}}), "an offset that wraps");
  ExpectFault(Refer({{.memory = 2, .offset = UINT64_MAX - kBytes + 1, .bytes = kBytes}}), "an end that wraps");
  ExpectFault(Refer({{.memory = 2, .bytes = 0xffff'ffff}}), "4 GiB");
  ExpectFault(Refer({{.memory = 2, .bytes = 0}}, "", 1), "none");
  ExpectFault(Refer({{.memory = 2, .bytes = kBytes}}, "", kBytes - 1), "more than the message has");
  ExpectFault(Refer({{.memory = 2, .bytes = kBytes}, {.memory = 2, .bytes = kBytes}}, "", 2 * kBytes - 1), "both more than it has");
  ExpectFault(Refer({{.memory = 2, .bytes = 1, .before = 3}}, "ab"), "behind more than there is");
  ExpectFault(Refer({{.memory = 2, .bytes = 1, .before = 1}, {.memory = 2, .bytes = 1, .before = 0xffff'ffff}}, "ab"), "the same, wrapped");
  ExpectFault(Refer({{.memory = 2, .bytes = 1}}, "ab", 2), "more in the frame than the message has left");
  ExpectFault(Refer({{.memory = 2, .bytes = 1}}, "ab", 4), "fewer");
  ExpectFault(Refer({{.memory = 2, .loan = 1, .bytes = 1}}), "a loan of what is sealed");
  ExpectFault(Refer({{.memory = 1, .bytes = 1}}), "of a pool, but no loan");
  Referrer client = Talking();
  EXPECT_TRUE(client->Send(Gone(2)));
  client->Send(Refer({{.memory = 2, .bytes = 1}}));
  EXPECT_TRUE(client->WaitClosed()) << "gone";
}

TEST_P(ReferenceFaults, ReferencesThatMakeNoSense) {
  ExpectFault(Refer({}, "ab"), "none");
  ExpectFault(Refer({}, "", 1), "none, and nothing");
  ExpectFault(Refer(std::vector<ReferenceBody>(17, {.memory = 2, .bytes = 1})), "seventeen");
  const ReferenceBody reference = {.memory = 2, .bytes = 1};
  const std::string entry = Entries({reference});
  const auto message = [&](FrameType type, int flags, std::string_view block) {
    return FrameOf({.type = type, .flags = static_cast<uint8_t>(flags), .stream = 1, .message_bytes = 1}, block);
  };
  constexpr int kWhole = kHasMessage | kFirstChunk | kRefers;
  ExpectFault(message(FrameType::kMessage, kWhole, entry.substr(0, entry.size() - 1)), "a broken block");
  ExpectFault(message(FrameType::kMessage, kWhole, entry + "abc"), "something behind it");
  ExpectFault(message(FrameType::kMessage, kWhole, EntryOf(static_cast<int>(EntryKind::kReference), "", Bytes(&reference, 23))), "too short");
  ExpectFault(message(FrameType::kMessage, kHasMessage | kRefers, entry), "in the midst of a message");
  ExpectFault(message(FrameType::kMessage, kRefers, entry), "without a message");
  ExpectFault(message(FrameType::kPing, kWhole, entry), "in a ping");
  ExpectFault(message(FrameType::kCancel, kWhole, entry), "in a cancellation");
  ExpectFault(message(FrameType::kFinish, kWhole, entry), "in a server's frame");
  ExpectFault(Refer({{.memory = 2, .bytes = 1}}, "", 0, 0, /*stream=*/9), "of a call that was never begun");
}

TEST_P(ReferenceFaults, ReturnsOfWhatWasNeverLent) {
  ExpectFault(Return(0), "loan 0");
  ExpectFault(Return(1), "loan 1");
  ExpectFault(Refuse(0), "memory 0");
  ExpectFault(Refuse(1), "memory 1");
}

// A sender whose kernel passes no descriptor, and more than is taken of one peer: the memory is refused, what lies in it is lost, and the
// connection goes on.
TEST_P(ReferenceFaults, MemoryThatIsRefusedEndsTheCallsWhoseMessagesLieThere) {
  const MemoryBody honest = {.bytes = kBytes, .kind = kPool};
  for (const MemoryBody& body : {honest, {.bytes = 4 * kGiB + 1, .kind = kPool}, {.bytes = UINT64_MAX, .kind = kPool}}) {
    Referrer client = Greeted();
    EXPECT_TRUE(client->Send(BeginTalk(1)));
    if (body.bytes == kBytes) {
      EXPECT_TRUE(client->Send(Show(1, body, /*parcel=*/0)));
    } else {
      EXPECT_TRUE(client.ShowAs(1, body, MemoryWith(bytes_, kPoolSeals).get()));
    }
    EXPECT_TRUE(client->Send(Refer({{.memory = 1, .loan = 77, .bytes = kBytes}})));
    const auto refused = client->ReceiveType(FrameType::kMemoryRefused);
    ASSERT_TRUE(refused.has_value());
    EXPECT_EQ(HeaderOf(*refused).number, 1u);
    const auto returned = client->ReceiveType(FrameType::kReturn);
    ASSERT_TRUE(returned.has_value());
    EXPECT_EQ(HeaderOf(*returned).number, 77u);
    EXPECT_EQ(client.Finish(), StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_TRUE(client->Send(Gone(1)));
    EXPECT_TRUE(client.Answers());
  }
}

// A process that has not said that it takes memory, as of another version, or where it is forbidden.
TEST_P(ReferenceFaults, WhoDidNotAskForMemoryIsShownNone) {
  const std::string at = OtherAddress();
  setenv("IPCRPC_DISABLE", "references", 1);  // for the child: this process has looked already
  Process server({"serve", at});
  unsetenv("IPCRPC_DISABLE");
  ASSERT_TRUE(server.ready());
  Referrer client(RawClient::Connect(at));
  ASSERT_TRUE(client->Send(hostile::Hello()));
  const auto hello = client->ReceiveType(FrameType::kHello);
  ASSERT_TRUE(hello.has_value());
  ipcrpc::rpc::HelloBody body;
  std::memcpy(&body, hello->data() + sizeof(FrameHeader), sizeof(body));
  EXPECT_EQ(body.features, 0u);
  client.ShowNext(kSealed, MemoryWith(bytes_, kSealedSeals), kBytes);
  EXPECT_TRUE(client->WaitClosed());
}

// One that would refer without having shown anything.
TEST_P(ReferenceFaults, BeforeAnythingIsShown) {
  Referrer client = Greeted();
  EXPECT_TRUE(client->Send(BeginTalk(1)));
  client->Send(Refer({{.memory = 1, .bytes = 1}}));
  EXPECT_TRUE(client->WaitClosed());
}

INSTANTIATE_TEST_SUITE_P(All, ReferenceFaultsBesideARing, ::testing::Values("shm"), SchemeName);
INSTANTIATE_TEST_SUITE_P(All, ReferenceFaults, ::testing::Values("shm", "unix"), SchemeName);

}  // namespace
}  // namespace hostile

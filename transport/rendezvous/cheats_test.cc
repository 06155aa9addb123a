// Clients that do not do as they should.
#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <optional>
#include <vector>

#include "transport/testing/rendezvous_kit.h"

namespace ipcrpc::rendezvous {
namespace {

TEST(AskReader, FindsAsksAmongWhatIsNone) {
  Ask asks[2];
  for (Ask& ask : asks) ask.token = RandomToken(), ask.check = CheckOf(ask);
  Bytes stream;
  const auto append = [&](const void* bytes, size_t size) {
    stream.insert(stream.end(), static_cast<const std::byte*>(bytes), static_cast<const std::byte*>(bytes) + size);
  };
  append("x", 1);
  append(&asks[0], 40);  // a beginning only
  append(&asks[0], sizeof(Ask));
  append(&Ask::kMagic, 4);
  append(&asks[1], sizeof(Ask));
  // In pieces of every size.
  for (size_t piece = 1; piece < stream.size(); ++piece) {
    AskReader reader;
    std::vector<Token> found;
    for (size_t at = 0; at < stream.size(); at += piece) {
      const size_t size = std::min(piece, stream.size() - at);
      std::memcpy(reader.Room().data(), stream.data() + at, size);
      reader.Filled(size);
      while (const std::optional<Ask> ask = reader.Next()) found.push_back(ask->token);
    }
    ASSERT_THAT(found, ::testing::ElementsAre(asks[0].token, asks[1].token)) << piece;
  }
}

TEST_P(Rendezvous, AnothersTokenOrAWrongNonceStopsNobody) {
  EpollEcho echo(address());
  RawClient honest(mechanism(), address()), thief(mechanism(), address());
  const Token token = RandomToken();
  honest.SendAsk(token);
  const Welcome welcome = honest.Await();
  ASSERT_EQ(welcome.state, Welcome::kReady);
  // The same token again: what is there stays as it is.
  thief.SendAsk(token, 1234);
  EXPECT_TRUE(Dial(address()).ok());
  EXPECT_EQ(honest.Await().nonce, welcome.nonce);
  End end = honest.Open(welcome);
  ASSERT_TRUE(RawClient::Prove(end, welcome.nonce));
  const auto is_gone = [&](const std::string& stem) {
    const int64_t deadline = InMs(10000);
    while (std::filesystem::exists(stem) && MonotonicNs() < deadline) std::this_thread::yield();
    return !std::filesystem::exists(stem);
  };
  if (!mechanism().names_stay()) {
    EXPECT_TRUE(is_gone(honest.stem()));
  }

  // A nonce that was another's.
  thief.SendAsk(RandomToken());
  const Welcome own = thief.Await();
  ASSERT_EQ(own.state, Welcome::kReady);
  End stolen = thief.Open(own);
  ASSERT_TRUE(RawClient::Prove(stolen, welcome.nonce));
  EXPECT_TRUE(RawClient::SeesTheEnd(stolen));
  EXPECT_TRUE(is_gone(thief.stem()));
  // Bytes that are no proof.
  thief.SendAsk(RandomToken());
  End garbage = thief.Open(thief.Await());
  const Bytes bytes = MakeFrame(1, 1, 200);
  garbage.medium->Write(bytes.data(), bytes.size());
  EXPECT_TRUE(RawClient::SeesTheEnd(garbage));

  absl::StatusOr<std::unique_ptr<Link>> link = Dial(address());
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_TRUE(Echoes(**link));
}

TEST_P(Rendezvous, APeerThatClearsNonBlockingAndNeverReadsBlocksNobody) {
  LinkHost host(address());
  RawClient raw(mechanism(), address());
  raw.SendAsk(RandomToken());
  const Welcome welcome = raw.Await();
  End end = raw.Open(welcome);
  for (int fd : {end.medium->read_fd(), end.medium->write_fd()}) {
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) != 0) FAIL() << strerror(errno);
  }
  ASSERT_TRUE(RawClient::Prove(end, welcome.nonce));
  const std::unique_ptr<Link> link = host.Accept();
  ASSERT_NE(link, nullptr);
  LinkDriver driver(*link);
  int sent = 0;
  while (driver.TrySend(MakeFrame(1, 1, 10000)) && sent < 1000) {
    link->Flush();  // a blocking write would end the test here
    driver.Poll();
    ++sent;
  }
  EXPECT_LT(sent, 1000) << "it is never full";
  link->Close(absl::CancelledError("enough"));
  EXPECT_TRUE(Dial(address()).ok());
}

}  // namespace
}  // namespace ipcrpc::rendezvous

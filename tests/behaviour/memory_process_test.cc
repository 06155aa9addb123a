// Messages that lie in shared memory, between processes: what one that dies was lent, and one that stays when its connection ends.
#include <ipcrpc/bytes_payload.h>

#include "tests/behaviour/memory_kit.h"

namespace behaviour {
namespace {

class MemoryProcesses : public BehaviourTest {
 protected:
  std::string trusting() const { return address() + "?trust=peer"; }
  void Connect(const std::string& to) {
    channel_ = ipcrpc::CreateChannel(to);
    ByteBuffer response;
    ASSERT_TRUE(CallByName(channel_, kUnary, Bytes(""), &response).ok()) << "the first answer tells what the peer can";
  }
  Status Give(MemoryPool& pool, const std::string& text) {
    ByteBuffer response;
    return CallByName(channel_, kUnary, Of({Lend(pool, text)}), &response);
  }
};

TEST_P(MemoryProcesses, ABlockIsReadAndComesBack) {
  const Process server({"serve", trusting()});
  Connect(trusting());
  const auto pool = NewPool(8 * kMiB);
  for (const size_t bytes : {20'000u, 200'000u, 2'000'000u}) {
    const std::string request = Data(bytes).SerializeAsString();
    ByteBuffer response;
    const Status status = CallByName(channel_, kUnary, Of({Lend(*pool, request)}), &response);
    ASSERT_TRUE(status.ok()) << status.error_message();
    EXPECT_TRUE(Text(response) == request);
  }
  EXPECT_TRUE(Eventually([&] { return pool->used() == 0; })) << pool->used();
}

TEST_P(MemoryProcesses, WhatWasLentToOneThatDiesIsFree) {
  for (const bool trusts : {false, true}) {
    Process server({"keep", trusts ? trusting() : address()});
    Connect(address());
    const auto pool = NewPool(4 * kMiB);
    ASSERT_TRUE(Give(*pool, Pattern(kMiB)).ok());
    EXPECT_EQ(pool->used(), trusts ? kMiB : 0) << "who trusts keeps what it reads in place";
    server.Kill();
    EXPECT_TRUE(Eventually([&] { return !Give(*pool, Pattern(kMiB)).ok(); }));
    // Dead processes are looked for when there is need.
    EXPECT_TRUE(Eventually([&] { return InSharedMemory(pool->Take(4 * kMiB).bytes().data()); })) << pool->used();
    channel_ = nullptr;
  }
}

TEST_P(MemoryProcesses, NobodyWritesWhereOneReadsThatHasLostItsConnection) {
  Process server({"keep", trusting()});
  Connect(address());
  const auto pool = NewPool(4 * kMiB);
  ASSERT_TRUE(Give(*pool, Pattern(kMiB)).ok());
  channel_ = nullptr;
  // The server lives and may still read it.
  EXPECT_FALSE(InSharedMemory(pool->Take(4 * kMiB).bytes().data()));
  EXPECT_EQ(pool->used(), kMiB);
  EXPECT_TRUE(InSharedMemory(pool->Take(2 * kMiB).bytes().data()));
  server.Kill();
  EXPECT_TRUE(InSharedMemory(pool->Take(4 * kMiB).bytes().data()));
}

INSTANTIATE_TEST_SUITE_P(All, MemoryProcesses, ::testing::Values("shm", "unix"), SchemeName);

}  // namespace
}  // namespace behaviour

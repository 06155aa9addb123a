#include "rpc/stream_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace ipcrpc::rpc {
namespace {

StreamPtr NewStream(uint32_t id) { return Stream::Make(/*connection=*/nullptr, id, /*max_receive_bytes=*/0); }

TEST(StreamTable, FindsWhatWasInsertedUntilItIsErased) {
  StreamTable table;
  EXPECT_EQ(table.Find(1), nullptr);
  const StreamPtr stream = NewStream(1);
  EXPECT_FALSE(table.Erase(*stream));
  EXPECT_TRUE(table.Insert(stream));
  EXPECT_EQ(table.Find(1), stream.get());
  EXPECT_EQ(table.Find(17), nullptr) << "the same slot, another number";
  EXPECT_TRUE(table.Erase(*stream));
  EXPECT_EQ(table.Find(1), nullptr);
  EXPECT_EQ(table.size(), 0u);
}

TEST(StreamTable, ANumberIsTakenOnce) {
  StreamTable table;
  const StreamPtr first = NewStream(5);
  EXPECT_TRUE(table.Insert(first));
  const StreamPtr second = NewStream(5);
  EXPECT_FALSE(table.Insert(second));
  EXPECT_FALSE(table.Erase(*second)) << "it is not the one that is there";
  EXPECT_EQ(table.Find(5), first.get());
  EXPECT_EQ(table.size(), 1u);
}

// Against std::map, with numbers one after the other, at random, and chosen to collide.
TEST(StreamTable, DoesAsAMapDoes) {
  std::mt19937 random(20261128);
  for (const uint32_t step : {1u, 16u, 1024u, 0u}) {
    StreamTable table;
    std::map<uint32_t, StreamPtr> map;
    uint32_t next = 1;
    for (int i = 0; i < 20'000; ++i) {
      // Grows to many, shrinks to none, again and again.
      const bool insert = (i / 2'000) % 2 == 0 ? random() % 4 != 0 : random() % 4 == 0;
      if (insert) {
        const uint32_t id = step == 0 ? 1 + random() % 5'000 : (next += step);
        const StreamPtr stream = NewStream(id);
        ASSERT_EQ(table.Insert(stream), map.emplace(id, stream).second);
      } else {
        const bool known = !map.empty() && random() % 8 != 0;
        const StreamPtr stream = known ? std::next(map.begin(), random() % std::min<size_t>(map.size(), 8))->second : NewStream(random());
        ASSERT_EQ(table.Erase(*stream), known);
        if (known) map.erase(stream->id());
      }
      ASSERT_EQ(table.size(), map.size());
      if (i % 100 == 0) {
        for (const auto& [id, stream] : map) ASSERT_EQ(table.Find(id), stream.get());
        size_t seen = 0;
        table.ForEach([&](const StreamPtr& stream) { seen += map.count(stream->id()); });
        ASSERT_EQ(seen, map.size());
      }
    }
  }
}

}  // namespace
}  // namespace ipcrpc::rpc

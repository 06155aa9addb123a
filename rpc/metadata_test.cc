#include "rpc/metadata.h"

#include <gtest/gtest.h>

#include <string>

namespace ipcrpc::rpc {
namespace {

TEST(MetadataTest, ValuesOfOneKeyKeepTheirOrder) {
  SentMetadata sent;
  sent.emplace("k", "2");
  sent.emplace("a-bin", std::string("\0\n\xff", 3));
  sent.emplace("k", "1");
  sent.emplace("k", "");
  std::string block;
  ASSERT_TRUE(AppendMetadata(block, EntryKind::kInitialMetadata, sent).ok());
  AppendEntry(block, EntryKind::kTrailingMetadata, "other", "kind");
  const ReceivedMetadata received = ReadMetadata(block, EntryKind::kInitialMetadata);
  ASSERT_EQ(received.size(), 4u);
  auto [it, end] = received.equal_range("k");
  EXPECT_EQ((it++)->second, "2");
  EXPECT_EQ((it++)->second, "1");
  EXPECT_EQ((it++)->second, "");
  EXPECT_EQ(it, end);
  EXPECT_EQ(received.find("a-bin")->second, std::string_view("\0\n\xff", 3));
}

TEST(MetadataTest, NamesWhatMayNotBeSent) {
  std::string block;
  EXPECT_NE(AppendMetadata(block, EntryKind::kInitialMetadata, {{"Upper", "x"}}).error_message().find("'Upper'"), std::string::npos);
  EXPECT_EQ(AppendMetadata(block, EntryKind::kInitialMetadata, {{"", "x"}}).error_code(), StatusCode::INTERNAL);
  EXPECT_NE(AppendMetadata(block, EntryKind::kInitialMetadata, {{"key", "a\nb"}}).error_message().find("-bin"), std::string::npos);
  EXPECT_TRUE(block.empty());
}

TEST(MetadataTest, LimitIsOnTheWhole) {
  std::string block;
  const std::string fits(kMaxMetadataBytes - 32 - 1, 'v');
  EXPECT_TRUE(AppendMetadata(block, EntryKind::kInitialMetadata, {{"k", fits}}).ok());
  EXPECT_EQ(AppendMetadata(block, EntryKind::kInitialMetadata, {{"k", fits + "v"}}).error_code(), StatusCode::RESOURCE_EXHAUSTED);
}

}  // namespace
}  // namespace ipcrpc::rpc

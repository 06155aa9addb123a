#include "rpc/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <string>
#include <vector>

namespace ipcrpc::rpc {
namespace {

std::vector<std::byte> Encode(const FrameHeader& header, std::string_view rest) {
  std::vector<std::byte> frame(sizeof(header) + rest.size());
  std::memcpy(frame.data(), &header, sizeof(header));
  std::memcpy(frame.data() + sizeof(header), rest.data(), rest.size());
  return frame;
}

const char* ErrorOf(const std::vector<std::byte>& frame) {
  const char* error = nullptr;
  EXPECT_FALSE(DecodeHeader(frame, &error).has_value());
  return error == nullptr ? "" : error;
}

// The vector of docs/wire.md: a unary request, as bytes.
TEST(FrameTest, LayoutOnTheWire) {
  const FrameHeader header = {.type = FrameType::kBegin, .flags = kHasMessage | kFirstChunk | kHalfCloses, .stream = 0x01020304,
                              .number = 5, .block_bytes = 0, .deadline = 0x1122334455667788, .message_bytes = 2};
  const std::vector<std::byte> frame = Encode(header, "hi");
  const unsigned char expected[] = {2,    13,   0,    0,    0x04, 0x03, 0x02, 0x01, 5, 0, 0, 0, 0, 0, 0, 0, 0x88,
                                    0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0,    0, 0, 0, 2, 0, 0, 0, 'h', 'i'};
  ASSERT_EQ(frame.size(), sizeof(expected));
  EXPECT_EQ(std::memcmp(frame.data(), expected, sizeof(expected)), 0);
  const char* error = nullptr;
  const auto decoded = DecodeHeader(frame, &error);
  ASSERT_TRUE(decoded.has_value()) << error;
  EXPECT_EQ(decoded->stream, 0x01020304u);
  EXPECT_EQ(decoded->deadline, 0x1122334455667788u);
}

// The vector of docs/wire.md: a message with two descriptors, the third that take any along.
TEST(FrameTest, DescriptorsOnTheWire) {
  const FrameHeader header = {.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk, .fd_count = 2, .stream = 7,
                              .fd_sequence = 3, .message_bytes = 2};
  const std::vector<std::byte> frame = Encode(header, "hi");
  const unsigned char expected[] = {4, 5, 2, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                    0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 2, 0, 0, 0, 'h', 'i'};
  ASSERT_EQ(frame.size(), sizeof(expected));
  EXPECT_EQ(std::memcmp(frame.data(), expected, sizeof(expected)), 0);
  const char* error = nullptr;
  const auto decoded = DecodeHeader(frame, &error);
  ASSERT_TRUE(decoded.has_value()) << error;
  EXPECT_EQ(decoded->fd_count, 2);
  EXPECT_EQ(decoded->fd_sequence, 3u);
}

// The vectors of docs/wire.md: memory is shown, a message refers to it, what was lent comes back.
TEST(FrameTest, MemoryOnTheWire) {
  const MemoryBody body = {.bytes = 0x100000, .kind = 1};
  std::string block;
  AppendEntry(block, EntryKind::kMemory, "", {reinterpret_cast<const char*>(&body), sizeof(body)});
  const FrameHeader header = {.type = FrameType::kMemory, .fd_count = 1, .number = 1, .block_bytes = 24, .fd_sequence = 1};
  const std::vector<std::byte> frame = Encode(header, block);
  const unsigned char expected[] = {12, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 24, 0, 0,    0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0,
                                    0,  0, 0, 0, 8, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0};
  ASSERT_EQ(frame.size(), sizeof(expected));
  EXPECT_EQ(std::memcmp(frame.data(), expected, sizeof(expected)), 0);
  const char* error = nullptr;
  const auto decoded = DecodeHeader(frame, &error);
  ASSERT_TRUE(decoded.has_value()) << error;
  EXPECT_EQ(FindEntry(block, EntryKind::kMemory).size(), sizeof(body));
}

TEST(FrameTest, ReferencesOnTheWire) {
  const ReferenceBody body = {.memory = 1, .loan = 9, .offset = 0x4000, .bytes = 0x8000, .before = 2};
  std::string block;
  AppendEntry(block, EntryKind::kReference, "", {reinterpret_cast<const char*>(&body), sizeof(body)});
  const FrameHeader header = {.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk | kRefers, .stream = 7, .block_bytes = 32,
                              .message_bytes = 0x8002};
  const std::vector<std::byte> frame = Encode(header, block + "hi");
  const unsigned char expected[] = {4, 0x45, 0, 0, 7, 0, 0, 0, 0, 0,    0, 0, 32, 0, 0, 0, 0, 0,    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x80, 0, 0,  7,
                                    0, 0,    0, 24, 0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 2, 0, 0, 0, 'h', 'i'};
  ASSERT_EQ(frame.size(), sizeof(expected));
  EXPECT_EQ(std::memcmp(frame.data(), expected, sizeof(expected)), 0);
  const char* error = nullptr;
  const auto decoded = DecodeHeader(frame, &error);
  ASSERT_TRUE(decoded.has_value()) << error;
  EXPECT_EQ(decoded->flags & kRefers, kRefers);
}

TEST(FrameTest, AReturnOnTheWire) {
  const std::vector<std::byte> frame = Encode({.type = FrameType::kReturn, .number = 9}, "");
  unsigned char expected[32] = {15};
  expected[8] = 9;
  ASSERT_EQ(frame.size(), sizeof(expected));
  EXPECT_EQ(std::memcmp(frame.data(), expected, sizeof(expected)), 0);
}

TEST(FrameTest, RefusesWhatContradictsItself) {
  EXPECT_STREQ(ErrorOf(std::vector<std::byte>(31)), "a frame shorter than its header");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType(0)}, "")), "a frame of unknown type");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType(16)}, "")), "a frame of unknown type");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kCancel, .flags = 128}, "")), "a frame with unknown flags");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kCancel, .flags = kNotRun}, "")), "a call that did not run, and is not over");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kMessage, .flags = kHasMessage | kRefers}, "")), "references where no message begins");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kPing, .flags = kHasMessage | kFirstChunk | kRefers}, "")), "references where no message begins");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk | kRefers, .message_bytes = 2}, "ab")),
               "a chunk that contradicts its message's size");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kMemory, .fd_count = 2}, "")), "descriptors where no message begins");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kMessage, .fd_count = 1}, "")), "descriptors where no message begins");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kMessage, .flags = kHasMessage | kMoreChunks, .fd_count = 1}, "a")),
               "descriptors where no message begins");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kPing, .flags = kHasMessage | kFirstChunk, .fd_count = 1}, "")),
               "descriptors where no message begins");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk, .fd_count = 17}, "")),
               "more descriptors than go with a message");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kMessage, .fd_sequence = 1}, "")), "a parcel of no descriptors");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kBegin, .block_bytes = 3}, "ab")), "a block longer than its frame");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kCredit}, "x")), "message bytes in a frame without a message");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kBegin, .flags = kMoreChunks}, "")), "chunk flags on a frame without a message");
  // Whole, but not of the size it says; or said to go on, but already whole.
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk, .message_bytes = 3}, "ab")),
               "a chunk that contradicts its message's size");
  EXPECT_STREQ(ErrorOf(Encode({.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk | kMoreChunks, .message_bytes = 2}, "ab")),
               "a chunk that contradicts its message's size");
}

TEST(FrameTest, EntriesComeBackInOrder) {
  std::string block;
  AppendEntry(block, EntryKind::kInitialMetadata, "key", "value");
  AppendEntry(block, EntryKind::kMethodName, "", std::string("\0\xff", 2));
  AppendEntry(block, static_cast<EntryKind>(99), "from", "the future");
  AppendEntry(block, EntryKind::kTrailingMetadata, "", "");
  EntryReader reader(block);
  auto entry = reader.Next();
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->key, "key");
  EXPECT_EQ(entry->value, "value");
  entry = reader.Next();
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->kind, EntryKind::kMethodName);
  EXPECT_EQ(entry->value, std::string_view("\0\xff", 2));
  entry = reader.Next();
  ASSERT_TRUE(entry.has_value());
  EXPECT_EQ(entry->kind, EntryKind::kTrailingMetadata);
  EXPECT_FALSE(reader.Next().has_value());
  EXPECT_FALSE(reader.broken());
}

TEST(FrameTest, EveryCutBlockIsSeenToBeBroken) {
  std::string block;
  AppendEntry(block, EntryKind::kInitialMetadata, "key", "value");
  for (size_t size = 1; size < block.size(); ++size) {
    EntryReader reader(std::string_view(block).substr(0, size));
    EXPECT_FALSE(reader.Next().has_value()) << size;
    EXPECT_TRUE(reader.broken()) << size;
  }
}

TEST(FrameTest, RandomBytesAreDecodedOrRefusedWithinTheirBounds) {
  std::mt19937 random(20);
  for (int round = 0; round < 200'000; ++round) {
    std::vector<std::byte> frame(random() % 80);
    for (std::byte& byte : frame) byte = static_cast<std::byte>(random() % 4 == 0 ? random() : random() % 18);
    const char* error = nullptr;
    const auto header = DecodeHeader(frame, &error);
    if (!header.has_value()) {
      ASSERT_NE(error, nullptr);
      continue;
    }
    ASSERT_LE(sizeof(FrameHeader) + header->block_bytes, frame.size());
    EntryReader reader({reinterpret_cast<const char*>(frame.data()) + sizeof(FrameHeader), header->block_bytes});
    while (const auto entry = reader.Next()) {
      ASSERT_LE(entry->value.data() + entry->value.size(), reinterpret_cast<const char*>(frame.data() + frame.size()));
    }
  }
}

}  // namespace
}  // namespace ipcrpc::rpc

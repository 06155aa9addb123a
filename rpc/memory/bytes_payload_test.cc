#include "ipcrpc/bytes_payload.h"

#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "ipcrpc/internal/message_codec.h"
#include "rpc/written_for_test.h"

namespace ipcrpc {
namespace {

using google::protobuf::BytesValue;

std::string Text(const Slice& slice) { return std::string(slice.begin(), slice.end()); }

std::string Noise(size_t bytes, std::mt19937& random) {
  std::string noise(bytes, '\0');
  for (char& byte : noise) byte = static_cast<char>(random());
  return noise;
}

std::string Encoded(const std::string& data) {
  BytesValue message;
  message.set_value(data);
  return message.SerializeAsString();
}

// In slices of up to `piece` bytes, with empty ones between.
ByteBuffer InSlices(const std::string& bytes, size_t piece) {
  std::vector<Slice> slices(1);
  for (size_t at = 0; at < bytes.size(); at += piece) {
    slices.emplace_back(bytes.data() + at, std::min(piece, bytes.size() - at));
    slices.emplace_back();
  }
  return ByteBuffer(slices.data(), slices.size());
}

// That we and protobuf see the same in it, also where it is cut into slices.
bool ExpectAsProtobuf(const std::string& bytes) {
  BytesValue theirs;
  const bool valid = theirs.ParseFromString(bytes);
  for (const size_t piece : {size_t{1}, size_t{3}, bytes.size() + 1}) {
    BytesPayload ours;
    ours.data = Slice("before");
    const Status status = BytesPayload::Parse(InSlices(bytes, piece), &ours);
    EXPECT_EQ(status.ok(), valid) << testing::PrintToString(bytes);
    if (!status.ok()) {
      EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
    }
    EXPECT_EQ(Text(ours.data), valid ? theirs.value() : "before") << testing::PrintToString(bytes);
  }
  return valid;
}

TEST(BytesPayloadTest, IsWrittenAsProtobufWritesIt) {
  std::mt19937 random(1);
  for (const size_t size : {0u, 1u, 127u, 128u, 16'383u, 16'384u, 100'000u, 3'000'000u}) {
    const BytesPayload payload = {.data = Slice(Noise(size, random))};
    Slice bytes;
    ASSERT_TRUE(payload.ToByteBuffer().DumpToSingleSlice(&bytes).ok());
    EXPECT_EQ(Text(bytes), Encoded(Text(payload.data))) << size;
    std::vector<Slice> slices;
    ASSERT_TRUE(payload.ToByteBuffer().Dump(&slices).ok());
    if (size != 0) {
      EXPECT_EQ(slices.back().begin(), payload.data.begin()) << "no copy";
    }
  }
}

TEST(BytesPayloadTest, WhatProtobufWritesIsReadWithoutACopy) {
  std::mt19937 random(2);
  for (const size_t size : {0u, 1u, 127u, 128u, 16'383u, 16'384u, 100'000u}) {
    const std::string data = Noise(size, random);
    EXPECT_TRUE(ExpectAsProtobuf(Encoded(data)));
    const Slice whole(Encoded(data));
    BytesPayload payload;
    ASSERT_TRUE(BytesPayload::Parse(ByteBuffer(&whole, 1), &payload).ok());
    EXPECT_EQ(Text(payload.data), data);
    if (size != 0) {
      EXPECT_EQ(payload.data.end(), whole.end()) << "it is a copy";
    }
    const Slice pieces[] = {whole.sub(0, whole.size() - size), whole.sub(whole.size() - size, whole.size())};
    ASSERT_TRUE(BytesPayload::Parse(ByteBuffer(pieces, 2), &payload).ok());
    if (size != 0) {
      EXPECT_EQ(payload.data.begin(), pieces[1].begin()) << "it is a copy";
    }
  }
}

TEST(BytesPayloadTest, IsRefusedOfNoMessage) {
  BytesPayload payload;
  EXPECT_EQ(BytesPayload::Parse(ByteBuffer(), &payload).error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(BytesPayload::Parse(ByteBuffer(nullptr, 0), &payload).ok());
}

// Fields of every kind, ours among them, before and after.
TEST(BytesPayloadTest, OtherFieldsAreSkippedAndTheLastOneCounts) {
  const std::string varint("\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11), fixed64("\x11" "12345678"), fixed32("\x15" "1234");
  const std::string text("\x1a\x03" "abc"), other_type("\x08\x05"), group("\x1b\x0a\x02zz\x1b\x10\x01\x1c\x1c");
  const std::string far("\xfa\xff\xff\xff\x0f\x01x"), first("\x0a\x02hi"), empty("\x0a\x00", 2), last("\x0a\x05hello");
  std::vector<std::string> fields = {varint, fixed64, fixed32, text, other_type, group, far, first, empty, last};
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) {
    std::shuffle(fields.begin(), fields.end(), random);
    std::string message;
    for (const std::string& field : fields) message += field;
    EXPECT_TRUE(ExpectAsProtobuf(message));
  }
}

TEST(BytesPayloadTest, EveryTruncationIsAsProtobufSeesIt) {
  const std::string others("\x11" "12345678" "\x1b\x0a\x02zz\x1c" "\x10\x80\x01");
  const std::string message = Encoded("some data") + others + Encoded(std::string(200, 'x'));
  int refused = 0;
  for (size_t size = 0; size <= message.size(); ++size) refused += ExpectAsProtobuf(message.substr(0, size)) ? 0 : 1;
  EXPECT_GT(refused, 200);
}

TEST(BytesPayloadTest, WhatIsMalformedIsRefused) {
  const std::string malformed[] = {
      "\x0a\x05" "1234",                                  // less than it says
      "\x0a\xff\xff\xff\xff\x07",                         // 2 GiB, none of them there
      "\x0a\xff\xff\xff\xff\x0f",                         // 4 GiB
      "\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",     // all there can be
      "\x0a\x80\x80\x80\x80\x80\x01",                     // a size that goes on and on
      "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",  // a number that does
      "\x8a\x80\x80\x80\x80\x80\x01",                     // a tag that does
      std::string("\x00\x00", 2),                         // field 0
      "\x02\x01x",                                        // of any type
      "\x0e",                                             // a type that is none
      "\x0f",
      "\x1c",                                             // the end of no group
      "\x1b",                                             // one without an end
      "\x1b\x24",                                         // with another's
  };
  for (const std::string& message : malformed) EXPECT_FALSE(ExpectAsProtobuf(message)) << testing::PrintToString(message);
}

TEST(BytesPayloadTest, GroupsInGroupsHaveTheDepthThatProtobufAllows) {
  const auto nested = [](size_t depth) { return std::string(depth, '\x1b') + std::string(depth, '\x1c'); };
  EXPECT_TRUE(ExpectAsProtobuf(nested(1)));
  EXPECT_TRUE(ExpectAsProtobuf(nested(100)));
  EXPECT_FALSE(ExpectAsProtobuf(nested(101)));
  EXPECT_FALSE(ExpectAsProtobuf(std::string(1'000'000, '\x1b')));
}

// Of the bytes that mean something, so that many are valid.
TEST(BytesPayloadTest, AnyBytesAreAsProtobufSeesThem) {
  std::mt19937 random(4);
  const std::string alphabet("\x0a\x0a\x08\x09\x0b\x0c\x0d\x10\x12\x1b\x1c\x00\x01\x02\x03\x05\x80\x81\xff\x7f", 20);
  int valid = 0;
  constexpr int kRounds = 60'000;
  for (int i = 0; i < kRounds; ++i) {
    std::string bytes(random() % 24, '\0');
    for (char& byte : bytes) byte = random() % 16 == 0 ? static_cast<char>(random()) : alphabet[random() % alphabet.size()];
    valid += ExpectAsProtobuf(bytes) ? 1 : 0;
    if (HasFailure()) return;
  }
  EXPECT_GT(valid, kRounds / 100);
  EXPECT_LT(valid, kRounds - kRounds / 100);
}

TEST(BytesPayloadTest, IsAMessageOfCalls) {
  const BytesPayload payload = {.data = Slice(std::string(5000, 'x'))};
  const std::string bytes = internal::WrittenInOnePiece(payload);
  EXPECT_EQ(bytes, Encoded(std::string(5000, 'x')));
  EXPECT_EQ(internal::WrittenInPieces(payload, 1000), bytes);
  const internal::OutgoingMessage outgoing = internal::Outgoing(payload);
  ASSERT_EQ(outgoing.size(&payload), bytes.size());
  ASSERT_EQ(outgoing.slices(&payload).size(), 2u);
  EXPECT_EQ(outgoing.slices(&payload)[1].begin(), payload.data.begin());
  outgoing.forget(&payload);

  BytesPayload back;
  const internal::IncomingMessage incoming = internal::Incoming(&back);
  ASSERT_TRUE(incoming.parse(&back, reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()));
  EXPECT_EQ(Text(back.data), std::string(5000, 'x'));
  const Slice slices[] = {Slice(bytes.substr(0, 10)), Slice(bytes.substr(10))};
  ASSERT_TRUE(incoming.adopt(&back, std::span<const Slice>(slices)));
  EXPECT_EQ(Text(back.data), std::string(5000, 'x'));
  EXPECT_FALSE(incoming.adopt(&back, std::span<const Slice>(slices).first(1)));
}

}  // namespace
}  // namespace ipcrpc

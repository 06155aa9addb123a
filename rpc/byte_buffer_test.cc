#include "ipcrpc/support/byte_buffer.h"

#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "ipcrpc/bytes_payload.h"
#include "ipcrpc/support/serialization_traits.h"
#include "rpc/written_for_test.h"

namespace ipcrpc {

// A message of a user's own.
struct Point {
  int east = 0, north = 0;
};

template <>
class SerializationTraits<Point> {
 public:
  static Status Serialize(const Point& point, ByteBuffer* buffer, bool* own_buffer) {
    const Slice slices[] = {Slice(&point.east, sizeof(int)), Slice(&point.north, sizeof(int))};
    *buffer = ByteBuffer(slices, 2);
    *own_buffer = true;
    return Status();
  }
  static Status Deserialize(ByteBuffer* buffer, Point* point) {
    Slice bytes;
    if (Status status = buffer->DumpToSingleSlice(&bytes); !status.ok()) return status;
    if (bytes.size() != sizeof(Point)) return Status(StatusCode::INTERNAL, "not a point");
    std::memcpy(point, bytes.begin(), sizeof(Point));
    return Status();
  }
};

namespace {

std::string Text(const Slice& slice) { return std::string(slice.begin(), slice.end()); }

TEST(SliceTest, KeepsItsBytes) {
  std::string text = "hello";
  const Slice copy(text), part = copy.sub(1, 3), fixed("abc", 3, Slice::STATIC_SLICE);
  text = "other";
  EXPECT_EQ(Text(copy), "hello");
  EXPECT_EQ(Text(part), "el");
  EXPECT_EQ(part.begin(), copy.begin() + 1) << "a part is no copy";
  EXPECT_EQ(Text(fixed), "abc");
  EXPECT_EQ(Slice().size(), 0u);
  EXPECT_EQ(Slice(size_t{10}).size(), 10u);
  EXPECT_EQ(Slice(std::string()).size(), 0u);
}

TEST(SliceTest, TellsWhenItsBytesAreNotNeededAnyMore) {
  static int destroyed = 0;
  static char bytes[3] = {'x', 'y', 'z'};
  {
    Slice outer;
    {
      const Slice slice(bytes, 3, [](void* of) { destroyed += of == bytes ? 1 : 100; });
      outer = slice.sub(2, 3);
    }
    EXPECT_EQ(destroyed, 0);
    EXPECT_EQ(Text(outer), "z");
  }
  EXPECT_EQ(destroyed, 1);
  { const Slice slice(bytes, 3, [](void*, size_t size) { destroyed += static_cast<int>(size); }); }
  EXPECT_EQ(destroyed, 4);
}

TEST(ByteBufferTest, InvalidIsNotEmpty) {
  ByteBuffer buffer;
  std::vector<Slice> slices;
  Slice slice;
  EXPECT_FALSE(buffer.Valid());
  EXPECT_EQ(buffer.Length(), 0u);
  EXPECT_EQ(buffer.Dump(&slices).error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(buffer.DumpToSingleSlice(&slice).error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_EQ(buffer.TrySingleSlice(&slice).error_code(), StatusCode::FAILED_PRECONDITION);
  ByteBuffer empty(nullptr, 0);
  EXPECT_TRUE(empty.Valid());
  EXPECT_EQ(empty.Length(), 0u);
  EXPECT_TRUE(empty.Dump(&slices).ok());
  empty.Clear();
  EXPECT_FALSE(empty.Valid());
}

TEST(ByteBufferTest, CopiesShareTheirBytes) {
  const Slice pieces[] = {Slice("one"), Slice("two")};
  const ByteBuffer buffer(pieces, 2);
  ByteBuffer copy = buffer;
  copy.Duplicate();
  std::vector<Slice> slices;
  EXPECT_TRUE(copy.Dump(&slices).ok());
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(slices[0].begin(), pieces[0].begin());
  EXPECT_EQ(copy.Length(), 6u);
  Slice joined;
  EXPECT_EQ(copy.TrySingleSlice(&joined).error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_TRUE(copy.DumpToSingleSlice(&joined).ok());
  EXPECT_EQ(Text(joined), "onetwo");
  ByteBuffer other;
  other.Swap(&copy);
  EXPECT_FALSE(copy.Valid());
  EXPECT_TRUE(other.Valid());
  EXPECT_TRUE(buffer.Valid());
}

// As it may come about: slices of all sizes, empty ones too.
ByteBuffer InSlices(const std::string& bytes, std::initializer_list<size_t> sizes) {
  std::vector<Slice> slices;
  size_t at = 0;
  for (const size_t size : sizes) {
    slices.emplace_back(bytes.substr(at, size));
    at += size;
  }
  slices.emplace_back(bytes.substr(at));
  return ByteBuffer(slices.data(), slices.size());
}

TEST(MessageCodecTest, ABufferIsWrittenSliceAfterSlice) {
  const std::string bytes = internal::Noise(100'000);
  const ByteBuffer buffer = InSlices(bytes, {0, 1, 2047, 2048, 0, 2049, 60'000});
  EXPECT_EQ(internal::WrittenInOnePiece(buffer), bytes);
  for (const size_t piece : {1u, 1000u, 2048u, 65'536u, 1'000'000u}) EXPECT_EQ(internal::WrittenInPieces(buffer, piece), bytes) << piece;
  EXPECT_EQ(internal::WrittenInPieces(ByteBuffer(nullptr, 0), 10), "");
  EXPECT_EQ(internal::WrittenInPieces(ByteBuffer(), 10), "");
}

TEST(MessageCodecTest, ABufferTellsItsSlicesAndIsMadeOfSlices) {
  const ByteBuffer buffer = InSlices("onetwo", {3});
  const internal::OutgoingMessage outgoing = internal::Outgoing(buffer);
  ASSERT_EQ(outgoing.size(&buffer), 6u);
  const std::span<const Slice> slices = outgoing.slices(&buffer);
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(Text(slices[1]), "two");
  ByteBuffer copy;
  const internal::IncomingMessage incoming = internal::Incoming(&copy);
  ASSERT_TRUE(incoming.adopt(&copy, slices));
  EXPECT_EQ(copy.Length(), 6u);
  std::vector<Slice> adopted;
  ASSERT_TRUE(copy.Dump(&adopted).ok());
  EXPECT_EQ(adopted[0].begin(), slices[0].begin()) << "it is a copy";
  ASSERT_TRUE(incoming.adopt(&copy, {}));
  EXPECT_TRUE(copy.Valid()) << "an empty message is one";
  EXPECT_EQ(copy.Length(), 0u);
}

TEST(MessageCodecTest, ABufferIsParsedAsACopy) {
  for (const size_t size : {0u, 1u, 2047u, 2048u, 100'000u}) {
    const std::string bytes = internal::Noise(size);
    ByteBuffer buffer;
    ASSERT_TRUE(internal::Incoming(&buffer).parse(&buffer, reinterpret_cast<const std::byte*>(bytes.data()), size));
    Slice slice;
    ASSERT_TRUE(buffer.TrySingleSlice(&slice).ok());
    EXPECT_EQ(Text(slice), bytes);
  }
}

TEST(MessageCodecTest, OnlyWhatConsistsOfSlicesHasSlices) {
  const google::protobuf::BytesValue message;
  google::protobuf::BytesValue parsed;
  EXPECT_EQ(internal::Outgoing(message).slices, nullptr);
  EXPECT_EQ(internal::Incoming(&parsed).adopt, nullptr);
}

TEST(MessageCodecTest, TakesTypesWithTraitsOfTheirOwn) {
  const Point point = {3, -4};
  const internal::OutgoingMessage outgoing = internal::Outgoing(point);
  std::string bytes(outgoing.size(outgoing.message), '\0');
  outgoing.write(outgoing.message, reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
  Point back;
  const internal::IncomingMessage incoming = internal::Incoming(&back);
  EXPECT_TRUE(incoming.parse(incoming.message, reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()));
  EXPECT_EQ(back.east, 3);
  EXPECT_EQ(back.north, -4);
  EXPECT_FALSE(incoming.parse(incoming.message, nullptr, 0));

  EXPECT_EQ(internal::WrittenInPieces(point, 3), bytes);
  ASSERT_EQ(outgoing.size(&point), sizeof(Point));
  const std::span<const Slice> slices = outgoing.slices(&point);
  ASSERT_EQ(slices.size(), 2u);
  back = Point();
  EXPECT_TRUE(incoming.adopt(&back, slices));
  EXPECT_EQ(back.north, -4);
  EXPECT_FALSE(incoming.adopt(&back, slices.first(1)));
  outgoing.forget(&point);
}

// A block of a pool, say, that is free again when its message has been sent by reference.
TEST(MessageCodecTest, NothingIsKeptOfAMessageThatWasSent) {
  static int destroyed;
  destroyed = 0;
  static char byte = 'x';
  const auto lent = [] { return BytesPayload{.data = Slice(&byte, 1, [](void*) { ++destroyed; })}; };
  const internal::OutgoingMessage outgoing = internal::Outgoing(BytesPayload());
  {
    const BytesPayload payload = lent();
    ASSERT_EQ(outgoing.size(&payload), 3u);
    ASSERT_EQ(outgoing.slices(&payload).size(), 2u);
    outgoing.forget(&payload);
  }
  EXPECT_EQ(destroyed, 1);
  EXPECT_EQ(internal::WrittenInPieces(lent(), 1), "\x0a\x01x");
  EXPECT_EQ(internal::WrittenInOnePiece(lent()), "\x0a\x01x");
  EXPECT_EQ(destroyed, 3);
}

}  // namespace
}  // namespace ipcrpc

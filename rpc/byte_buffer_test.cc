#include "ipcrpc/support/byte_buffer.h"

#include <gtest/gtest.h>

#include <string>

#include "ipcrpc/support/serialization_traits.h"

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
}

}  // namespace
}  // namespace ipcrpc

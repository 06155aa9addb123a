#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include <string>

#include "ipcrpc/internal/message_codec.h"
#include "rpc/written_for_test.h"

namespace ipcrpc::internal {
namespace {

using google::protobuf::BytesValue;
using google::protobuf::FileDescriptorProto;

BytesValue OneField(size_t bytes) {
  BytesValue message;
  message.set_value(Noise(bytes));
  return message;
}

// Fields of all sizes, nested.
FileDescriptorProto Tree() {
  FileDescriptorProto file;
  file.set_name(std::string(3000, 'n'));
  for (int i = 0; i < 200; ++i) {
    auto* message = file.add_message_type();
    message->set_name(std::string(static_cast<size_t>(i) * 17, 'm'));
    for (int j = 0; j < i % 5; ++j) message->add_field()->set_json_name(std::string(static_cast<size_t>(j) * 700, 'f'));
  }
  return file;
}

template <typename T>
bool ParseFrom(T& message, const std::string& bytes) {
  return Incoming(&message).parse(&message, reinterpret_cast<const std::byte*>(bytes.data()), bytes.size());
}

constexpr size_t kSizes[] = {2000, 2040, 2044, 2045, 2048, 4000, 4096, 65'536, 1'000'003};

TEST(LargeMessageTest, IsWrittenAsProtobufWritesIt) {
  for (const size_t size : kSizes) {
    const BytesValue message = OneField(size);
    EXPECT_EQ(WrittenInOnePiece(message), message.SerializeAsString()) << size;
  }
  EXPECT_EQ(WrittenInOnePiece(Tree()), Tree().SerializeAsString());
}

TEST(LargeMessageTest, IsTheSameInPiecesOfAnySize) {
  const BytesValue field = OneField(70'000);
  const FileDescriptorProto tree = Tree();
  for (const size_t piece : {1u, 15u, 16u, 17u, 1023u, 1024u, 1025u, 2048u, 65'536u, 1'000'000u}) {
    EXPECT_EQ(WrittenInPieces(field, piece), field.SerializeAsString()) << piece;
    EXPECT_EQ(WrittenInPieces(tree, piece), tree.SerializeAsString()) << piece;
  }
}

TEST(LargeMessageTest, IsParsedAsProtobufParsesIt) {
  for (const size_t size : kSizes) {
    BytesValue parsed = OneField(7);  // is overwritten
    ASSERT_TRUE(ParseFrom(parsed, OneField(size).SerializeAsString())) << size;
    EXPECT_EQ(parsed.value(), OneField(size).value()) << size;
  }
  FileDescriptorProto parsed;
  ASSERT_TRUE(ParseFrom(parsed, Tree().SerializeAsString()));
  EXPECT_EQ(parsed.SerializeAsString(), Tree().SerializeAsString());
}

TEST(LargeMessageTest, DoesNotParseWhenBroken) {
  const std::string whole = Tree().SerializeAsString();
  FileDescriptorProto parsed;
  for (size_t lacking = 1; lacking < 20; ++lacking) EXPECT_FALSE(ParseFrom(parsed, whole.substr(0, whole.size() - lacking)));
  EXPECT_FALSE(ParseFrom(parsed, whole + '\x0a'));
}

// A field that says it has 40 MB, of which 4,000 bytes follow: memory is only reserved for what is there.
TEST(LargeMessageTest, AFieldThatLiesAboutItsSizeGetsNoMemory) {
  BytesValue parsed;
  EXPECT_FALSE(ParseFrom(parsed, std::string("\x0a\x80\xb5\x89\x13") + std::string(4000, 'x')));
  EXPECT_LT(parsed.value().capacity(), 10'000u);
}

TEST(LargeMessageTest, OneThatShrinksMeanwhileIsFilledUp) {
  BytesValue message = OneField(5000);
  const OutgoingMessage outgoing = Outgoing(message);
  const size_t size = outgoing.size(&message);
  message.set_value("short");
  Pieces pieces(size, 600);
  outgoing.write_pieces(&message, pieces, size);
  const std::string sent = pieces.Joined();
  EXPECT_EQ(sent.size(), size);
  EXPECT_EQ(sent.find_last_not_of('\0'), sent.find("short") + 4);
}

}  // namespace
}  // namespace ipcrpc::internal

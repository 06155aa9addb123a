#include <gmock/gmock.h>
#include <google/protobuf/descriptor.pb.h>
#include <gtest/gtest.h>

#include "rpc/reflection/descriptor_source.h"
#include "rpc/reflection/protocol.h"
#include "rpc/reflection/reflection_service.h"
#include "rpc/reflection/testdata/reflected.pb.h"

namespace ipcrpc::reflection {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FileDescriptorProto;
using google::protobuf::Message;
using testing::ElementsAre;

constexpr char kReflected[] = "rpc/reflection/testdata/reflected.proto";
constexpr char kImported[] = "rpc/reflection/testdata/imported.proto";

// Links the file: a static library's part that nothing uses isn't in the program.
const reflected::Base g_reflected;

class DescriptorSourceTest : public testing::Test {
 protected:
  static std::vector<std::string> NamesOf(const absl::StatusOr<DescriptorSource::Files>& files) {
    std::vector<std::string> names;
    EXPECT_TRUE(files.ok()) << files.status();
    if (!files.ok()) return names;
    for (const std::string& bytes : *files) {
      FileDescriptorProto file;
      EXPECT_TRUE(file.ParseFromString(bytes));
      names.push_back(file.name());
    }
    return names;
  }

  const DescriptorSource source_{{DescriptorPool::generated_pool(), &ProtocolPool()}};
};

TEST_F(DescriptorSourceTest, AFileComesFirstAndThenItsImports) {
  EXPECT_THAT(NamesOf(source_.FileByName(kReflected)), ElementsAre(kReflected, kImported));
  EXPECT_THAT(NamesOf(source_.FileByName(kImported)), ElementsAre(kImported));
}

TEST_F(DescriptorSourceTest, FindsEveryKindOfSymbol) {
  for (const char* symbol :
       {"reflected.Base", "reflected.Base.plain", "reflected.Base.Colour", "reflected.Base.RED",
        "reflected.Echo", "reflected.Echo.Say", "reflected.later"}) {
    EXPECT_THAT(NamesOf(source_.FileContainingSymbol(symbol)), ElementsAre(kReflected, kImported)) << symbol;
  }
}

TEST_F(DescriptorSourceTest, LooksIntoTheLaterPoolsToo) {
  EXPECT_THAT(NamesOf(source_.FileContainingSymbol("grpc.reflection.v1.ServerReflection")),
              ElementsAre("grpc/reflection/v1/reflection.proto"));
}

TEST_F(DescriptorSourceTest, ChosenJsonNamesSurvive) {
  const absl::StatusOr<DescriptorSource::Files> files = source_.FileByName(kReflected);
  ASSERT_TRUE(files.ok());
  FileDescriptorProto file;
  ASSERT_TRUE(file.ParseFromString(files->front()));
  EXPECT_EQ(file.message_type(0).field(1).json_name(), "other-name");
}

TEST_F(DescriptorSourceTest, ExtensionsByNumber) {
  EXPECT_THAT(NamesOf(source_.FileContainingExtension("reflected.Base", 150)),
              ElementsAre(kReflected, kImported));
  const absl::StatusOr<std::vector<int>> numbers = source_.ExtensionNumbersOfType("reflected.Base");
  ASSERT_TRUE(numbers.ok());
  EXPECT_THAT(*numbers, ElementsAre(120, 150));
  EXPECT_TRUE(source_.ExtensionNumbersOfType("reflected.Imported")->empty());
}

TEST_F(DescriptorSourceTest, UnknownThingsAreNotFound) {
  EXPECT_TRUE(absl::IsNotFound(source_.FileByName("no.proto").status()));
  EXPECT_TRUE(absl::IsNotFound(source_.FileByName("").status()));
  EXPECT_TRUE(absl::IsNotFound(source_.FileContainingSymbol("reflected.Nothing").status()));
  EXPECT_TRUE(absl::IsNotFound(source_.FileContainingSymbol("").status()));
  EXPECT_TRUE(absl::IsNotFound(source_.FileContainingExtension("reflected.Base", 151).status()));
  EXPECT_TRUE(absl::IsNotFound(source_.FileContainingExtension("no.Type", 1).status()));
  EXPECT_TRUE(absl::IsNotFound(source_.ExtensionNumbersOfType("no.Type").status()));
}

TEST(ProtocolTest, NothingOfItIsInTheGeneratedPool) {
  ASSERT_NE(ProtocolPool().FindFileByName("grpc/reflection/v1alpha/reflection.proto"), nullptr);
  EXPECT_EQ(DescriptorPool::generated_pool()->FindFileByName("grpc/reflection/v1alpha/reflection.proto"),
            nullptr);
  EXPECT_EQ(DescriptorPool::generated_pool()->FindFileByName("grpc/reflection/v1/reflection.proto"), nullptr);
}

class ReflectionServiceTest : public testing::TestWithParam<ReflectionService::Version> {
 protected:
  static std::string TextOf(const Message& message) { return message.ShortDebugString(); }

  ReflectionService service_{GetParam(), [] { return std::vector<std::string>{"a.A", "b.B"}; }};
  std::unique_ptr<Message> request_ = service_.NewRequest();
};

TEST_P(ReflectionServiceTest, HasTheStandardMethod) {
  const std::string package = GetParam() == ReflectionService::Version::kV1 ? "v1" : "v1alpha";
  ASSERT_EQ(service_.methods().size(), 1u);
  EXPECT_EQ(service_.methods()[0]->name(),
            "/grpc.reflection." + package + ".ServerReflection/ServerReflectionInfo");
  EXPECT_EQ(service_.methods()[0]->method_type(), internal::RpcMethod::BIDI_STREAMING);
}

TEST_P(ReflectionServiceTest, ListsServicesAndRepeatsTheRequest) {
  Fields(request_.get()).Set("host", "here");
  Fields(request_.get()).Set("list_services", "*");
  EXPECT_EQ(TextOf(*service_.Answer(*request_)),
            "valid_host: \"here\" original_request { host: \"here\" list_services: \"*\" } "
            "list_services_response { service { name: \"a.A\" } service { name: \"b.B\" } }");
}

TEST_P(ReflectionServiceTest, UnknownThingsAreAnsweredWithAnError) {
  Fields(request_.get()).Set("file_containing_symbol", "no.Such");
  EXPECT_EQ(TextOf(*service_.Answer(*request_)),
            "original_request { file_containing_symbol: \"no.Such\" } "
            "error_response { error_code: 5 error_message: \"no symbol \\'no.Such\\'\" }");
}

TEST_P(ReflectionServiceTest, ExtensionNumbers) {
  Fields(request_.get()).Set("all_extension_numbers_of_type", "reflected.Base");
  EXPECT_EQ(TextOf(*service_.Answer(*request_)),
            "original_request { all_extension_numbers_of_type: \"reflected.Base\" } "
            "all_extension_numbers_response { base_type_name: \"reflected.Base\" extension_number: 120 "
            "extension_number: 150 }");
}

TEST_P(ReflectionServiceTest, FileOfAnExtension) {
  Fields extension(Fields(request_.get()).Sub("file_containing_extension"));
  extension.Set("containing_type", "reflected.Base");
  extension.Set("extension_number", 120);
  const std::unique_ptr<Message> response = service_.Answer(*request_);
  EXPECT_EQ(WhichOneof(*response, "message_response"), "file_descriptor_response");
}

TEST_P(ReflectionServiceTest, AnEmptyRequestIsAnErrorToo) {
  const std::unique_ptr<Message> response = service_.Answer(*request_);
  EXPECT_EQ(GetInt32(GetSub(*response, "error_response"), "error_code"), 12);
}

INSTANTIATE_TEST_SUITE_P(Versions, ReflectionServiceTest,
                         testing::Values(ReflectionService::Version::kV1,
                                         ReflectionService::Version::kV1Alpha),
                         [](const auto& version) {
                           return version.param == ReflectionService::Version::kV1 ? "v1" : "v1alpha";
                         });

}  // namespace
}  // namespace ipcrpc::reflection

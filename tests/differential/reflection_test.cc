// Server reflection. Its messages are sent by another name (reflection_wire.proto), for which the calls are put together by hand.
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>

#include <algorithm>

#include "fixture.h"
#include "reflection_wire.pb.h"

namespace differential {
namespace {

using reflection::Request;
using reflection::Response;

class ReflectionTest : public DifferentialTest {
 protected:
  ReflectionTest() {
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    Start();
    stream_.reset(grpc::internal::ClientReaderWriterFactory<Request, Response>::Create(
        channel_.get(),
        grpc::internal::RpcMethod("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                  grpc::internal::RpcMethod::BIDI_STREAMING),
        &context_));
  }
  ~ReflectionTest() override {
    EXPECT_TRUE(stream_->WritesDone());
    EXPECT_TRUE(stream_->Finish().ok());
    stream_.reset();
    StopServer();
  }

  Response Ask(const std::function<void(Request&)>& fill) {
    Request request;
    request.set_host("somewhere");
    fill(request);
    Response response;
    EXPECT_TRUE(stream_->Write(request) && stream_->Read(&response));
    EXPECT_EQ(response.original_request().SerializeAsString(), request.SerializeAsString());
    EXPECT_EQ(response.valid_host(), "somewhere");
    return response;
  }
  static std::vector<std::string> FilesOf(const Response& response) {
    std::vector<std::string> names;
    for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
      google::protobuf::FileDescriptorProto file;
      EXPECT_TRUE(file.ParseFromString(bytes));
      names.push_back(file.name());
    }
    return names;
  }

  ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<Request, Response>> stream_;
};

TEST_F(ReflectionTest, ListsTheServicesItselfIncluded) {
  const Response response = Ask([](Request& request) { request.set_list_services("*"); });
  std::vector<std::string> names;
  for (const reflection::Named& service : response.list_services_response().service()) names.push_back(service.name());
  EXPECT_THAT(names, ::testing::IsSupersetOf({"differential.Methods", "grpc.reflection.v1alpha.ServerReflection"}));
}

TEST_F(ReflectionTest, FindsFilesByNameAndBySymbol) {
  EXPECT_THAT(FilesOf(Ask([](Request& request) { request.set_file_by_filename("differential.proto"); })),
              ::testing::Contains("differential.proto"));
  for (const char* symbol : {"differential.Methods", "differential.Methods.Unary", "differential.Msg", "differential.Msg.number"}) {
    EXPECT_THAT(FilesOf(Ask([&](Request& request) { request.set_file_containing_symbol(symbol); })), ::testing::Contains("differential.proto"))
        << symbol;
  }
}

TEST_F(ReflectionTest, AnswersUnknownThingsWithAnErrorAndGoesOn) {
  const std::function<void(Request&)> unknown[] = {
      [](Request& request) { request.set_file_by_filename("nothing.proto"); },
      [](Request& request) { request.set_file_containing_symbol("differential.Nothing"); },
      [](Request& request) { request.set_all_extension_numbers_of_type("differential.Nothing"); },
      [](Request& request) {
        request.mutable_file_containing_extension()->set_containing_type("differential.Msg");
        request.mutable_file_containing_extension()->set_extension_number(1);
      },
  };
  for (const auto& fill : unknown) {
    const Response response = Ask(fill);
    EXPECT_EQ(response.error_response().error_code(), static_cast<int>(StatusCode::NOT_FOUND)) << response.ShortDebugString();
    EXPECT_NE(response.error_response().error_message(), "");
  }
  EXPECT_FALSE(FilesOf(Ask([](Request& request) { request.set_file_by_filename("differential.proto"); })).empty());
}

TEST_F(ReflectionTest, KnowsNumbersOfExtensions) {
  const Response none = Ask([](Request& request) { request.set_all_extension_numbers_of_type("differential.Msg"); });
  EXPECT_EQ(none.all_extension_numbers_response().extension_number_size(), 0);
  EXPECT_EQ(none.all_extension_numbers_response().base_type_name(), "differential.Msg");
}

}  // namespace
}  // namespace differential

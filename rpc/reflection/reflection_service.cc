#include "rpc/reflection/reflection_service.h"

#include <utility>

#include "absl/status/status.h"
#include "ipcrpc/internal/message_codec.h"
#include "rpc/reflection/protocol.h"

namespace ipcrpc::reflection {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::Message;

void AnswerError(Message* response, const absl::Status& error) {
  Fields fields(Fields(response).Sub("error_response"));
  fields.Set("error_code", static_cast<int>(error.code()));
  fields.Set("error_message", std::string(error.message()));
}

void AnswerFiles(Message* response, const absl::StatusOr<DescriptorSource::Files>& files) {
  if (!files.ok()) return AnswerError(response, files.status());
  Fields fields(Fields(response).Sub("file_descriptor_response"));
  for (const std::string& file : *files) fields.Add("file_descriptor_proto", file);
}

void AnswerNumbers(Message* response, const std::string& type,
                   const absl::StatusOr<std::vector<int>>& numbers) {
  if (!numbers.ok()) return AnswerError(response, numbers.status());
  Fields fields(Fields(response).Sub("all_extension_numbers_response"));
  fields.Set("base_type_name", type);
  for (const int number : *numbers) fields.Add("extension_number", number);
}

void AnswerServices(Message* response, const std::vector<std::string>& names) {
  Fields fields(Fields(response).Sub("list_services_response"));
  for (const std::string& name : names) Fields(fields.AddSub("service")).Set("name", name);
}

}  // namespace

class ReflectionService::Handler final : public internal::MethodHandler {
 public:
  explicit Handler(const ReflectionService* service) : service_(service) {}

  Status RunStream(internal::ServerCall& call) override {
    const std::unique_ptr<Message> request = service_->NewRequest();
    while (call.Read(internal::Incoming(request.get()))) {
      const std::unique_ptr<Message> response = service_->Answer(*request);
      if (!call.Write(internal::Outgoing(*response), WriteOptions())) break;
    }
    return Status();
  }

 private:
  const ReflectionService* const service_;
};

ReflectionService::ReflectionService(Version version, std::function<std::vector<std::string>()> service_names)
    : package_(version == Version::kV1 ? "grpc.reflection.v1" : "grpc.reflection.v1alpha"),
      service_names_(std::move(service_names)),
      source_({DescriptorPool::generated_pool(), &ProtocolPool()}) {
  const std::string name = "/" + package_ + ".ServerReflection/ServerReflectionInfo";
  AddMethod(std::make_unique<internal::RpcServiceMethod>(name.c_str(), internal::RpcMethod::BIDI_STREAMING,
                                                         std::make_unique<Handler>(this)));
}

std::unique_ptr<Message> ReflectionService::NewRequest() const {
  return NewMessage(package_ + ".ServerReflectionRequest");
}

std::unique_ptr<Message> ReflectionService::Answer(const Message& request) const {
  std::unique_ptr<Message> response = NewMessage(package_ + ".ServerReflectionResponse");
  Fields fields(response.get());
  fields.Set("valid_host", GetString(request, "host"));
  fields.Sub("original_request")->CopyFrom(request);

  const std::string asked = WhichOneof(request, "message_request");
  if (asked == "file_by_filename") {
    AnswerFiles(response.get(), source_.FileByName(GetString(request, asked.c_str())));
  } else if (asked == "file_containing_symbol") {
    AnswerFiles(response.get(), source_.FileContainingSymbol(GetString(request, asked.c_str())));
  } else if (asked == "file_containing_extension") {
    const Message& extension = GetSub(request, asked.c_str());
    AnswerFiles(response.get(), source_.FileContainingExtension(GetString(extension, "containing_type"),
                                                                GetInt32(extension, "extension_number")));
  } else if (asked == "all_extension_numbers_of_type") {
    const std::string type = GetString(request, asked.c_str());
    AnswerNumbers(response.get(), type, source_.ExtensionNumbersOfType(type));
  } else if (asked == "list_services") {
    AnswerServices(response.get(), service_names_());
  } else {
    AnswerError(response.get(), absl::UnimplementedError("the request asks nothing that this server knows"));
  }
  return response;
}

}  // namespace ipcrpc::reflection

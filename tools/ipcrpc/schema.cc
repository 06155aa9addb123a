#include "tools/ipcrpc/schema.h"

#include <google/protobuf/descriptor.pb.h>

#include <array>
#include <utility>

#include "ipcrpc/admin.h"
#include "ipcrpc/internal/call.h"
#include "tools/ipcrpc/output.h"

namespace ipcrpc::cli {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorProto;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;

// Their messages are the same, byte for byte.
constexpr std::array<const char*, 2> kReflectionMethods = {
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
};

void CollectNames(const Descriptor* type, std::vector<std::string>& names) {
  names.push_back(type->full_name());
  for (int i = 0; i < type->field_count(); ++i) names.push_back(type->field(i)->full_name());
  for (int i = 0; i < type->nested_type_count(); ++i) CollectNames(type->nested_type(i), names);
  for (int i = 0; i < type->enum_type_count(); ++i) names.push_back(type->enum_type(i)->full_name());
}

void CollectNames(const FileDescriptor* file, std::vector<std::string>& names) {
  for (int i = 0; i < file->service_count(); ++i) {
    names.push_back(file->service(i)->full_name());
    for (int j = 0; j < file->service(i)->method_count(); ++j) {
      names.push_back(file->service(i)->method(j)->full_name());
    }
  }
  for (int i = 0; i < file->message_type_count(); ++i) CollectNames(file->message_type(i), names);
  for (int i = 0; i < file->enum_type_count(); ++i) names.push_back(file->enum_type(i)->full_name());
}

}  // namespace

Schema::Schema(std::string address, std::shared_ptr<Channel> channel, Deadline deadline)
    : address_(std::move(address)), channel_(std::move(channel)), deadline_(deadline) {}

void Schema::Errors::AddError(const std::string& file, const std::string& element,
                              const google::protobuf::Message*, ErrorLocation, const std::string& message) {
  if (first.empty()) first = file + ": " + element + ": " + message;
}

void Schema::Open() {
  context_ = std::make_unique<ClientContext>();
  context_->set_deadline(deadline_);
  const internal::RpcMethod method(kReflectionMethods[version_], internal::RpcMethod::BIDI_STREAMING);
  stream_.reset(
      internal::ClientReaderWriterFactory<Request, Response>::Create(channel_.get(), method, context_.get()));
}

absl::Status Schema::StreamError(const Status& status) const {
  if (status.error_code() == StatusCode::UNIMPLEMENTED) {
    return absl::UnimplementedError("the server at " + address_ +
                                    " has no reflection service, which is how this tool learns its methods");
  }
  // Only a call that failed after connecting is a failed call.
  if (channel_->GetState(false) == ConnectivityState::READY) return CallFailed(status);
  const std::string text =
      status.error_message().empty() ? CodeName(status.error_code()) : status.error_message();
  const bool says_where = text.find(address_) != std::string::npos;
  return absl::UnavailableError(says_where ? text : "cannot reach " + address_ + ": " + text);
}

absl::StatusOr<Schema::Response> Schema::Ask(const Request& request) {
  Response response;
  for (;;) {
    const bool first = stream_ == nullptr;
    if (first) Open();
    if (stream_->Write(request) && stream_->Read(&response)) break;
    const Status status = stream_->Finish();
    stream_.reset();
    const bool older_is_left = version_ + 1 < kReflectionMethods.size();
    if (status.error_code() == StatusCode::UNIMPLEMENTED && first && older_is_left) {
      ++version_;
      continue;
    }
    if (status.ok()) return absl::DataLossError("the reflection service at " + address_ + " gave no answer");
    return StreamError(status);
  }
  if (response.has_error_response()) {
    const auto& error = response.error_response();
    // Whatever a server numbers OK or oddly, it is an error still.
    const bool known = error.error_code() >= 1 && error.error_code() <= 16;
    return absl::Status(
        known ? static_cast<absl::StatusCode>(error.error_code()) : absl::StatusCode::kUnknown,
        error.error_message());
  }
  return response;
}

absl::StatusOr<std::vector<std::string>> Schema::ServiceNames() {
  Request request;
  request.set_list_services("*");
  const absl::StatusOr<Response> response = Ask(request);
  if (!response.ok()) return response.status();
  std::vector<std::string> names;
  for (const auto& service : response->list_services_response().service()) names.push_back(service.name());
  return names;
}

absl::Status Schema::AddFiles(const Response& response, std::vector<std::string>* missing) {
  for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
    FileDescriptorProto file;
    if (!file.ParseFromString(bytes)) {
      return absl::DataLossError("the reflection service at " + address_ +
                                 " sent a descriptor that does not parse");
    }
    if (!files_.insert(file.name()).second) continue;
    if (!database_.Add(file)) {
      return absl::DataLossError("the reflection service at " + address_ + " sent " + file.name() +
                                 ", which defines again what another file does");
    }
    for (const std::string& import : file.dependency()) missing->push_back(import);
  }
  return absl::OkStatus();
}

absl::Status Schema::Load(const Request& request) {
  const absl::StatusOr<Response> response = Ask(request);
  if (!response.ok()) return response.status();
  std::vector<std::string> missing;
  if (absl::Status status = AddFiles(*response, &missing); !status.ok()) return status;
  // Servers may leave imports to be asked for.
  while (!missing.empty()) {
    Request import;
    import.set_file_by_filename(missing.back());
    missing.pop_back();
    if (files_.count(import.file_by_filename()) != 0) continue;
    const absl::StatusOr<Response> answer = Ask(import);
    if (!answer.ok()) return answer.status();
    if (absl::Status status = AddFiles(*answer, &missing); !status.ok()) return status;
    if (files_.count(import.file_by_filename()) == 0) {
      return absl::DataLossError("the reflection service at " + address_ + " lacks the import " +
                                 import.file_by_filename());
    }
  }
  return absl::OkStatus();
}

absl::Status Schema::LoadSymbol(const std::string& symbol) {
  Request request;
  request.set_file_containing_symbol(symbol);
  return Load(request);
}

absl::StatusOr<const ServiceDescriptor*> Schema::FindService(const std::string& name) {
  const absl::Status loaded = LoadSymbol(name);
  if (loaded.ok()) {
    const ServiceDescriptor* service = pool_.FindServiceByName(name);
    if (service != nullptr) return service;
    if (!errors_.first.empty())
      return absl::DataLossError("unusable descriptors from " + address_ + ": " + errors_.first);
  } else if (!absl::IsNotFound(loaded)) {
    return loaded;
  }
  const absl::StatusOr<std::vector<std::string>> names = ServiceNames();
  if (!names.ok()) return names.status();
  return absl::NotFoundError("no service '" + name + "' at " + address_ + admin::DidYouMean(name, *names));
}

absl::StatusOr<const MethodDescriptor*> Schema::FindMethod(const std::string& service,
                                                           const std::string& method) {
  const absl::StatusOr<const ServiceDescriptor*> found = FindService(service);
  if (!found.ok()) return found.status();
  if (const MethodDescriptor* descriptor = (*found)->FindMethodByName(method)) return descriptor;
  std::vector<std::string> names;
  for (int i = 0; i < (*found)->method_count(); ++i) names.push_back((*found)->method(i)->name());
  return absl::NotFoundError("no method '" + method + "' in " + service + admin::DidYouMean(method, names));
}

std::vector<std::string> Schema::AllSymbols() {
  std::vector<std::string> symbols;
  const absl::StatusOr<std::vector<std::string>> services = ServiceNames();
  if (!services.ok()) return symbols;
  std::set<const FileDescriptor*> seen;
  for (const std::string& name : *services) {
    if (!LoadSymbol(name).ok()) continue;
    const ServiceDescriptor* service = pool_.FindServiceByName(name);
    if (service != nullptr && seen.insert(service->file()).second) CollectNames(service->file(), symbols);
  }
  return symbols;
}

absl::Status Schema::UnknownSymbol(const std::string& symbol) {
  return absl::NotFoundError("no symbol '" + symbol + "' at " + address_ +
                             admin::DidYouMean(symbol, AllSymbols()));
}

absl::StatusOr<std::string> Schema::Define(const std::string& symbol) {
  Request request;
  const bool is_file = symbol.size() > 6 && symbol.compare(symbol.size() - 6, 6, ".proto") == 0;
  if (is_file) {
    request.set_file_by_filename(symbol);
  } else {
    request.set_file_containing_symbol(symbol);
  }
  if (absl::Status loaded = Load(request); !loaded.ok()) {
    return absl::IsNotFound(loaded) ? UnknownSymbol(symbol) : loaded;
  }
  const FileDescriptor* file =
      is_file ? pool_.FindFileByName(symbol) : pool_.FindFileContainingSymbol(symbol);
  if (file == nullptr) {
    return errors_.first.empty()
               ? UnknownSymbol(symbol)
               : absl::DataLossError("unusable descriptors from " + address_ + ": " + errors_.first);
  }
  if (is_file) return file->DebugString();
  if (const auto* service = pool_.FindServiceByName(symbol)) return service->DebugString();
  if (const auto* method = pool_.FindMethodByName(symbol)) {
    return method->DebugString() + "\n" + method->input_type()->DebugString() +
           (method->output_type() == method->input_type() ? "" : "\n" + method->output_type()->DebugString());
  }
  if (const auto* message = pool_.FindMessageTypeByName(symbol)) return message->DebugString();
  if (const auto* type = pool_.FindEnumTypeByName(symbol)) return type->DebugString();
  if (const auto* field = pool_.FindFieldByName(symbol)) return field->DebugString();
  if (const auto* extension = pool_.FindExtensionByName(symbol)) return extension->DebugString();
  if (const auto* value = pool_.FindEnumValueByName(symbol)) return value->DebugString();
  return file->DebugString();
}

}  // namespace ipcrpc::cli

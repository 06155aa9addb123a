// What a server's reflection says of its services: descriptors, fetched when needed.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor_database.h>

#include <chrono>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "ipcrpc/ipcrpc.h"

namespace ipcrpc::cli {

// One reflection stream (v1, or v1alpha where that is all there is) and a pool of what came over it.
// Descriptors live as long as this. By one thread.
class Schema {
 public:
  using Deadline = std::chrono::system_clock::time_point;

  // `address` is for error texts. Nothing is asked yet.
  Schema(std::string address, std::shared_ptr<Channel> channel, Deadline deadline);

  // Full names, in the server's order.
  absl::StatusOr<std::vector<std::string>> ServiceNames();

  // NOT_FOUND, with the nearest name, when the server has none.
  absl::StatusOr<const google::protobuf::ServiceDescriptor*> FindService(const std::string& name);
  absl::StatusOr<const google::protobuf::MethodDescriptor*> FindMethod(const std::string& service,
                                                                       const std::string& method);
  // The definition of any symbol (message, field, service, method, enum, value, extension), or of a file by
  // its name, as .proto text.
  absl::StatusOr<std::string> Define(const std::string& symbol);

 private:
  using Request = grpc::reflection::v1::ServerReflectionRequest;
  using Response = grpc::reflection::v1::ServerReflectionResponse;
  using Stream = ClientReaderWriter<Request, Response>;

  // What makes a file unusable that the server sent.
  class Errors final : public google::protobuf::DescriptorPool::ErrorCollector {
   public:
    void AddError(const std::string& file, const std::string& element, const google::protobuf::Message*,
                  ErrorLocation, const std::string& message) override;
    std::string first;
  };

  // One question, one answer. An error_response becomes the status that it holds.
  absl::StatusOr<Response> Ask(const Request& request);
  void Open();
  absl::Status StreamError(const Status& status) const;

  // Fetches the file, and all it imports, into the pool.
  absl::Status Load(const Request& request);
  absl::Status LoadSymbol(const std::string& symbol);
  absl::Status AddFiles(const Response& response, std::vector<std::string>* missing);
  absl::Status UnknownSymbol(const std::string& symbol);
  // Full names of everything in the files of the server's services.
  std::vector<std::string> AllSymbols();

  const std::string address_;
  const std::shared_ptr<Channel> channel_;
  const Deadline deadline_;

  size_t version_ = 0;  // index of the reflection method that is spoken
  std::unique_ptr<ClientContext> context_;
  std::unique_ptr<Stream> stream_;

  std::set<std::string> files_;  // by name, in database_
  google::protobuf::SimpleDescriptorDatabase database_;
  Errors errors_;
  google::protobuf::DescriptorPool pool_{&database_, &errors_};
};

}  // namespace ipcrpc::cli

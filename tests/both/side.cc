#include "tests/both/side.h"

#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>

#include "both.grpc.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "reflection_wire.pb.h"

namespace both::SIDE {
namespace {

using differential::reflection::Request;
using differential::reflection::Response;
using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

class Service final : public Echo::Service {
 public:
  std::string name;

  grpc::Status Say(grpc::ServerContext* /*context*/, const Text* request, Text* response) override {
    response->set_text(name + ": " + request->text());
    return grpc::Status::OK;
  }
  grpc::Status SayMany(grpc::ServerContext* /*context*/, grpc::ServerReaderWriter<Text, Text>* stream) override {
    for (Text text; stream->Read(&text);) {
      text.set_text(name + ": " + text.text());
      stream->Write(text);
    }
    return grpc::Status::OK;
  }
};

class ThisSide final : public Side {
 public:
  ~ThisSide() override {
    if (server_ != nullptr) server_->Shutdown();
  }

  bool Serve(const std::string& address, const std::string& name, bool health) override {
    service_.name = name;
    grpc::EnableDefaultHealthCheckService(health);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    grpc::EnableDefaultHealthCheckService(false);
    return server_ != nullptr;
  }

  void Connect(const std::string& address) override {
    channel_ = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
    stub_ = Echo::NewStub(channel_);
  }

  std::string Say(const std::string& text) override {
    grpc::ClientContext context;
    Text request, response;
    request.set_text(text);
    return stub_->Say(&context, request, &response).ok() ? response.text() : "";
  }

  std::vector<std::string> SayMany(const std::vector<std::string>& texts) override {
    grpc::ClientContext context;
    const auto stream = stub_->SayMany(&context);
    std::vector<std::string> answers;
    Text text;
    for (const std::string& one : texts) {
      text.set_text(one);
      if (stream->Write(text) && stream->Read(&text)) answers.push_back(text.text());
    }
    stream->WritesDone();
    return stream->Finish().ok() ? answers : std::vector<std::string>();
  }

  std::vector<std::string> Services() override {
    Request request;
    request.set_list_services("*");
    const Response response = Ask(request);
    std::vector<std::string> names;
    for (const auto& service : response.list_services_response().service()) names.push_back(service.name());
    return names;
  }

  std::vector<std::string> FilesWith(const std::string& symbol) override {
    Request request;
    request.set_file_containing_symbol(symbol);
    const Response response = Ask(request);
    std::vector<std::string> names;
    for (const std::string& bytes : response.file_descriptor_response().file_descriptor_proto()) {
      google::protobuf::FileDescriptorProto file;
      if (file.ParseFromString(bytes)) names.push_back(file.name());
    }
    return names;
  }

  void SetServing(const std::string& service, bool serving) override {
    server_->GetHealthCheckService()->SetServingStatus(service, serving);
  }

  std::string Check(const std::string& service) override {
    grpc::ClientContext context;
    HealthCheckRequest request;
    HealthCheckResponse response;
    request.set_service(service);
    const grpc::Status status = Health::NewStub(channel_)->Check(&context, request, &response);
    if (status.error_code() == grpc::StatusCode::NOT_FOUND) return "NOT_FOUND";
    if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) return "UNIMPLEMENTED";
    return status.ok() ? HealthCheckResponse::ServingStatus_Name(response.status()) : status.error_message();
  }

  void Watch(const std::string& service) override {
    HealthCheckRequest request;
    request.set_service(service);
    watch_ = Health::NewStub(channel_)->Watch(&watching_, request);
  }
  std::string NextWatched() override {
    HealthCheckResponse response;
    return watch_->Read(&response) ? HealthCheckResponse::ServingStatus_Name(response.status()) : "the end";
  }
  bool StopWatching() override {
    watching_.TryCancel();
    for (HealthCheckResponse response; watch_->Read(&response);) {
    }
    return watch_->Finish().error_code() == grpc::StatusCode::CANCELLED;
  }

  const std::type_info& service_type() const override { return typeid(Echo::Service); }

 private:
  Response Ask(const Request& request) {
    const grpc::internal::RpcMethod method("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                                           grpc::internal::RpcMethod::BIDI_STREAMING);
    grpc::ClientContext context;
    const std::unique_ptr<grpc::ClientReaderWriter<Request, Response>> stream(
        grpc::internal::ClientReaderWriterFactory<Request, Response>::Create(channel_.get(), method, &context));
    Response response;
    stream->Write(request);
    stream->Read(&response);
    stream->WritesDone();
    stream->Finish().IgnoreError();
    return response;
  }

  Service service_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Echo::Stub> stub_;
  grpc::ClientContext watching_;
  std::unique_ptr<grpc::ClientReader<HealthCheckResponse>> watch_;
};

}  // namespace

std::unique_ptr<Side> Make() { return std::make_unique<ThisSide>(); }

}  // namespace both::SIDE

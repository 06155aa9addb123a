// What users of generated classes write: it has to compile, and does nothing.
#include <ipcrpc/coroutine.h>

#include <concepts>
#include <type_traits>

#include "shapes/all_kinds.ipcrpc.pb.h"
#include "shapes/borrowed.ipcrpc.pb.h"
#include "shapes/elsewhere.ipcrpc.pb.h"
#include "shapes/lite.ipcrpc.pb.h"
#include "shapes/names.ipcrpc.pb.h"

namespace {

using shapes::v1::AllKinds;
using shapes::v1::Request;
using shapes::v1::Response;

static_assert(std::string_view(AllKinds::service_full_name()) == "shapes.v1.AllKinds");
static_assert(std::string_view(namespace_::service_full_name()) == "namespace");
static_assert(std::is_same_v<AllKinds, shapes::v1::ipcrpc_stubs::AllKinds>,
              "does not merge with gRPC's class");
static_assert(std::is_base_of_v<AllKinds::StubInterface, AllKinds::Stub>);
static_assert(std::is_base_of_v<ipcrpc::Service, AllKinds::Service>);

// A service with all its methods, by the signatures of gRPC's users.
class Server final : public AllKinds::Service {
  ipcrpc::Status Unary(ipcrpc::ServerContext* context, const Request* request, Response* response) override {
    if (context->IsCancelled()) return ipcrpc::Status::CANCELLED;
    response->set_number(static_cast<int>(request->text().size()));
    return ipcrpc::Status::OK;
  }
  ipcrpc::Status Upload(ipcrpc::ServerContext*, ipcrpc::ServerReader<Request::Part>* reader,
                        Response* response) override {
    int sum = 0;
    uint32_t size = 0;
    if (reader->NextMessageSize(&size)) sum += static_cast<int>(size);
    for (Request::Part part; reader->Read(&part);) ++sum;
    response->set_number(sum);
    return ipcrpc::Status::OK;
  }
  ipcrpc::Status Download(ipcrpc::ServerContext*, const Request* request,
                          ipcrpc::ServerWriter<Request::Part>* writer) override {
    Request::Part part;
    part.set_data(request->text());
    writer->SendInitialMetadata();
    if (!writer->Write(part)) return ipcrpc::Status(ipcrpc::StatusCode::CANCELLED, "gone");
    writer->WriteLast(part, ipcrpc::WriteOptions().set_buffer_hint());
    return ipcrpc::Status::OK;
  }
  ipcrpc::Status Chat(ipcrpc::ServerContext*,
                      ipcrpc::ServerReaderWriter<Response, Request>* stream) override {
    Request request;
    while (stream->Read(&request)) stream->Write(Response());
    return ipcrpc::Status::OK;
  }
  ipcrpc::Status Foreign(ipcrpc::ServerContext*, const google::protobuf::Empty*,
                         elsewhere::Outer::Inner* response) override {
    response->set_depth(1);
    return ipcrpc::Status::OK;
  }
};

// A stand-in for a stub, as tests of users have them: the Raw methods are private, and to be overridden.
class Mock final : public AllKinds::StubInterface {
 public:
  ipcrpc::Status Unary(ipcrpc::ClientContext*, const Request&, Response*) override {
    return ipcrpc::Status::OK;
  }
  ipcrpc::Status Foreign(ipcrpc::ClientContext*, const google::protobuf::Empty&,
                         elsewhere::Outer::Inner*) override {
    return ipcrpc::Status::OK;
  }

 private:
  ipcrpc::ClientWriterInterface<Request::Part>* UploadRaw(ipcrpc::ClientContext*, Response*) override {
    return nullptr;
  }
  ipcrpc::ClientReaderInterface<Request::Part>* DownloadRaw(ipcrpc::ClientContext*, const Request&) override {
    return nullptr;
  }
  ipcrpc::ClientReaderWriterInterface<Request, Response>* ChatRaw(ipcrpc::ClientContext*) override {
    return nullptr;
  }
};

}  // namespace

// A client with all kinds of calls.
ipcrpc::Status CallEverything(const std::shared_ptr<ipcrpc::Channel>& channel);
ipcrpc::Status CallEverything(const std::shared_ptr<ipcrpc::Channel>& channel) {
  Server server;
  Mock mock;
  AllKinds::StubInterface& mocked = mock;
  const std::unique_ptr<AllKinds::Stub> stub = AllKinds::NewStub(channel, ipcrpc::StubOptions());
  ipcrpc::ClientContext contexts[7];
  Response response;
  if (ipcrpc::Status status = stub->Unary(&contexts[0], Request(), &response); !status.ok()) return status;

  std::unique_ptr<ipcrpc::ClientWriter<Request::Part>> writer(stub->Upload(&contexts[1], &response));
  writer->Write(Request::Part());
  writer->WriteLast(Request::Part(), ipcrpc::WriteOptions());
  if (ipcrpc::Status status = writer->Finish(); !status.ok()) return status;

  std::unique_ptr<ipcrpc::ClientReader<Request::Part>> reader = stub->Download(&contexts[2], Request());
  reader->WaitForInitialMetadata();
  for (Request::Part part; reader->Read(&part);) continue;
  if (ipcrpc::Status status = reader->Finish(); !status.ok()) return status;

  std::unique_ptr<ipcrpc::ClientReaderWriterInterface<Request, Response>> stream(mocked.Chat(&contexts[3]));
  if (stream->Write(Request()) && stream->WritesDone() && stream->Read(&response)) return stream->Finish();

  shapes::lite::Light light;
  shapes::lite::Scale::NewStub(channel)->Weigh(&contexts[4], light, &light).IgnoreError();

  register_ message;
  register__union deleted;
  const auto odd = namespace_::NewStub(channel);
  odd->delete_(&contexts[5], message, &deleted).IgnoreError();
  return odd->Stub_(&contexts[6], message)->Finish();
}

// The same with coroutines, where names are odd.
ipcrpc::Task<ipcrpc::Status> AwaitOddCalls(namespace_::Stub* stub);
ipcrpc::Task<ipcrpc::Status> AwaitOddCalls(namespace_::Stub* stub) {
  const namespace_::CoroutineService service;
  ipcrpc::ClientContext contexts[4];
  register_ message;
  register__union deleted;
  const ipcrpc::Status status = co_await stub->co()->delete_(&contexts[0], message, &deleted);
  if (!status.ok()) co_return status;
  ipcrpc::co::ClientWriter<register_> writer = stub->co()->Service_(&contexts[1], &message);
  co_await writer.WritesDone();
  ipcrpc::co::ClientReader<register_> reader = stub->co()->Stub_(&contexts[2], message);
  co_await reader.Read(&message);
  ipcrpc::co::ClientReaderWriter<register_, register_> stream = stub->co()->new_(&contexts[3]);
  co_return co_await stream.Finish();
}

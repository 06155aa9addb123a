// The echo by generated stubs and the synchronous API: of this library, or of gRPC C++ (BENCH_GRPC), whose names it has.
// gRPC's variant `callback` has a server of its callback API.
#if defined(BENCH_GRPC)
#include <grpcpp/grpcpp.h>

#include "echo.grpc.pb.h"
namespace api = grpc;
#else
#include "echo.ipcrpc.pb.h"
#include "ipcrpc/ipcrpc.h"
namespace api = ipcrpc;
#endif

#include <cstring>
#include <functional>
#include <optional>
#include <utility>

#include "bench/systems/echo_system.h"

namespace ipcrpc::bench {
namespace {

void Answer(const Echo& request, Echo* response) {
  response->set_id(request.id());
  response->set_payload(request.payload());
}

class Handler final : public EchoService::Service {
 public:
  api::Status Unary(api::ServerContext*, const Echo* request, Echo* response) override {
    Answer(*request, response);
    return api::Status::OK;
  }
  api::Status Source(api::ServerContext*, const Echo* request, api::ServerWriter<Echo>* writer) override {
    Echo message;
    message.set_payload(request->payload());
    for (uint64_t id = 1;; ++id) {
      message.set_id(id);
      if (!writer->Write(message)) return api::Status::OK;
    }
  }
  api::Status Sink(api::ServerContext*, api::ServerReader<Echo>* reader, Echo* response) override {
    uint64_t count = 0;
    for (Echo message; reader->Read(&message);) CheckAnswer(message.id(), ++count, message.payload(), message.payload().size());
    response->set_id(count);
    return api::Status::OK;
  }
  api::Status Stream(api::ServerContext*, api::ServerReaderWriter<Echo, Echo>* stream) override {
    for (Echo message; stream->Read(&message);) {
      if (!stream->Write(message)) break;
    }
    return api::Status::OK;
  }
};

std::string ErrorOf(const api::ServerBuilder& builder) {
#if defined(BENCH_GRPC)
  (void)builder;
  return "gRPC's server does not start";
#else
  return builder.error();
#endif
}

// The server has threads of its own.
template <typename H>
void ServeWith(const std::string& address, const ReadySignal& ready) {
  const Termination termination;
  H handler;
  api::ServerBuilder builder;
  builder.AddListeningPort(address, api::InsecureServerCredentials());
  builder.RegisterService(&handler);
  const std::unique_ptr<api::Server> server = builder.BuildAndStart();
  if (server == nullptr) Fail(ErrorOf(builder));
  ready.Tell();
  termination.Await();
  server->Shutdown();
}

[[noreturn]] void Failed(const api::Status& status) { Fail("the call failed: " + std::string(status.error_message())); }

// What all streams have in common: the context, the message written, the one read.
class StubStream : public MessageStream {
 public:
  explicit StubStream(size_t bytes) : bytes_(bytes) { outgoing_.set_payload(Payload(bytes)); }
  bool Write(uint64_t) override { Fail("this stream is only read"); }
  void Read(uint64_t) override { Fail("this stream is only written"); }
  uint64_t Finish() override { Fail("this stream has no answer"); }
  void Cancel() final { context_.TryCancel(); }

 protected:
  template <typename Reader>
  void ReadFrom(Reader& reader, uint64_t id) {
    if (!reader.Read(&incoming_)) Failed(reader.Finish());
    CheckAnswer(incoming_.id(), id, incoming_.payload(), bytes_);
  }
  template <typename Writer>
  bool WriteTo(Writer& writer, uint64_t id) {
    outgoing_.set_id(id);
    return writer.Write(outgoing_);
  }

  const size_t bytes_;
  api::ClientContext context_;
  Echo outgoing_, incoming_;
};

class ServerStream final : public StubStream {
 public:
  ServerStream(EchoService::Stub& stub, size_t bytes) : StubStream(bytes), reader_(stub.Source(&context_, outgoing_)) {}
  ~ServerStream() override { (void)reader_->Finish(); }
  void Read(uint64_t id) override { ReadFrom(*reader_, id); }

 private:
  const std::unique_ptr<api::ClientReader<Echo>> reader_;
};

class ClientStream final : public StubStream {
 public:
  ClientStream(EchoService::Stub& stub, size_t bytes) : StubStream(bytes), writer_(stub.Sink(&context_, &incoming_)) {}
  bool Write(uint64_t id) override { return WriteTo(*writer_, id); }
  uint64_t Finish() override {
    writer_->WritesDone();
    if (const api::Status status = writer_->Finish(); !status.ok()) Failed(status);
    return incoming_.id();
  }

 private:
  const std::unique_ptr<api::ClientWriter<Echo>> writer_;
};

class BidiStream final : public StubStream {
 public:
  BidiStream(EchoService::Stub& stub, size_t bytes) : StubStream(bytes), stream_(stub.Stream(&context_)) {}
  ~BidiStream() override { (void)stream_->Finish(); }
  bool Write(uint64_t id) override { return WriteTo(*stream_, id); }
  void Read(uint64_t id) override { ReadFrom(*stream_, id); }

 private:
  const std::unique_ptr<api::ClientReaderWriter<Echo, Echo>> stream_;
};

class StubConnection final : public Connection {
 public:
  StubConnection(std::shared_ptr<EchoService::Stub> stub, size_t bytes) : stub_(std::move(stub)), bytes_(bytes) {
    request_.set_payload(Payload(bytes));
  }

  void Echo(uint64_t id) override {
    request_.set_id(id);
    api::ClientContext context;
    if (const api::Status status = stub_->Unary(&context, request_, &response_); !status.ok()) Failed(status);
    CheckAnswer(response_.id(), id, response_.payload(), bytes_);
  }
  void Begin(uint64_t id, std::function<void()> ended) override {
    request_.set_id(id);
    context_.emplace();
    ended_ = std::move(ended);
    stub_->async()->Unary(&*context_, &request_, &response_, [this, id](const api::Status& status) {
      if (!status.ok()) Failed(status);
      CheckAnswer(response_.id(), id, response_.payload(), bytes_);
      std::exchange(ended_, nullptr)();
    });
  }
  std::unique_ptr<Connection> Share() override { return std::make_unique<StubConnection>(stub_, bytes_); }
  std::unique_ptr<MessageStream> Open(Pattern pattern) override {
    if (pattern == Pattern::kServerStream) return std::make_unique<ServerStream>(*stub_, bytes_);
    if (pattern == Pattern::kClientStream) return std::make_unique<ClientStream>(*stub_, bytes_);
    return std::make_unique<BidiStream>(*stub_, bytes_);
  }

 private:
  const std::shared_ptr<EchoService::Stub> stub_;
  const size_t bytes_;
  bench::Echo request_, response_;
  std::optional<api::ClientContext> context_;  // of Begin()
  std::function<void()> ended_;
};

class StubSystem : public EchoSystem {
 public:
  void Serve(const std::string& address, const ReadySignal& ready) override { ServeWith<Handler>(address, ready); }
  std::unique_ptr<Connection> Connect(const std::string& address, size_t bytes) override {
    api::ChannelArguments arguments;
#if defined(BENCH_GRPC)
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // or all channels to one address share a connection
#endif
    return std::make_unique<StubConnection>(
        EchoService::NewStub(api::CreateCustomChannel(address, api::InsecureChannelCredentials(), arguments)), bytes);
  }
};

#if defined(BENCH_GRPC)
class CallbackHandler final : public EchoService::CallbackService {
 public:
  api::ServerUnaryReactor* Unary(api::CallbackServerContext* context, const Echo* request, Echo* response) override {
    Answer(*request, response);
    auto* reactor = context->DefaultReactor();
    reactor->Finish(api::Status::OK);
    return reactor;
  }
};

class CallbackSystem final : public StubSystem {
 public:
  void Serve(const std::string& address, const ReadySignal& ready) override { ServeWith<CallbackHandler>(address, ready); }
};
#endif

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) {
  using namespace ipcrpc::bench;
  return EchoMain(argc, argv, [](std::string_view variant) -> std::unique_ptr<EchoSystem> {
#if defined(BENCH_GRPC)
    if (variant == "callback") return std::make_unique<CallbackSystem>();
#endif
    return variant == "sync" ? std::make_unique<StubSystem>() : nullptr;
  });
}

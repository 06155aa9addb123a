#include "bench/rpc_echo.h"

#include <signal.h>

#include "echo.ipcrpc.pb.h"
#include "ipcrpc/ipcrpc.h"

namespace ipcrpc::bench {
namespace {

class EchoHandler final : public EchoService::Service {
 public:
  Status Unary(ServerContext*, const Echo* request, Echo* response) override {
    response->set_id(request->id());
    response->set_payload(request->payload());
    return Status::OK;
  }
};

class RpcWorkload final : public Workload {
 public:
  explicit RpcWorkload(std::string address) : address_(std::move(address)) {}

  void Serve(const ReadySignal& ready) override {
    sigset_t end;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigprocmask(SIG_BLOCK, &end, nullptr);
    EchoHandler handler;
    ServerBuilder builder;
    builder.AddListeningPort(address_).RegisterService(&handler);
    const std::unique_ptr<Server> server = builder.BuildAndStart();
    if (server == nullptr) Fail(builder.error());
    ready.Tell();
    int signal;
    sigwait(&end, &signal);
    server->Shutdown();
  }

  void Drive(const SharedMemory& sample) override {
    const auto stub = EchoService::NewStub(CreateChannel(address_));
    Echo request, response;
    request.set_payload(std::string(kPayloadBytes, 'x'));
    uint64_t turn = 0;
    Measure(*sample.As<Sample>(), [&] {
      request.set_id(++turn);
      ClientContext context;
      const Status status = stub->Unary(&context, request, &response);
      if (!status.ok()) Fail(address_ + ": " + status.error_message());
      if (response.id() != turn || response.payload().size() != kPayloadBytes) Fail("an answer to another call");
    });
  }

 private:
  const std::string address_;
};

}  // namespace

std::unique_ptr<Workload> RpcEcho(const std::string& address) { return std::make_unique<RpcWorkload>(address); }

}  // namespace ipcrpc::bench

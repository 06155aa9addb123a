// The echo by Cap'n Proto's RPC; blocking calls on an event loop of its own, as its EZ helpers make them.
#include <capnp/ez-rpc.h>

#include "bench/systems/echo_system.h"
#include "echo.capnp.h"

namespace ipcrpc::bench {
namespace {

// Its destructors are no virtual ones, since kj deletes what it made.
#pragma GCC diagnostic ignored "-Wnon-virtual-dtor"
class Handler final : public EchoService::Server {
 protected:
  kj::Promise<void> unary(UnaryContext context) override {
    const Message::Reader request = context.getParams().getRequest();
    Message::Builder response = context.getResults().initResponse();
    response.setId(request.getId());
    response.setPayload(request.getPayload());
    return kj::READY_NOW;
  }
};

class CapnpConnection final : public Connection {
 public:
  CapnpConnection(const std::string& address, size_t bytes)
      : client_(address), service_(client_.getMain<EchoService>()), payload_(Payload(bytes)) {}

  ~CapnpConnection() noexcept override {}  // its own may throw

  void Echo(uint64_t id) override {
    auto call = service_.unaryRequest();
    Message::Builder request = call.initRequest();
    request.setId(id);
    request.setPayload(kj::arrayPtr(reinterpret_cast<const kj::byte*>(payload_.data()), payload_.size()));
    const auto answer = call.send().wait(client_.getWaitScope());
    const auto payload = answer.getResponse().getPayload().asChars();
    CheckAnswer(answer.getResponse().getId(), id, {payload.begin(), payload.size()}, payload_.size());
  }

 private:
  capnp::EzRpcClient client_;
  EchoService::Client service_;
  const std::string payload_;
};

class CapnpSystem final : public EchoSystem {
 public:
  void Serve(const std::string& address, const ReadySignal& ready) override {
    capnp::EzRpcServer server(kj::heap<Handler>(), address);
    kj::WaitScope& scope = server.getWaitScope();
    server.getPort().wait(scope);  // it listens
    ready.Tell();
    kj::NEVER_DONE.wait(scope);
  }
  std::unique_ptr<Connection> Connect(const std::string& address, size_t bytes) override {
    return std::make_unique<CapnpConnection>(address, bytes);
  }
};

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) {
  using namespace ipcrpc::bench;
  return EchoMain(argc, argv, [](std::string_view) { return std::make_unique<CapnpSystem>(); });
}

// The echo by Thrift: framed, binary protocol; a thread for each connection in the server.
#include <thrift/protocol/TBinaryProtocol.h>
#include <thrift/server/TThreadedServer.h>
#include <thrift/transport/TBufferTransports.h>
#include <thrift/transport/TServerSocket.h>
#include <thrift/transport/TSocket.h>

#include "EchoService.h"
#include "bench/systems/echo_system.h"

namespace ipcrpc::bench {
namespace {

using apache::thrift::protocol::TBinaryProtocol;
using apache::thrift::protocol::TBinaryProtocolFactory;
using apache::thrift::transport::TFramedTransport;
using apache::thrift::transport::TServerSocket;
using apache::thrift::transport::TSocket;
using apache::thrift::transport::TTransport;

// Its version 0.17 takes the bytes of each message off an account of 100 MB and gives none back (THRIFT-5492).
class Framed final : public TFramedTransport {
 public:
  using TFramedTransport::TFramedTransport;
  uint32_t readEnd() override {
    resetConsumedMessageSize();
    return TFramedTransport::readEnd();
  }
};

class FramedFactory final : public apache::thrift::transport::TTransportFactory {
 public:
  std::shared_ptr<TTransport> getTransport(std::shared_ptr<TTransport> transport) override {
    return std::make_shared<Framed>(transport);
  }
};

class Handler final : public EchoServiceIf {
 public:
  void unary(Message& response, const Message& request) override { response = request; }
};

// Tells that it listens.
class Events final : public apache::thrift::server::TServerEventHandler {
 public:
  explicit Events(const ReadySignal& ready) : ready_(ready) {}
  void preServe() override { ready_.Tell(); }

 private:
  const ReadySignal& ready_;
};

class ThriftConnection final : public Connection {
 public:
  ThriftConnection(const std::string& path, size_t bytes)
      : socket_(std::make_shared<TSocket>(path)),
        transport_(std::make_shared<Framed>(socket_)),
        client_(std::make_shared<TBinaryProtocol>(transport_)) {
    request_.payload = Payload(bytes);
    socket_->open();
  }
  ~ThriftConnection() override { transport_->close(); }

  void Echo(uint64_t id) override {
    request_.id = static_cast<int64_t>(id);
    client_.unary(response_, request_);
    CheckAnswer(static_cast<uint64_t>(response_.id), id, response_.payload, request_.payload.size());
  }

 private:
  const std::shared_ptr<TSocket> socket_;
  const std::shared_ptr<Framed> transport_;
  EchoServiceClient client_;
  Message request_, response_;
};

class ThriftSystem final : public EchoSystem {
 public:
  void Serve(const std::string& path, const ReadySignal& ready) override {
    apache::thrift::server::TThreadedServer server(
        std::make_shared<EchoServiceProcessor>(std::make_shared<Handler>()), std::make_shared<TServerSocket>(path),
        std::make_shared<FramedFactory>(), std::make_shared<TBinaryProtocolFactory>());
    server.setServerEventHandler(std::make_shared<Events>(ready));
    server.serve();
  }
  std::unique_ptr<Connection> Connect(const std::string& path, size_t bytes) override {
    return std::make_unique<ThriftConnection>(path, bytes);
  }
};

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) {
  using namespace ipcrpc::bench;
  return EchoMain(argc, argv, [](std::string_view) { return std::make_unique<ThriftSystem>(); });
}

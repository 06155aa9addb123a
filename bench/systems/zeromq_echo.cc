// The echo by ZeroMQ's REQ and REP sockets, with protobuf messages.
#include <errno.h>
#include <zmq.h>

#include "bench/systems/echo_system.h"
#include "echo.pb.h"

namespace ipcrpc::bench {
namespace {

class Context {
 public:
  Context() : context_(zmq_ctx_new()) { zmq_ctx_set(context_, ZMQ_MAX_SOCKETS, 4096); }
  ~Context() { zmq_ctx_term(context_); }
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;
  void* get() const { return context_; }

 private:
  void* const context_;
};

class Socket {
 public:
  Socket(const Context& context, int kind) : socket_(zmq_socket(context.get(), kind)) {
    if (socket_ == nullptr) Failed("zmq_socket");
    const int none = 0;
    zmq_setsockopt(socket_, ZMQ_LINGER, &none, sizeof(none));
  }
  ~Socket() { zmq_close(socket_); }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  void Bind(const std::string& address) {
    if (zmq_bind(socket_, address.c_str()) != 0) Failed("zmq_bind");
  }
  void Connect(const std::string& address) {
    if (zmq_connect(socket_, address.c_str()) != 0) Failed("zmq_connect");
  }
  void Send(const bench::Echo& message) {
    zmq_msg_t frame;
    zmq_msg_init_size(&frame, message.ByteSizeLong());
    message.SerializeWithCachedSizesToArray(static_cast<uint8_t*>(zmq_msg_data(&frame)));
    if (zmq_msg_send(&frame, socket_, 0) < 0) Failed("zmq_msg_send");
  }
  void Receive(bench::Echo& message) {
    zmq_msg_t frame;
    zmq_msg_init(&frame);
    if (zmq_msg_recv(&frame, socket_, 0) < 0) Failed("zmq_msg_recv");
    if (!message.ParseFromArray(zmq_msg_data(&frame), static_cast<int>(zmq_msg_size(&frame)))) Fail("a message that does not parse");
    zmq_msg_close(&frame);
  }

 private:
  [[noreturn]] static void Failed(const std::string& what) { Fail(what + ": " + zmq_strerror(errno)); }

  void* const socket_;
};

class ZeromqConnection final : public Connection {
 public:
  ZeromqConnection(const Context& context, const std::string& address, size_t bytes) : socket_(context, ZMQ_REQ), bytes_(bytes) {
    request_.set_payload(Payload(bytes));
    socket_.Connect(address);
  }

  void Echo(uint64_t id) override {
    request_.set_id(id);
    socket_.Send(request_);
    socket_.Receive(response_);
    CheckAnswer(response_.id(), id, response_.payload(), bytes_);
  }

 private:
  Socket socket_;
  const size_t bytes_;
  bench::Echo request_, response_;
};

class ZeromqSystem final : public EchoSystem {
 public:
  void Serve(const std::string& address, const ReadySignal& ready) override {
    Socket socket(context_, ZMQ_REP);
    socket.Bind(address);
    ready.Tell();
    for (bench::Echo request, response;;) {
      socket.Receive(request);
      response.set_id(request.id());
      response.set_payload(request.payload());
      socket.Send(response);
    }
  }
  std::unique_ptr<Connection> Connect(const std::string& address, size_t bytes) override {
    return std::make_unique<ZeromqConnection>(context_, address, bytes);
  }

 private:
  const Context context_;
};

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) {
  using namespace ipcrpc::bench;
  return EchoMain(argc, argv, [](std::string_view) { return std::make_unique<ZeromqSystem>(); });
}

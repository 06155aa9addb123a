// What generated code and the stream templates stand on: one call, its messages without their types.
// Not for users.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "ipcrpc/export.h"
#include "ipcrpc/status.h"
#include "ipcrpc/write_options.h"

namespace ipcrpc {

class Slice;
class ChannelInterface;
class ClientContext;
class ServerContext;
namespace rpc {
class RunTimes;
}

namespace internal {

class ServerCallbackCall;

// Where a message goes that is written in pieces.
class MessageSink {
 public:
  // Room for its next bytes, one at least and never more than it still has; what was given before is full. Until it is whole.
  virtual std::span<std::byte> Next() = 0;

 protected:
  ~MessageSink() = default;
};

// A message to send, whatever its type. `size` is called once, just before `write` or `write_pieces`, which fill exactly so many
// bytes; the memory may be the ring itself, where the peer sees whatever is written at once.
struct OutgoingMessage {
  const void* message;
  size_t (*size)(const void* message);
  void (*write)(const void* message, std::byte* out, size_t size);
  void (*write_pieces)(const void* message, MessageSink& sink, size_t size) = nullptr;  // null: it goes in one piece
  // After `size`: what it consists of, which may lie where the peer can read it. Borrowed until `write` or `write_pieces`. Null: it is
  // no such message.
  std::span<const Slice> (*slices)(const void* message) = nullptr;
  // Instead of `write`, where the slices were enough: lets go of what `size` may have made. Null: of nothing.
  void (*forget)(const void* message) = nullptr;
};

// Where to put a received message. `parse` overwrites, never merges; false when the bytes do not parse.
struct IncomingMessage {
  void* message;
  bool (*parse)(void* message, const std::byte* data, size_t size);
  // The same, of bytes that may be kept. Null: it needs them in one piece.
  bool (*adopt)(void* message, std::span<const Slice> slices) = nullptr;
};

// One method of a service as a stub knows it. Constant and cheap to copy.
class IPCRPC_EXPORT RpcMethod {
 public:
  enum RpcType { NORMAL_RPC = 0, CLIENT_STREAMING, SERVER_STREAMING, BIDI_STREAMING };

  // `name` is "/package.Service/Method", and one of the program's text: the process remembers it for good.
  RpcMethod(const char* name, RpcType type);
  // Of names that come up at run time. The process remembers the first thousand or so; each further one lives as long as what
  // is made with it, is sent with each call, and shares its times with all of its kind.
  static RpcMethod AtRunTime(const std::string& name, RpcType type);

  const char* name() const { return name_; }
  RpcType method_type() const { return type_; }
  // Same name, same id, in this process; kNoId for those that are not remembered.
  uint32_t id() const { return id_; }
  static constexpr uint32_t kNoId = UINT32_MAX;
  // How long the reactions to its calls take in this process.
  rpc::RunTimes& times() const { return *times_; }

 private:
  struct Known;
  class KnownNames;

  RpcMethod(const Known& known, RpcType type);

  const char* name_;
  RpcType type_;
  uint32_t id_;
  rpc::RunTimes* times_;
  std::shared_ptr<const std::string> own_name_;  // where it is not remembered
};

// The client's side of one call. One reading and one writing thread at a time; everything blocks until done, the
// deadline or cancellation. Once the call is over reads and writes return false, and Finish() tells why.
class IPCRPC_EXPORT ClientCall {
 public:
  // Begins the call. With `request`, sends it and half-closes in the same frame (unary request). Never fails: an
  // unreachable server shows in Finish(). `at_once`: this thread goes on to Finish(), with a response, without waiting for
  // anything else; until then it may hold up what other calls of the connection get.
  static std::unique_ptr<ClientCall> Start(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                                           const OutgoingMessage* request, bool at_once = false);
  virtual ~ClientCall() = default;  // not finished: cancels

  virtual bool Write(const OutgoingMessage& message, WriteOptions options) = 0;
  virtual bool WritesDone() = 0;
  // The next message. False: end of stream, call over, or a message that does not parse (then Finish() says INTERNAL).
  virtual bool Read(const IncomingMessage& message) = 0;
  // The size in bytes of the next message, waiting for it; false when there is none.
  virtual bool NextMessageSize(uint32_t* size) = 0;
  virtual void WaitForInitialMetadata() = 0;
  // Waits for the status. With `response`, first takes the one response message of a client-streaming call.
  virtual Status Finish(const IncomingMessage* response) = 0;
};

IPCRPC_EXPORT Status BlockingUnaryCall(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                                       const OutgoingMessage& request, const IncomingMessage& response);

// The server's side of one streaming call, for the length of its handler. One reader and one writer thread.
class IPCRPC_EXPORT ServerCall {
 public:
  virtual ServerContext* context() = 0;
  virtual bool Read(const IncomingMessage& message) = 0;
  virtual bool NextMessageSize(uint32_t* size) = 0;
  virtual bool Write(const OutgoingMessage& message, WriteOptions options) = 0;
  virtual void SendInitialMetadata() = 0;

 protected:
  ~ServerCall() = default;
};

// Takes the end of a unary call: its status and, when that is OK, the response. Call exactly once.
class UnaryReply {
 public:
  virtual void Finish(const Status& status, const OutgoingMessage* response) = 0;

 protected:
  ~UnaryReply() = default;
};

// Runs one method of a service. Thread-safe: many calls at once.
class IPCRPC_EXPORT MethodHandler {
 public:
  virtual ~MethodHandler() = default;

  // NORMAL_RPC: parses `request` (private memory), runs the handler, finishes.
  virtual void RunUnary(ServerContext* context, std::span<const std::byte> request, UnaryReply& reply);
  // Other kinds: runs the handler to its end, on a worker thread. A client-streaming handler writes its one
  // response with `call.Write` (WriteOptions().set_last_message()) before it returns OK. So does a unary one, which is run
  // this way, on any thread, where its messages are intercepted.
  virtual Status RunStream(ServerCall& call);

  // Whether calls of any kind are begun with RunCallback() instead: it starts the handler and returns.
  virtual bool is_callback() const { return false; }
  virtual void RunCallback(ServerCallbackCall& call);
};

// One method of a service as the server knows it.
class IPCRPC_EXPORT RpcServiceMethod {
 public:
  RpcServiceMethod(const char* name, RpcMethod::RpcType type, std::unique_ptr<MethodHandler> handler)
      : name_(name), type_(type), handler_(std::move(handler)) {}

  const std::string& name() const { return name_; }
  RpcMethod::RpcType method_type() const { return type_; }
  MethodHandler* handler() const { return handler_.get(); }
  void set_handler(std::unique_ptr<MethodHandler> handler) { handler_ = std::move(handler); }

 private:
  std::string name_;
  RpcMethod::RpcType type_;
  std::unique_ptr<MethodHandler> handler_;
};

}  // namespace internal
}  // namespace ipcrpc

// The coroutine API. A stub's co() gives calls to be awaited, a service's CoroutineService (or WithCoroutineMethod_X, method
// by method) has handlers that are coroutines. Include this before or after a generated header, whose coroutine parts cost
// nothing without it.
//
//   ipcrpc::Task<> Ask(Stub* stub) {
//     ipcrpc::ClientContext context;
//     Reply reply;
//     ipcrpc::Status status = co_await stub->co()->Greet(&context, request, &reply);
//   }
//
// No thread waits. A coroutine goes on where the reaction to the operation runs, on a thread of the library, and should not
// block there; or on the executor of its task (see task.h). Contexts and messages must outlive the operations they are given
// to, as for the callback API; what is destroyed while it waits lets go of them, and its call is cancelled.
//
// At most one read and one write (or WritesDone) may be outstanding, by two coroutines for instance.
#pragma once

#include <coroutine>
#include <utility>

#include "ipcrpc/internal/coroutine_call.h"
#include "ipcrpc/internal/message_codec.h"
#include "ipcrpc/status.h"
#include "ipcrpc/task.h"
#include "ipcrpc/write_options.h"

namespace ipcrpc {
namespace internal {

// What may be awaited of either side's call: each a bool, or the status.

template <class Call>
auto AwaitInitialMetadata(Call* awaited) {
  return Awaiting(
      awaited, [](Call* call, Waiter waiter) { call->SendInitialMetadata(waiter); }, [](Call* call) { return call->initial_ok(); });
}

inline auto AwaitInitialMetadata(ClientCoroutineCall* awaited) {
  return Awaiting(
      awaited, [](ClientCoroutineCall* call, Waiter waiter) { call->ReadInitialMetadata(waiter); },
      [](ClientCoroutineCall* call) { return call->initial_ok(); });
}

template <class Call, class Message>
auto AwaitRead(Call* awaited, Message* message) {
  return Awaiting(
      awaited, [message](Call* call, Waiter waiter) { call->Read(Incoming(message), waiter); },
      [](Call* call) { return call->read_ok(); });
}

template <class Call, class Message>
auto AwaitWrite(Call* awaited, const Message* message, WriteOptions options) {
  return Awaiting(
      awaited, [message, options](Call* call, Waiter waiter) { call->Write(Outgoing(*message), options, waiter); },
      [](Call* call) { return call->write_ok(); });
}

inline auto AwaitWritesDone(ClientCoroutineCall* awaited) {
  return Awaiting(
      awaited, [](ClientCoroutineCall* call, Waiter waiter) { call->WritesDone(waiter); },
      [](ClientCoroutineCall* call) { return call->write_ok(); });
}

inline auto AwaitFinish(ClientCoroutineCall* awaited) {
  return Awaiting(
      awaited, [](ClientCoroutineCall* call, Waiter waiter) { call->Finish(waiter); },
      [](ClientCoroutineCall* call) { return call->TakeStatus(); });
}

}  // namespace internal

namespace co {

// ---- client ----------------------------------------------------------------------------------

// A unary call: begins when it is awaited, in the expression that makes it. Its result is the status; with OK the response is
// filled.
class [[nodiscard]] UnaryCall {
 public:
  UnaryCall(ChannelInterface* channel, const internal::RpcMethod& method, ClientContext* context,
            internal::OutgoingMessage request, internal::IncomingMessage response)
      : channel_(channel), method_(method), context_(context), request_(request), response_(response) {}
  UnaryCall(const UnaryCall&) = delete;
  UnaryCall& operator=(const UnaryCall&) = delete;

  bool await_ready() noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> coroutine) {
    call_ = internal::ClientCoroutineCall::MakeUnary(channel_, method_, context_, request_, response_);
    call_->Finish(internal::Waiter(coroutine));
  }
  Status await_resume() { return call_->TakeStatus(); }

 private:
  ChannelInterface* const channel_;
  const internal::RpcMethod& method_;
  ClientContext* const context_;
  const internal::OutgoingMessage request_;
  const internal::IncomingMessage response_;
  internal::ClientCoroutineCall::Owner call_;
};

// Streams, which have begun when they are made. Movable. Destroyed before Finish() has ended: the call is cancelled.
// Reads and writes give false once nothing more can be: at the end of the stream or of the call, and Finish() tells which.

// Both ways.
template <class Request, class Response>
class [[nodiscard]] ClientReaderWriter {
 public:
  explicit ClientReaderWriter(internal::ClientCoroutineCall::Owner call) : call_(std::move(call)) {}

  // Until the server's initial metadata are there, or the call is over without: false. The first Read() brings them, too.
  auto ReadInitialMetadata() { return internal::AwaitInitialMetadata(call_.get()); }
  auto Read(Response* response) { return internal::AwaitRead(call_.get(), response); }
  auto Write(const Request& request, WriteOptions options = WriteOptions()) {
    return internal::AwaitWrite(call_.get(), &request, options);
  }
  // The last one: no WritesDone() is needed.
  auto WriteLast(const Request& request, WriteOptions options = WriteOptions()) {
    return Write(request, options.set_last_message());
  }
  auto WritesDone() { return internal::AwaitWritesDone(call_.get()); }
  // The end of the call: its status. Once, and last; what has not been read is dropped.
  auto Finish() { return internal::AwaitFinish(call_.get()); }

 private:
  internal::ClientCoroutineCall::Owner call_;
};

// Server streaming; see ClientReaderWriter.
template <class Response>
class [[nodiscard]] ClientReader {
 public:
  explicit ClientReader(internal::ClientCoroutineCall::Owner call) : call_(std::move(call)) {}

  auto ReadInitialMetadata() { return internal::AwaitInitialMetadata(call_.get()); }
  auto Read(Response* response) { return internal::AwaitRead(call_.get(), response); }
  auto Finish() { return internal::AwaitFinish(call_.get()); }

 private:
  internal::ClientCoroutineCall::Owner call_;
};

// Client streaming; see ClientReaderWriter. The response is filled when Finish() gives OK.
template <class Request>
class [[nodiscard]] ClientWriter {
 public:
  explicit ClientWriter(internal::ClientCoroutineCall::Owner call) : call_(std::move(call)) {}

  auto ReadInitialMetadata() { return internal::AwaitInitialMetadata(call_.get()); }
  auto Write(const Request& request, WriteOptions options = WriteOptions()) {
    return internal::AwaitWrite(call_.get(), &request, options);
  }
  auto WriteLast(const Request& request, WriteOptions options = WriteOptions()) {
    return Write(request, options.set_last_message());
  }
  auto WritesDone() { return internal::AwaitWritesDone(call_.get()); }
  auto Finish() { return internal::AwaitFinish(call_.get()); }

 private:
  internal::ClientCoroutineCall::Owner call_;
};

// ---- server ----------------------------------------------------------------------------------

// A handler's streams, valid until its task has ended. Reads and writes give false once nothing more can be: the client has
// said its last, or is gone, which the context's IsCancelled() tells.

// Both ways.
template <class Response, class Request>
class ServerReaderWriter {
 public:
  explicit ServerReaderWriter(internal::ServerCoroutineCall* call) : call_(call) {}
  ServerReaderWriter(const ServerReaderWriter&) = delete;
  ServerReaderWriter& operator=(const ServerReaderWriter&) = delete;

  // Sends CallbackServerContext::AddInitialMetadata()'s at once rather than with the first message or the status.
  auto SendInitialMetadata() { return internal::AwaitInitialMetadata(call_); }
  auto Read(Request* request) { return internal::AwaitRead(call_, request); }
  auto Write(const Response& response, WriteOptions options = WriteOptions()) {
    return internal::AwaitWrite(call_, &response, options);
  }
  // The last one, which goes with the status.
  auto WriteLast(const Response& response, WriteOptions options = WriteOptions()) {
    return Write(response, options.set_last_message());
  }

 private:
  internal::ServerCoroutineCall* const call_;
};

// Client streaming; see ServerReaderWriter.
template <class Request>
class ServerReader {
 public:
  explicit ServerReader(internal::ServerCoroutineCall* call) : call_(call) {}
  ServerReader(const ServerReader&) = delete;
  ServerReader& operator=(const ServerReader&) = delete;

  auto SendInitialMetadata() { return internal::AwaitInitialMetadata(call_); }
  auto Read(Request* request) { return internal::AwaitRead(call_, request); }

 private:
  internal::ServerCoroutineCall* const call_;
};

// Server streaming; see ServerReaderWriter.
template <class Response>
class ServerWriter {
 public:
  explicit ServerWriter(internal::ServerCoroutineCall* call) : call_(call) {}
  ServerWriter(const ServerWriter&) = delete;
  ServerWriter& operator=(const ServerWriter&) = delete;

  auto SendInitialMetadata() { return internal::AwaitInitialMetadata(call_); }
  auto Write(const Response& response, WriteOptions options = WriteOptions()) {
    return internal::AwaitWrite(call_, &response, options);
  }
  auto WriteLast(const Response& response, WriteOptions options = WriteOptions()) {
    return Write(response, options.set_last_message());
  }

 private:
  internal::ServerCoroutineCall* const call_;
};

}  // namespace co
}  // namespace ipcrpc

#include "ipcrpc/internal/coroutine_handler.h"

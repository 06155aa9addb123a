// The callback API, client: calls that nobody waits for. What a stub's async() takes are reactors: objects of the user
// whose operations (Start…) return at once and whose reactions (On…) follow when they are complete.
//
// Nothing happens before StartCall(); operations started before it are kept. At most one read and one write may be
// outstanding. Operations are started from reactions, or, while a hold is in place, from anywhere.
//
// Reactions run on threads of the library, never inside of the call that started them, and those of one call one after
// the other. They should not block: one that does holds up its own call alone, but costs a thread meanwhile.
#pragma once

#include <functional>
#include <new>
#include <utility>

#include "ipcrpc/internal/callback_call.h"
#include "ipcrpc/internal/message_codec.h"
#include "ipcrpc/status.h"
#include "ipcrpc/write_options.h"

namespace ipcrpc {

template <class Request, class Response>
class ClientBidiReactor;
template <class Response>
class ClientReadReactor;
template <class Request>
class ClientWriteReactor;
class ClientUnaryReactor;

// What reactors pass their operations on to: the call, or, in a test, a mock that binds itself to the reactor.

template <class Request, class Response>
class ClientCallbackReaderWriter {
 public:
  virtual ~ClientCallbackReaderWriter() = default;
  virtual void StartCall() = 0;
  virtual void Write(const Request* request, WriteOptions options) = 0;
  virtual void WritesDone() = 0;
  virtual void Read(Response* response) = 0;
  virtual void AddHold(int holds) = 0;
  virtual void RemoveHold() = 0;

 protected:
  void BindReactor(ClientBidiReactor<Request, Response>* reactor) { reactor->stream_ = this; }
};

template <class Response>
class ClientCallbackReader {
 public:
  virtual ~ClientCallbackReader() = default;
  virtual void StartCall() = 0;
  virtual void Read(Response* response) = 0;
  virtual void AddHold(int holds) = 0;
  virtual void RemoveHold() = 0;

 protected:
  void BindReactor(ClientReadReactor<Response>* reactor) { reactor->reader_ = this; }
};

template <class Request>
class ClientCallbackWriter {
 public:
  virtual ~ClientCallbackWriter() = default;
  virtual void StartCall() = 0;
  void Write(const Request* request) { Write(request, WriteOptions()); }
  virtual void Write(const Request* request, WriteOptions options) = 0;
  void WriteLast(const Request* request, WriteOptions options) { Write(request, options.set_last_message()); }
  virtual void WritesDone() = 0;
  virtual void AddHold(int holds) = 0;
  virtual void RemoveHold() = 0;

 protected:
  void BindReactor(ClientWriteReactor<Request>* reactor) { reactor->writer_ = this; }
};

class ClientCallbackUnary {
 public:
  virtual ~ClientCallbackUnary() = default;
  virtual void StartCall() = 0;

 protected:
  inline void BindReactor(ClientUnaryReactor* reactor);
};

// Both ways.
template <class Request, class Response>
class ClientBidiReactor : public internal::ClientReactor {
 public:
  void StartCall() { stream_->StartCall(); }
  // Reads the next message into `*response`, which must live until OnReadDone().
  void StartRead(Response* response) { stream_->Read(response); }
  // Writes a message, which must live unchanged until OnWriteDone().
  void StartWrite(const Request* request) { StartWrite(request, WriteOptions()); }
  void StartWrite(const Request* request, WriteOptions options) { stream_->Write(request, options); }
  // The last message: tells the server that none follows. One OnWriteDone(), no OnWritesDoneDone().
  void StartWriteLast(const Request* request, WriteOptions options) { StartWrite(request, options.set_last_message()); }
  // Tells the server that no message follows.
  void StartWritesDone() { stream_->WritesDone(); }

  // As long as there is a hold, OnDone() does not come, and operations may be started from outside of reactions. Add
  // them before StartCall().
  void AddHold() { AddMultipleHolds(1); }
  void AddMultipleHolds(int holds) { stream_->AddHold(holds); }
  void RemoveHold() { stream_->RemoveHold(); }

  void OnDone(const Status& /*status*/) override {}
  // Not `ok`: the call ended without initial metadata. Before OnReadDone() and OnDone().
  void OnReadInitialMetadataDone(bool /*ok*/) override {}
  // Not `ok`: the end of the stream or of the call.
  void OnReadDone(bool /*ok*/) override {}
  // Not `ok`: the call is over.
  void OnWriteDone(bool /*ok*/) override {}
  void OnWritesDoneDone(bool /*ok*/) override {}

 private:
  friend class ClientCallbackReaderWriter<Request, Response>;
  ClientCallbackReaderWriter<Request, Response>* stream_ = nullptr;
};

// Server streaming; see ClientBidiReactor.
template <class Response>
class ClientReadReactor : public internal::ClientReactor {
 public:
  void StartCall() { reader_->StartCall(); }
  void StartRead(Response* response) { reader_->Read(response); }

  void AddHold() { AddMultipleHolds(1); }
  void AddMultipleHolds(int holds) { reader_->AddHold(holds); }
  void RemoveHold() { reader_->RemoveHold(); }

  void OnDone(const Status& /*status*/) override {}
  void OnReadInitialMetadataDone(bool /*ok*/) override {}
  void OnReadDone(bool /*ok*/) override {}

 private:
  friend class ClientCallbackReader<Response>;
  ClientCallbackReader<Response>* reader_ = nullptr;
};

// Client streaming; see ClientBidiReactor. The response is filled before OnDone() gets OK.
template <class Request>
class ClientWriteReactor : public internal::ClientReactor {
 public:
  void StartCall() { writer_->StartCall(); }
  void StartWrite(const Request* request) { StartWrite(request, WriteOptions()); }
  void StartWrite(const Request* request, WriteOptions options) { writer_->Write(request, options); }
  void StartWriteLast(const Request* request, WriteOptions options) { StartWrite(request, options.set_last_message()); }
  void StartWritesDone() { writer_->WritesDone(); }

  void AddHold() { AddMultipleHolds(1); }
  void AddMultipleHolds(int holds) { writer_->AddHold(holds); }
  void RemoveHold() { writer_->RemoveHold(); }

  void OnDone(const Status& /*status*/) override {}
  void OnReadInitialMetadataDone(bool /*ok*/) override {}
  void OnWriteDone(bool /*ok*/) override {}
  void OnWritesDoneDone(bool /*ok*/) override {}

 private:
  friend class ClientCallbackWriter<Request>;
  ClientCallbackWriter<Request>* writer_ = nullptr;
};

// A unary call that wants to hear of the initial metadata; most take a function instead.
class ClientUnaryReactor : public internal::ClientReactor {
 public:
  void StartCall() { call_->StartCall(); }

  void OnDone(const Status& /*status*/) override {}
  void OnReadInitialMetadataDone(bool /*ok*/) override {}

 private:
  friend class ClientCallbackUnary;
  ClientCallbackUnary* call_ = nullptr;
};

inline void ClientCallbackUnary::BindReactor(ClientUnaryReactor* reactor) { reactor->call_ = this; }

namespace internal {

// A call with the types of its messages, in the call's own memory.

// Made in the memory that the call keeps for it; nothing of it needs destruction.
template <class Front, class Reactor>
void MakeFront(ClientCallbackCall* call, Reactor* reactor) {
  static_assert(sizeof(Front) <= ClientCallbackCall::kFrontBytes);
  new (call->front_memory()) Front(call, reactor);
}

template <class Request, class Response>
class ClientCallbackReaderWriterFront final : public ClientCallbackReaderWriter<Request, Response> {
 public:
  ClientCallbackReaderWriterFront(ClientCallbackCall* call, ClientBidiReactor<Request, Response>* reactor) : call_(call) {
    this->BindReactor(reactor);
  }
  void StartCall() override { call_->Start(); }
  void Write(const Request* request, WriteOptions options) override { call_->Write(Outgoing(*request), options); }
  void WritesDone() override { call_->WritesDone(); }
  void Read(Response* response) override { call_->Read(Incoming(response)); }
  void AddHold(int holds) override { call_->AddHold(holds); }
  void RemoveHold() override { call_->RemoveHold(); }

 private:
  ClientCallbackCall* const call_;
};

template <class Response>
class ClientCallbackReaderFront final : public ClientCallbackReader<Response> {
 public:
  ClientCallbackReaderFront(ClientCallbackCall* call, ClientReadReactor<Response>* reactor) : call_(call) {
    this->BindReactor(reactor);
  }
  void StartCall() override { call_->Start(); }
  void Read(Response* response) override { call_->Read(Incoming(response)); }
  void AddHold(int holds) override { call_->AddHold(holds); }
  void RemoveHold() override { call_->RemoveHold(); }

 private:
  ClientCallbackCall* const call_;
};

template <class Request>
class ClientCallbackWriterFront final : public ClientCallbackWriter<Request> {
 public:
  ClientCallbackWriterFront(ClientCallbackCall* call, ClientWriteReactor<Request>* reactor) : call_(call) {
    this->BindReactor(reactor);
  }
  void StartCall() override { call_->Start(); }
  void Write(const Request* request, WriteOptions options) override { call_->Write(Outgoing(*request), options); }
  void WritesDone() override { call_->WritesDone(); }
  void AddHold(int holds) override { call_->AddHold(holds); }
  void RemoveHold() override { call_->RemoveHold(); }

 private:
  ClientCallbackCall* const call_;
};

class ClientCallbackUnaryFront final : public ClientCallbackUnary {
 public:
  ClientCallbackUnaryFront(ClientCallbackCall* call, ClientUnaryReactor* reactor) : call_(call) { BindReactor(reactor); }
  void StartCall() override { call_->Start(); }

 private:
  ClientCallbackCall* const call_;
};

// What stubs make their calls with.

template <class Request, class Response>
void CallbackUnaryCall(ChannelInterface* channel, const RpcMethod& method, ClientContext* context, const Request* request,
                       Response* response, std::function<void(Status)> on_done) {
  CallbackUnaryCall(channel, method, context, Outgoing(*request), Incoming(response), std::move(on_done));
}

template <class Request, class Response>
void CallbackUnaryCall(ChannelInterface* channel, const RpcMethod& method, ClientContext* context, const Request* request,
                       Response* response, ClientUnaryReactor* reactor) {
  const OutgoingMessage outgoing = Outgoing(*request);
  const IncomingMessage incoming = Incoming(response);
  MakeFront<ClientCallbackUnaryFront>(ClientCallbackCall::Make(channel, method, context, reactor, &outgoing, &incoming), reactor);
}

template <class Request, class Response>
void CallbackStreamingCall(ChannelInterface* channel, const RpcMethod& method, ClientContext* context, Response* response,
                           ClientWriteReactor<Request>* reactor) {
  const IncomingMessage incoming = Incoming(response);
  MakeFront<ClientCallbackWriterFront<Request>>(ClientCallbackCall::Make(channel, method, context, reactor, nullptr, &incoming),
                                                reactor);
}

template <class Request, class Response>
void CallbackStreamingCall(ChannelInterface* channel, const RpcMethod& method, ClientContext* context, const Request* request,
                           ClientReadReactor<Response>* reactor) {
  const OutgoingMessage outgoing = Outgoing(*request);
  MakeFront<ClientCallbackReaderFront<Response>>(ClientCallbackCall::Make(channel, method, context, reactor, &outgoing, nullptr),
                                                 reactor);
}

template <class Request, class Response>
void CallbackStreamingCall(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                           ClientBidiReactor<Request, Response>* reactor) {
  MakeFront<ClientCallbackReaderWriterFront<Request, Response>>(
      ClientCallbackCall::Make(channel, method, context, reactor, nullptr, nullptr), reactor);
}

}  // namespace internal
}  // namespace ipcrpc

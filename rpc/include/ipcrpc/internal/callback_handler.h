// Callback handlers with the types of their messages, over calls without: what generated services register.
// Not for users.
#pragma once

#include <functional>
#include <memory>
#include <new>
#include <utility>

#include "ipcrpc/internal/callback_call.h"
#include "ipcrpc/internal/message_codec.h"
#include "ipcrpc/internal/method_handler.h"
#include "ipcrpc/server_context.h"
#include "ipcrpc/status.h"
#include "ipcrpc/support/message_allocator.h"
#include "ipcrpc/support/server_callback.h"

namespace ipcrpc::internal {

// The same as gRPC's callback handlers say.
inline Status CallbackRequestDoesNotParse() { return Status(StatusCode::UNIMPLEMENTED, "the request does not parse"); }

// Runs the user's handler, and binds the reactor that it returns.
template <class Handler>
void BindReactorOf(ServerCallbackCall& call, const OutgoingMessage* response, Handler&& handler) {
  decltype(handler()) reactor = nullptr;
  const Status status = CatchingStatus([&] {
    reactor = handler();
    return reactor != nullptr ? Status() : Status(StatusCode::UNIMPLEMENTED, "the method is not implemented");
  });
  if (status.ok()) {
    call.Bind(reactor, response);
  } else {
    call.FailAtOnce(status);
  }
}

// A T that lives as long as the call.
template <class T>
T* MessageOf(ServerCallbackCall& call) {
  T* const message = new (call.Allocate(sizeof(T))) T();
  call.ReleaseAtEnd(message, [](void* object) { static_cast<T*>(object)->~T(); });
  return message;
}

template <class Request, class Response>
class DefaultMessageHolder final : public MessageHolder<Request, Response> {
 public:
  DefaultMessageHolder() {
    this->set_request(&request_);
    this->set_response(&response_);
  }
  void Release() override { this->~DefaultMessageHolder(); }  // the memory is the call's

 private:
  Request request_;
  Response response_;
};

// The four shapes.

template <class Request, class Response>
class CallbackUnaryHandler final : public MethodHandler {
 public:
  using GetReactor = std::function<ServerUnaryReactor*(CallbackServerContext*, const Request*, Response*)>;
  explicit CallbackUnaryHandler(GetReactor get_reactor) : get_reactor_(std::move(get_reactor)) {}

  void SetMessageAllocator(MessageAllocator<Request, Response>* allocator) { allocator_ = allocator; }

  bool is_callback() const override { return true; }
  void RunCallback(ServerCallbackCall& call) override {
    using Holder = MessageHolder<Request, Response>;
    using Default = DefaultMessageHolder<Request, Response>;
    Holder* const holder = allocator_ != nullptr ? allocator_->AllocateMessages() : new (call.Allocate(sizeof(Default))) Default;
    call.ReleaseAtEnd(holder, [](void* object) { static_cast<Holder*>(object)->Release(); });
    call.context()->allocator_state_ = holder;
    if (!call.ParseRequest(Incoming(holder->request()))) return call.FailAtOnce(CallbackRequestDoesNotParse());
    call.AfterRequest(holder->request(), [this, &call, holder] {
      const OutgoingMessage response = Outgoing(*holder->response());
      BindReactorOf(call, &response, [&] { return get_reactor_(call.context(), holder->request(), holder->response()); });
    });
  }

 private:
  const GetReactor get_reactor_;
  MessageAllocator<Request, Response>* allocator_ = nullptr;
};

template <class Request, class Response>
class CallbackClientStreamingHandler final : public MethodHandler {
 public:
  using GetReactor = std::function<ServerReadReactor<Request>*(CallbackServerContext*, Response*)>;
  explicit CallbackClientStreamingHandler(GetReactor get_reactor) : get_reactor_(std::move(get_reactor)) {}

  bool is_callback() const override { return true; }
  void RunCallback(ServerCallbackCall& call) override {
    Response* const response = MessageOf<Response>(call);
    const OutgoingMessage outgoing = Outgoing(*response);
    BindReactorOf(call, &outgoing, [&] { return get_reactor_(call.context(), response); });
  }

 private:
  const GetReactor get_reactor_;
};

template <class Request, class Response>
class CallbackServerStreamingHandler final : public MethodHandler {
 public:
  using GetReactor = std::function<ServerWriteReactor<Response>*(CallbackServerContext*, const Request*)>;
  explicit CallbackServerStreamingHandler(GetReactor get_reactor) : get_reactor_(std::move(get_reactor)) {}

  bool is_callback() const override { return true; }
  void RunCallback(ServerCallbackCall& call) override {
    Request* const request = MessageOf<Request>(call);
    if (!call.ParseRequest(Incoming(request))) return call.FailAtOnce(CallbackRequestDoesNotParse());
    call.AfterRequest(request, [this, &call, request] {
      BindReactorOf(call, nullptr, [&] { return get_reactor_(call.context(), request); });
    });
  }

 private:
  const GetReactor get_reactor_;
};

template <class Request, class Response>
class CallbackBidiHandler final : public MethodHandler {
 public:
  using GetReactor = std::function<ServerBidiReactor<Request, Response>*(CallbackServerContext*)>;
  explicit CallbackBidiHandler(GetReactor get_reactor) : get_reactor_(std::move(get_reactor)) {}

  bool is_callback() const override { return true; }
  void RunCallback(ServerCallbackCall& call) override {
    BindReactorOf(call, nullptr, [&] { return get_reactor_(call.context()); });
  }

 private:
  const GetReactor get_reactor_;
};

}  // namespace ipcrpc::internal

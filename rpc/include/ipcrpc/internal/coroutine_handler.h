// What generated stubs and services make of the coroutine API. Not for users.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "ipcrpc/coroutine.h"
#include "ipcrpc/internal/callback_handler.h"
#include "ipcrpc/internal/coroutine_call.h"
#include "ipcrpc/internal/coroutine_fwd.h"
#include "ipcrpc/server_context.h"

namespace ipcrpc::internal {

// ---- handlers: a call and its messages live in the memory of the callback call ----------------

// Runs the user's handler, whose task the call takes.
template <class Handler>
void RunTask(ServerCallbackCall& call, ServerCoroutineCall& coroutine, const OutgoingMessage* response, Handler&& handler) {
  BindReactorOf(call, response, [&]() -> ServerCoroutineCall* { return coroutine.Run(handler()) ? &coroutine : nullptr; });
}

template <class Request, class Response>
class CoroutineUnaryHandler final : public MethodHandler {
 public:
  using Function = std::function<Task<Status>(CallbackServerContext*, const Request*, Response*)>;
  explicit CoroutineUnaryHandler(Function function) : function_(std::move(function)) {}

  bool is_callback() const override { return true; }
  void RunCallback(ServerCallbackCall& call) override {
    struct State {
      Request request;
      Response response;
      ServerCoroutineCall coroutine;
    };
    State* const state = MessageOf<State>(call);
    if (!call.ParseRequest(Incoming(&state->request))) return call.FailAtOnce(CallbackRequestDoesNotParse());
    call.AfterRequest(&state->request, [this, &call, state] {
      const OutgoingMessage response = Outgoing(state->response);
      RunTask(call, state->coroutine, &response, [&] { return function_(call.context(), &state->request, &state->response); });
    });
  }

 private:
  const Function function_;
};

template <class Request, class Response>
class CoroutineClientStreamingHandler final : public MethodHandler {
 public:
  using Function = std::function<Task<Status>(CallbackServerContext*, co::ServerReader<Request>*, Response*)>;
  explicit CoroutineClientStreamingHandler(Function function) : function_(std::move(function)) {}

  bool is_callback() const override { return true; }
  void RunCallback(ServerCallbackCall& call) override {
    struct State {
      Response response;
      ServerCoroutineCall coroutine;
      co::ServerReader<Request> reader{&coroutine};
    };
    State* const state = MessageOf<State>(call);
    const OutgoingMessage response = Outgoing(state->response);
    RunTask(call, state->coroutine, &response, [&] { return function_(call.context(), &state->reader, &state->response); });
  }

 private:
  const Function function_;
};

template <class Request, class Response>
class CoroutineServerStreamingHandler final : public MethodHandler {
 public:
  using Function = std::function<Task<Status>(CallbackServerContext*, const Request*, co::ServerWriter<Response>*)>;
  explicit CoroutineServerStreamingHandler(Function function) : function_(std::move(function)) {}

  bool is_callback() const override { return true; }
  void RunCallback(ServerCallbackCall& call) override {
    struct State {
      Request request;
      ServerCoroutineCall coroutine;
      co::ServerWriter<Response> writer{&coroutine};
    };
    State* const state = MessageOf<State>(call);
    if (!call.ParseRequest(Incoming(&state->request))) return call.FailAtOnce(CallbackRequestDoesNotParse());
    call.AfterRequest(&state->request, [this, &call, state] {
      RunTask(call, state->coroutine, nullptr, [&] { return function_(call.context(), &state->request, &state->writer); });
    });
  }

 private:
  const Function function_;
};

template <class Request, class Response>
class CoroutineBidiHandler final : public MethodHandler {
 public:
  using Function = std::function<Task<Status>(CallbackServerContext*, co::ServerReaderWriter<Response, Request>*)>;
  explicit CoroutineBidiHandler(Function function) : function_(std::move(function)) {}

  bool is_callback() const override { return true; }
  void RunCallback(ServerCallbackCall& call) override {
    struct State {
      ServerCoroutineCall coroutine;
      co::ServerReaderWriter<Response, Request> stream{&coroutine};
    };
    State* const state = MessageOf<State>(call);
    RunTask(call, state->coroutine, nullptr, [&] { return function_(call.context(), &state->stream); });
  }

 private:
  const Function function_;
};

// ---- the API as generated headers know it --------------------------------------------------------

struct CoroutineApi {
  using TaskOfStatus = Task<Status>;
  template <class Request>
  using ServerReader = co::ServerReader<Request>;
  template <class Response>
  using ServerWriter = co::ServerWriter<Response>;
  template <class Response, class Request>
  using ServerReaderWriter = co::ServerReaderWriter<Response, Request>;

  template <class Request, class Response>
  using UnaryHandler = CoroutineUnaryHandler<Request, Response>;
  template <class Request, class Response>
  using ClientStreamingHandler = CoroutineClientStreamingHandler<Request, Response>;
  template <class Request, class Response>
  using ServerStreamingHandler = CoroutineServerStreamingHandler<Request, Response>;
  template <class Request, class Response>
  using BidiHandler = CoroutineBidiHandler<Request, Response>;

  template <class Request, class Response>
  static co::UnaryCall Unary(ChannelInterface* channel, const RpcMethod& method, ClientContext* context, const Request& request,
                             Response* response) {
    return co::UnaryCall(channel, method, context, Outgoing(request), Incoming(response));
  }
  template <class Request, class Response>
  static co::ClientWriter<Request> ClientStreaming(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                                                   Response* response) {
    const IncomingMessage incoming = Incoming(response);
    return co::ClientWriter<Request>(ClientCoroutineCall::BeginStream(channel, method, context, nullptr, &incoming));
  }
  template <class Request, class Response>
  static co::ClientReader<Response> ServerStreaming(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                                                    const Request& request) {
    const OutgoingMessage outgoing = Outgoing(request);
    return co::ClientReader<Response>(ClientCoroutineCall::BeginStream(channel, method, context, &outgoing, nullptr));
  }
  template <class Request, class Response>
  static co::ClientReaderWriter<Request, Response> Bidi(ChannelInterface* channel, const RpcMethod& method,
                                                        ClientContext* context) {
    return co::ClientReaderWriter<Request, Response>(
        ClientCoroutineCall::BeginStream(channel, method, context, nullptr, nullptr));
  }
};

}  // namespace ipcrpc::internal

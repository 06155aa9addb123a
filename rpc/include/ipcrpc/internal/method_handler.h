// Handlers with the types of their messages, over calls without: what generated services register.
// Not for users.
#pragma once

#include <cstddef>
#include <exception>
#include <span>
#include <string>
#include <utility>

#include "ipcrpc/internal/call.h"
#include "ipcrpc/internal/message_codec.h"
#include "ipcrpc/internal/spare_messages.h"
#include "ipcrpc/server_context.h"
#include "ipcrpc/status.h"
#include "ipcrpc/support/sync_stream.h"

namespace ipcrpc::internal {

// Runs a user's handler; whatever it throws ends its call, not the server.
template <typename Handler>
Status CatchingStatus(Handler&& handler) {
  try {
    return std::forward<Handler>(handler)();
  } catch (const std::exception& e) {
    return Status(StatusCode::UNKNOWN, std::string("the handler threw an exception: ") + e.what());
  } catch (...) {
    return Status(StatusCode::UNKNOWN, "the handler threw an exception");
  }
}

inline Status RequestDoesNotParse() { return Status(StatusCode::INTERNAL, "the request does not parse"); }

// The four shapes. `service` must outlive the handler; the function is the service's virtual method, so that
// what runs is the user's override.

template <class ServiceType, class RequestType, class ResponseType>
class RpcMethodHandler final : public MethodHandler {
 public:
  using Function = Status (ServiceType::*)(ServerContext*, const RequestType*, ResponseType*);
  RpcMethodHandler(Function function, ServiceType* service) : function_(function), service_(service) {}

  void RunUnary(ServerContext* context, std::span<const std::byte> request_bytes,
                UnaryReply& reply) override {
    SpareMessages<RequestType, ResponseType> messages;
    if (!MessageCodec<RequestType>::Parse(&messages.request(), request_bytes.data(), request_bytes.size())) {
      reply.Finish(RequestDoesNotParse(), nullptr);
      return;
    }
    const size_t bytes = request_bytes.size();
    // Not through `this`, which gcc 12 loses in its check for null where the function is known not to be virtual.
    const Status status = CatchingStatus([&, service = service_, function = function_] {
      return (service->*function)(context, &messages.request(), &messages.response());
    });
    if (status.ok()) {
      const OutgoingMessage outgoing = Outgoing(messages.response());
      reply.Finish(status, &outgoing);
    } else {
      reply.Finish(status, nullptr);
    }
    messages.Keep(bytes);
  }

  Status RunStream(ServerCall& call) override {
    RequestType request;
    if (!call.Read(Incoming(&request))) return RequestDoesNotParse();
    ResponseType response;
    Status status = CatchingStatus([&, service = service_, function = function_] {
      return (service->*function)(call.context(), &request, &response);
    });
    if (status.ok()) call.Write(Outgoing(response), WriteOptions().set_last_message());
    return status;
  }

 private:
  const Function function_;
  ServiceType* const service_;
};

template <class ServiceType, class RequestType, class ResponseType>
class ClientStreamingHandler final : public MethodHandler {
 public:
  using Function = Status (ServiceType::*)(ServerContext*, ServerReader<RequestType>*, ResponseType*);
  ClientStreamingHandler(Function function, ServiceType* service) : function_(function), service_(service) {}

  Status RunStream(ServerCall& call) override {
    ServerReader<RequestType> reader(&call);
    ResponseType response;
    Status status =
        CatchingStatus([&] { return (service_->*function_)(call.context(), &reader, &response); });
    // When the write fails the call is over already, and its end was decided elsewhere.
    if (status.ok()) call.Write(Outgoing(response), WriteOptions().set_last_message());
    return status;
  }

 private:
  const Function function_;
  ServiceType* const service_;
};

template <class ServiceType, class RequestType, class ResponseType>
class ServerStreamingHandler final : public MethodHandler {
 public:
  using Function = Status (ServiceType::*)(ServerContext*, const RequestType*, ServerWriter<ResponseType>*);
  ServerStreamingHandler(Function function, ServiceType* service) : function_(function), service_(service) {}

  Status RunStream(ServerCall& call) override {
    RequestType request;
    if (!call.Read(Incoming(&request))) return RequestDoesNotParse();
    ServerWriter<ResponseType> writer(&call);
    return CatchingStatus([&] { return (service_->*function_)(call.context(), &request, &writer); });
  }

 private:
  const Function function_;
  ServiceType* const service_;
};

template <class ServiceType, class RequestType, class ResponseType>
class BidiStreamingHandler final : public MethodHandler {
 public:
  using Function = Status (ServiceType::*)(ServerContext*, ServerReaderWriter<ResponseType, RequestType>*);
  BidiStreamingHandler(Function function, ServiceType* service) : function_(function), service_(service) {}

  Status RunStream(ServerCall& call) override {
    ServerReaderWriter<ResponseType, RequestType> stream(&call);
    return CatchingStatus([&] { return (service_->*function_)(call.context(), &stream); });
  }

 private:
  const Function function_;
  ServiceType* const service_;
};

}  // namespace ipcrpc::internal

#include "rpc/health/health_service.h"

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include "ipcrpc/internal/callback_handler.h"
#include "ipcrpc/internal/message_codec.h"
#include "rpc/reflection/protocol.h"

namespace ipcrpc {
namespace {

std::atomic<bool> enabled{false};

}  // namespace

void EnableDefaultHealthCheckService(bool enable) { enabled.store(enable); }
bool DefaultHealthCheckServiceEnabled() { return enabled.load(); }

namespace health {
namespace {

using google::protobuf::Message;

std::unique_ptr<Message> NewRequest() { return reflection::NewMessage("grpc.health.v1.HealthCheckRequest"); }
std::string ServiceIn(const Message& request) { return reflection::GetString(request, "service"); }

std::unique_ptr<Message> NewResponse(Serving status) {
  std::unique_ptr<Message> response = reflection::NewMessage("grpc.health.v1.HealthCheckResponse");
  reflection::Fields(response.get()).SetEnum("status", static_cast<int>(status));
  return response;
}

bool Parse(std::span<const std::byte> bytes, Message* request) {
  return request->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
}

Status DoesNotParse() { return Status(StatusCode::INVALID_ARGUMENT, "the request does not parse"); }

class CheckHandler final : public internal::MethodHandler {
 public:
  explicit CheckHandler(const Statuses* statuses) : statuses_(statuses) {}

  void RunUnary(ServerContext*, std::span<const std::byte> bytes, internal::UnaryReply& reply) override {
    const std::unique_ptr<Message> request = NewRequest();
    if (!Parse(bytes, request.get())) return reply.Finish(DoesNotParse(), nullptr);
    std::unique_ptr<Message> response;
    const Status status = Answer(*request, response);
    if (!status.ok()) return reply.Finish(status, nullptr);
    const internal::OutgoingMessage outgoing = internal::Outgoing(*response);
    reply.Finish(status, &outgoing);
  }

  // Where interceptors look at it.
  Status RunStream(internal::ServerCall& call) override {
    const std::unique_ptr<Message> request = NewRequest();
    if (!call.Read(internal::Incoming(request.get()))) return DoesNotParse();
    std::unique_ptr<Message> response;
    const Status status = Answer(*request, response);
    if (status.ok()) call.Write(internal::Outgoing(*response), WriteOptions().set_last_message());
    return status;
  }

 private:
  Status Answer(const Message& request, std::unique_ptr<Message>& response) const {
    const std::string service = ServiceIn(request);
    const Serving status = statuses_->Get(service);
    if (status == Serving::kServiceUnknown) return Status(StatusCode::NOT_FOUND, "nothing is known of the service '" + service + "'");
    response = NewResponse(status);
    return Status();
  }

  const Statuses* const statuses_;
};

// One who watches: has the latest status, whatever came between while it did not read. No thread waits for it.
class WatchCall final : public internal::ServerReactor, public Watcher {
 public:
  WatchCall(Statuses* statuses, std::string service) : statuses_(statuses), service_(std::move(service)) {}

  void Begin() { statuses_->Add(service_, this); }

  void OnStatus(Serving status) override {
    std::lock_guard lock(mu_);
    latest_ = status;
    WriteLatest();
  }
  void OnEnd() override {
    std::lock_guard lock(mu_);
    end_ = Status(StatusCode::UNAVAILABLE, "the server is shutting down");
    WriteLatest();
  }

 private:
  void OnWriteDone(bool ok) override {
    std::lock_guard lock(mu_);
    sent_ = std::exchange(on_its_way_, std::nullopt);
    if (!ok && !end_.has_value()) end_ = Cancelled();
    WriteLatest();
  }
  void OnCancel() override {
    std::lock_guard lock(mu_);
    end_ = Cancelled();
    WriteLatest();
  }
  void OnDone() override {
    statuses_->Remove(service_, this);
    delete this;
  }

  static Status Cancelled() { return Status(StatusCode::CANCELLED, "the client does not watch any more"); }

  // mu_ held. Reactions come later, on another stack.
  void WriteLatest() {
    if (on_its_way_.has_value() || finished_) return;
    if (end_.has_value()) {
      finished_ = true;
      return operations().Finish(*end_);
    }
    if (latest_ == sent_) return;
    on_its_way_ = latest_;
    message_ = NewResponse(*latest_);
    operations().Write(internal::Outgoing(*message_), WriteOptions());
  }

  Statuses* const statuses_;
  const std::string service_;

  std::mutex mu_;  // of the rest; behind the lock of the statuses
  std::optional<Serving> latest_, on_its_way_, sent_;
  std::unique_ptr<Message> message_;  // on its way
  std::optional<Status> end_;
  bool finished_ = false;
};

class WatchHandler final : public internal::MethodHandler {
 public:
  explicit WatchHandler(Statuses* statuses) : statuses_(statuses) {}

  bool is_callback() const override { return true; }
  void RunCallback(internal::ServerCallbackCall& call) override {
    const auto request = std::shared_ptr<Message>(NewRequest());
    if (!call.ParseRequest(internal::Incoming(request.get()))) return call.FailAtOnce(DoesNotParse());
    call.AfterRequest(request.get(), [this, &call, request] {
      auto* const watch = new WatchCall(statuses_, ServiceIn(*request));
      call.Bind(watch, nullptr);
      watch->Begin();
    });
  }

 private:
  Statuses* const statuses_;
};

}  // namespace

HealthService::HealthService() {
  using internal::RpcMethod;
  AddMethod(std::make_unique<internal::RpcServiceMethod>("/grpc.health.v1.Health/Check", RpcMethod::NORMAL_RPC,
                                                         std::make_unique<CheckHandler>(&statuses_)));
  AddMethod(std::make_unique<internal::RpcServiceMethod>("/grpc.health.v1.Health/Watch", RpcMethod::SERVER_STREAMING,
                                                         std::make_unique<WatchHandler>(&statuses_)));
}

}  // namespace health
}  // namespace ipcrpc

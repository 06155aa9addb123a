// Snapshots of a server, asked for by calls.
#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ipcrpc/client_context.h"
#include "ipcrpc/internal/client_unary_call.h"
#include "ipcrpc/snapshot.h"
#include "ipcrpc/v1/snapshots.pb.h"
#include "services/snapshot/names.h"

namespace ipcrpc {
namespace {

constexpr std::chrono::seconds kPatience(5);

class ChannelSource final : public SnapshotSource {
 public:
  ChannelSource(std::shared_ptr<ChannelInterface> channel, std::string name)
      : channel_(std::move(channel)), name_(std::move(name)), get_(internal::kGetSnapshot, internal::RpcMethod::NORMAL_RPC) {}

  SnapshotError Ask(bool by_value, uint64_t known, Answer* answer) override {
    v1::GetSnapshotRequest request;
    v1::GetSnapshotResponse response;
    request.set_name(name_);
    request.set_by_value(by_value);
    request.set_known_revision(known);
    ClientContext context;
    context.set_deadline(std::chrono::steady_clock::now() + kPatience);
    const Status status = internal::BlockingUnaryCall(channel_.get(), get_, &context, request, &response);
    if (!status.ok()) return {.code = status.error_code(), .message = What() + ": " + status.error_message()};

    answer->schema = {.fingerprint = response.fingerprint(), .type_name = std::move(*response.mutable_type_name())};
    if (std::vector<UniqueFd> fds = context.TakeFds(); !fds.empty()) answer->memory = std::move(fds.front());
    answer->path = std::move(*response.mutable_path());
    answer->revision = response.revision();
    answer->message = std::move(*response.mutable_message());
    const bool nowhere = !by_value && !answer->memory.valid() && answer->path.empty();
    const bool nothing = by_value && (answer->revision == 0 || (answer->revision != known && !response.has_message()));
    if (nowhere || nothing) return {.code = StatusCode::DATA_LOSS, .message = What() + ": the server's answer has no snapshot"};
    return {};
  }

  std::string name() const override { return name_; }

 private:
  std::string What() const {
    const std::string place = channel_->GetTransportInfo().place;
    return "snapshot '" + name_ + "'" + (place.empty() ? "" : " of " + place);
  }

  const std::shared_ptr<ChannelInterface> channel_;
  const std::string name_;
  const internal::RpcMethod get_;
};

}  // namespace

std::unique_ptr<SnapshotSource> MakeSnapshotSource(std::shared_ptr<ChannelInterface> channel, std::string name) {
  return std::make_unique<ChannelSource>(std::move(channel), std::move(name));
}

}  // namespace ipcrpc

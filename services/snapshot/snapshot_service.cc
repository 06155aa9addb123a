#include "ipcrpc/snapshot_service.h"

#include <memory>
#include <utility>

#include "ipcrpc/internal/method_handler.h"
#include "ipcrpc/v1/snapshots.pb.h"
#include "services/snapshot/names.h"

namespace ipcrpc {
namespace {

using internal::RpcMethod;

Status NothingPublished(const std::string& name) {
  return Status(StatusCode::NOT_FOUND, "nothing is published yet as snapshot '" + name + "'");
}

}  // namespace

SnapshotService::SnapshotService() {
  AddMethod(std::make_unique<internal::RpcServiceMethod>(
      internal::kGetSnapshot, RpcMethod::NORMAL_RPC,
      std::make_unique<internal::RpcMethodHandler<SnapshotService, v1::GetSnapshotRequest, v1::GetSnapshotResponse>>(
          &SnapshotService::Get, this)));
  AddMethod(std::make_unique<internal::RpcServiceMethod>(
      internal::kListSnapshots, RpcMethod::NORMAL_RPC,
      std::make_unique<internal::RpcMethodHandler<SnapshotService, v1::ListSnapshotsRequest, v1::ListSnapshotsResponse>>(
          &SnapshotService::List, this)));
}

SnapshotService::~SnapshotService() = default;

void SnapshotService::Add(const RawSnapshotPublisher& publisher) {
  const std::lock_guard lock(mu_);
  publishers_[publisher.name()] = &publisher;
}

void SnapshotService::Remove(const std::string& name) {
  const std::lock_guard lock(mu_);
  publishers_.erase(name);
}

Status SnapshotService::Get(ServerContext* context, const v1::GetSnapshotRequest* request, v1::GetSnapshotResponse* response) {
  const std::lock_guard lock(mu_);
  const auto found = publishers_.find(request->name());
  if (found == publishers_.end()) {
    std::string names;
    for (const auto& [name, ignored] : publishers_) names += (names.empty() ? "" : ", ") + name;
    return Status(StatusCode::NOT_FOUND, "no such snapshot: '" + request->name() + "'; there are: " + (names.empty() ? "none" : names));
  }
  const RawSnapshotPublisher& publisher = *found->second;
  response->set_type_name(publisher.schema().type_name);
  response->set_fingerprint(publisher.schema().fingerprint);
  if (!request->by_value()) {
    UniqueFd memory = publisher.Share();
    if (memory.valid()) {
      context->AttachFd(std::move(memory));
      return Status::OK;
    }
    response->set_path(publisher.path());
    return response->path().empty() ? NothingPublished(request->name()) : Status::OK;
  }
  std::string message;
  response->set_revision(publisher.CopyLatest(&message));
  if (response->revision() == 0) return NothingPublished(request->name());
  if (response->revision() != request->known_revision()) response->set_message(std::move(message));
  return Status::OK;
}

Status SnapshotService::List(ServerContext*, const v1::ListSnapshotsRequest*, v1::ListSnapshotsResponse* response) {
  const std::lock_guard lock(mu_);
  for (const auto& [name, ignored] : publishers_) response->add_names(name);
  return Status::OK;
}

}  // namespace ipcrpc

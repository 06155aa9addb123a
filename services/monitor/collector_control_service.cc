#include "services/monitor/collector_control_service.h"

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "services/monitor/process_statistics.h"
#include "services/monitor/status.h"

namespace ipcrpc::monitor {
namespace {

constexpr std::chrono::seconds kBeat{1};
// In one reply.
constexpr size_t kChangesMax = 512;
constexpr size_t kSaidMax = 16;

NetSettings SettingsOf(const v1::CollectorSettings& settings) {
  // Too long is too long.
  const auto ms = std::min<uint64_t>(settings.verify_interval_ms(), INT64_MAX);
  return {.verify_interval = std::chrono::milliseconds(ms), .paused = settings.paused()};
}

v1::FollowChange FollowOf(const Change& change) {
  v1::FollowChange out;
  out.set_netns(static_cast<uint32_t>(change.netns));
  out.set_action(change.difference.action);
  out.set_key(change.difference.key);
  out.set_old_key(change.difference.old_key);
  if (change.difference.now != nullptr && change.difference.action != v1::NetEvent::REMOVED) {
    *out.mutable_object() = *change.difference.now;
  }
  out.set_consistent(change.consistent);
  out.set_stale(change.stale);
  return out;
}

}  // namespace

Status CollectorControlService::Follow(ServerContext* context, const v1::FollowRequest* request,
                                       ServerWriter<v1::FollowReply>* writer) {
  if (request->has_settings()) {
    const absl::Status status = monitor_->Configure(SettingsOf(request->settings()));
    if (!status.ok()) return ToStatus(status);
  }
  const NetStore& store = monitor_->store();
  std::optional<uint64_t> told;
  v1::FollowReply reply;
  reply.set_warning(monitor_->warning());
  const auto write = [&](const NetStore::News& news) {
    reply.set_revision(news.position.revision);
    for (size_t number = 0; number < news.marks.size(); ++number) {
      v1::FollowedNetns* netns = reply.add_netns();
      netns->set_inode(store.netns(number).inode());
      netns->set_consistent(news.marks[number].consistent);
      netns->set_stale(news.marks[number].stale);
    }
    const bool written = writer->Write(reply);
    reply.Clear();
    return written;
  };
  while (!store.closed()) {
    const NetStore::News news = store.NewsSince(told, kChangesMax);
    told = news.position.revision;
    if (news.state) {
      reply.set_state(true);
      for (uint32_t number = 0; number < news.state->size(); ++number) {
        for (const auto& [key, object] : (*news.state)[number]) {
          if (reply.changes_size() == kChangesMax) {
            reply.set_more(true);
            if (!write(news)) return Status::CANCELLED;
            reply.set_state(true);
          }
          v1::FollowChange* change = reply.add_changes();
          change->set_netns(number);
          change->set_action(v1::NetEvent::ADDED);
          change->set_key(key);
          *change->mutable_object() = *object;
        }
      }
    }
    {
      std::lock_guard lock(said_mu_);
      for (std::string& text : std::exchange(said_, {})) *reply.add_said() = std::move(text);
    }
    for (const ChangePtr& change : news.changes) *reply.add_changes() = FollowOf(*change);
    if (!write(news)) return Status::CANCELLED;
    if (news.changes.size() == kChangesMax) continue;
    store.AwaitChange(news.position, context->stop_token(), std::chrono::steady_clock::now() + kBeat);
    if (context->IsCancelled()) return Status::CANCELLED;
  }
  return Status(StatusCode::UNAVAILABLE, "the collector is shutting down");
}

Status CollectorControlService::RefreshNeighbors(ServerContext*, const v1::RefreshNeighborsRequest* request,
                                                 v1::CollectorPosition* reply) {
  for (const uint32_t number : request->netns()) {
    if (number >= monitor_->store().netns_count()) {
      return Status(StatusCode::INVALID_ARGUMENT, absl::StrCat("there is no namespace number ", number));
    }
  }
  return Position(monitor_->RefreshNeighbors({request->netns().begin(), request->netns().end()}), reply);
}

Status CollectorControlService::Configure(ServerContext*, const v1::CollectorSettings* request, v1::CollectorPosition* reply) {
  return Position(monitor_->Configure(SettingsOf(*request)), reply);
}

Status CollectorControlService::Resync(ServerContext*, const v1::ResyncRequest*, v1::CollectorPosition* reply) {
  return Position(monitor_->Resync(), reply);
}

Status CollectorControlService::Statistics(ServerContext*, const v1::CollectorStatisticsRequest*,
                                           v1::ProcessStatistics* reply) {
  *reply = OwnStatistics();
  return Status::OK;
}

Status CollectorControlService::Position(const absl::Status& status, v1::CollectorPosition* reply) const {
  if (!status.ok()) return ToStatus(status);
  reply->set_revision(monitor_->store().revision());
  return Status::OK;
}

void CollectorControlService::Say(std::string text) {
  std::lock_guard lock(said_mu_);
  if (said_.size() < kSaidMax) said_.push_back(std::move(text));
}

Status CollectorControlService::ReadStatus(ServerContext*, const v1::GetStatusRequest* request, v1::StatusReading* reply) {
  absl::StatusOr<v1::StatusReading> reading = reader_.Read(*request);
  if (!reading.ok()) return ToStatus(reading.status());
  *reply = *std::move(reading);
  return Status::OK;
}

}  // namespace ipcrpc::monitor

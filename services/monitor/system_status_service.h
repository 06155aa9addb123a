// ipcrpc.monitor.v1.SystemStatus, read at each call.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "ipcrpc/monitor/v1/system_status.ipcrpc.pb.h"
#include "services/monitor/status_source.h"

namespace ipcrpc::monitor {

// Thread-safe. The source must outlive it.
class SystemStatusService final : public v1::SystemStatus::Service {
 public:
  explicit SystemStatusService(const StatusSource* source) : source_(source) {}

  Status Get(ServerContext* context, const v1::GetStatusRequest* request, v1::StatusReply* reply) override;
  Status Watch(ServerContext* context, const v1::WatchStatusRequest* request,
               ServerWriter<v1::StatusReply>* writer) override;

  // Ends all watches, now and later, with UNAVAILABLE. For shutdown.
  void Close();

 private:
  // OK once it is that late; else why the call is over.
  Status Pause(ServerContext& context, std::chrono::steady_clock::time_point until);

  const StatusSource* const source_;
  std::mutex mu_;
  std::condition_variable_any closing_;
  bool closed_ = false;
};

}  // namespace ipcrpc::monitor

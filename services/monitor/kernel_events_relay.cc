#include "services/monitor/kernel_events_relay.h"

#include <chrono>
#include <thread>

namespace ipcrpc::monitor {

template <typename Event>
Status KernelEventsRelay::HandOn(ServerContext& context,
                                 const std::function<std::unique_ptr<ClientReader<Event>>(ClientContext*)>& watch,
                                 ServerWriter<Event>* writer) {
  Event lost;
  lost.set_lost(true);
  for (bool first = true;; first = false) {
    const std::unique_ptr<ClientContext> call = ClientContext::FromServerContext(context);
    call->set_wait_for_ready(true);
    const std::stop_callback on_close(closing_.get_token(), [&call] { call->TryCancel(); });
    const auto reader = watch(call.get());
    reader->WaitForInitialMetadata();
    if (first) writer->SendInitialMetadata();
    bool gap = !first;
    bool written = true;
    for (Event event; written && reader->Read(&event);) {
      if (std::exchange(gap, false)) written = writer->Write(lost);
      written = written && writer->Write(event);
    }
    if (!written) call->TryCancel();
    const Status ended = reader->Finish();
    if (closing_.stop_requested()) return Status(StatusCode::UNAVAILABLE, "the monitor is shutting down");
    if (!written || context.IsCancelled()) return Status::CANCELLED;
    if (ended.error_code() != StatusCode::UNAVAILABLE) return ended;
    if (!writer->Write(lost)) return Status::CANCELLED;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

Status KernelEventsRelay::WatchUevents(ServerContext* context, const v1::WatchUeventsRequest* request,
                                       ServerWriter<v1::Uevent>* writer) {
  return HandOn<v1::Uevent>(
      *context, [&](ClientContext* call) { return collector_->WatchUevents(call, *request); }, writer);
}

Status KernelEventsRelay::WatchProcesses(ServerContext* context, const v1::WatchProcessesRequest* request,
                                         ServerWriter<v1::ProcessEvent>* writer) {
  return HandOn<v1::ProcessEvent>(
      *context, [&](ClientContext* call) { return collector_->WatchProcesses(call, *request); }, writer);
}

}  // namespace ipcrpc::monitor

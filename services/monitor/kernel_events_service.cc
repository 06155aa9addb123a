#include "services/monitor/kernel_events_service.h"

#include <errno.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "services/monitor/parse_kernel_events.h"
#include "services/monitor/status.h"

namespace ipcrpc::monitor {
namespace {

constexpr int kBufferBytes = 4 << 20;
// Of NETLINK_KOBJECT_UEVENT: the kernel's own.
constexpr uint32_t kKernelUevents = 1;

// Until when a poll may wait for a call.
int PollTimeout(const ServerContext& context) {
  const auto deadline = context.deadline();
  if (deadline == std::chrono::system_clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::system_clock::now()).count();
  return static_cast<int>(std::clamp<int64_t>(left, 0, 1'000'000));
}

// Begins and ends that the kernel tells of processes, for one socket.
absl::Status Subscribe(int fd, proc_cn_mcast_op operation) {
  struct {
    alignas(NLMSG_ALIGNTO) char bytes[NLMSG_HDRLEN + sizeof(cn_msg) + sizeof(proc_cn_mcast_op)];
  } message{};
  nlmsghdr header{};
  header.nlmsg_len = sizeof message.bytes;
  header.nlmsg_type = NLMSG_DONE;
  cn_msg connector{};
  connector.id = {CN_IDX_PROC, CN_VAL_PROC};
  connector.len = sizeof operation;
  memcpy(message.bytes, &header, sizeof header);
  memcpy(message.bytes + NLMSG_HDRLEN, &connector, sizeof connector);
  memcpy(message.bytes + NLMSG_HDRLEN + sizeof connector, &operation, sizeof operation);
  if (send(fd, message.bytes, sizeof message.bytes, 0) < 0) {
    // Nobody listens for us in another network namespace than the first. UNAVAILABLE would say that it may be had later.
    if (errno == ECONNREFUSED) {
      return absl::PermissionDeniedError("the kernel tells process events in the first network namespace alone");
    }
    return absl::ErrnoToStatus(errno, "cannot subscribe to process events");
  }
  return absl::OkStatus();
}

// Whether the kernel lets us listen to processes. Where it does not, it says so, or nothing at all.
Status AwaitAnswer(NetlinkFeed& feed) {
  constexpr int kPatienceMs = 1000;
  pollfd ready{feed.fd(), POLLIN, 0};
  while (poll(&ready, 1, kPatienceMs) > 0) {
    const absl::StatusOr<std::span<const uint8_t>> datagram = feed.Receive();
    if (!datagram.ok()) return ToStatus(datagram.status());
    const std::optional<uint32_t> error = ParseProcessAnswer(*datagram);
    if (error == 0u) return Status::OK;
    if (error) {
      return Status(StatusCode::PERMISSION_DENIED,
                    std::string("the kernel refuses process events: ") + strerror(static_cast<int>(*error)));
    }
  }
  return Status(StatusCode::PERMISSION_DENIED,
                "the kernel tells no process events here: that needs CAP_NET_ADMIN in the first user and PID namespaces");
}

}  // namespace

template <typename Event>
Status KernelEventsService::Tell(ServerContext& context, NetlinkFeed& feed,
                                 const std::function<std::optional<Event>(std::span<const uint8_t>)>& parse,
                                 ServerWriter<Event>* writer) {
  const OwnedFd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (wake.get() < 0) return Status(StatusCode::RESOURCE_EXHAUSTED, "cannot make an eventfd");
  const auto wake_up = [&wake] {
    const uint64_t one = 1;
    (void)!write(wake.get(), &one, sizeof one);
  };
  const std::stop_callback on_cancel(context.stop_token(), wake_up);
  const std::stop_callback on_close(closing_.get_token(), wake_up);
  writer->SendInitialMetadata();
  for (;;) {
    if (closing_.stop_requested()) return Status(StatusCode::UNAVAILABLE, "the monitor is shutting down");
    if (context.IsCancelled()) return Status::CANCELLED;
    const absl::StatusOr<std::span<const uint8_t>> datagram = feed.Receive();
    std::optional<Event> event;
    if (datagram.ok() && datagram->empty()) {
      pollfd fds[] = {{wake.get(), POLLIN, 0}, {feed.fd(), POLLIN, 0}};
      const int ready = poll(fds, std::size(fds), PollTimeout(context));
      if (ready < 0 && errno != EINTR) return Status(StatusCode::INTERNAL, "poll failed");
      if (ready == 0) return Status(StatusCode::DEADLINE_EXCEEDED, "the deadline has passed");
      continue;
    }
    if (datagram.ok()) {
      event = parse(*datagram);
      if (!event) continue;
      timespec now;
      clock_gettime(CLOCK_REALTIME, &now);
      event->mutable_time()->set_seconds(now.tv_sec);
      event->mutable_time()->set_nanos(static_cast<int32_t>(now.tv_nsec));
    } else if (absl::IsResourceExhausted(datagram.status())) {
      event.emplace().set_lost(true);
    } else {
      return ToStatus(datagram.status());
    }
    if (!writer->Write(*event)) return Status::CANCELLED;
  }
}

Status KernelEventsService::WatchUevents(ServerContext* context, const v1::WatchUeventsRequest* request,
                                         ServerWriter<v1::Uevent>* writer) {
  absl::StatusOr<NetlinkFeed> feed = NetlinkFeed::Open(NETLINK_KOBJECT_UEVENT, kKernelUevents, kBufferBytes);
  if (!feed.ok()) return ToStatus(feed.status());
  std::vector<std::string> subsystems(request->subsystems().begin(), request->subsystems().end());
  if (subsystems.empty()) subsystems.push_back("net");
  const auto wanted = [&](const std::string& subsystem) {
    return std::any_of(subsystems.begin(), subsystems.end(),
                       [&](const std::string& one) { return one == "*" || one == subsystem; });
  };
  return Tell<v1::Uevent>(
      *context, *feed,
      [&](std::span<const uint8_t> datagram) {
        std::optional<v1::Uevent> event = ParseUevent(datagram);
        return event && wanted(event->subsystem()) ? event : std::nullopt;
      },
      writer);
}

Status KernelEventsService::WatchProcesses(ServerContext* context, const v1::WatchProcessesRequest* request,
                                           ServerWriter<v1::ProcessEvent>* writer) {
  if (!processes_) {
    return Status(StatusCode::PERMISSION_DENIED,
                  "process events are off; start ipcrpc-monitord with --process-events to let its clients watch them");
  }
  absl::StatusOr<NetlinkFeed> feed = NetlinkFeed::Open(NETLINK_CONNECTOR, CN_IDX_PROC, kBufferBytes);
  if (!feed.ok()) return ToStatus(feed.status());
  if (absl::Status status = Subscribe(feed->fd(), PROC_CN_MCAST_LISTEN); !status.ok()) return ToStatus(status);
  Status status = AwaitAnswer(*feed);
  if (status.ok()) status = Tell<v1::ProcessEvent>(
      *context, *feed,
      [&](std::span<const uint8_t> datagram) {
        std::optional<v1::ProcessEvent> event = ParseProcessEvent(datagram);
        const auto& kinds = request->kinds();
        const bool wanted =
            event && (kinds.empty() || std::find(kinds.begin(), kinds.end(), event->kind()) != kinds.end());
        return wanted ? event : std::nullopt;
      },
      writer);
  // Older kernels count listeners, and forget none by themselves.
  (void)Subscribe(feed->fd(), PROC_CN_MCAST_IGNORE);
  return status;
}

}  // namespace ipcrpc::monitor

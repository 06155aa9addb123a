#include "services/monitor/link_stats.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stddef.h>
#include <string.h>

#include <algorithm>

#include "services/monitor/net_requests.h"
#include "services/monitor/parse.h"

namespace ipcrpc::monitor {

bool ParseLinkStats(const nlmsghdr* message, v1::LinkStatistics* out) {
  auto header = FixedHeader<if_stats_msg>(message);
  if (message->nlmsg_type != RTM_NEWSTATS || !header) return false;
  const Bytes payload =
      Attributes(AttributeBytes(message, sizeof(if_stats_msg)), IFLA_STATS_MAX).Payload(IFLA_STATS_LINK_64);
  // Kernels have added fields at the end.
  rtnl_link_stats64 stats{};
  if (payload.size() < offsetof(rtnl_link_stats64, rx_compressed)) return false;
  memcpy(&stats, payload.data(), std::min(payload.size(), sizeof stats));
  out->set_ifindex(header->ifindex);
  out->set_rx_packets(stats.rx_packets);
  out->set_tx_packets(stats.tx_packets);
  out->set_rx_bytes(stats.rx_bytes);
  out->set_tx_bytes(stats.tx_bytes);
  out->set_rx_errors(stats.rx_errors);
  out->set_tx_errors(stats.tx_errors);
  out->set_rx_dropped(stats.rx_dropped);
  out->set_tx_dropped(stats.tx_dropped);
  out->set_multicast(stats.multicast);
  out->set_collisions(stats.collisions);
  out->set_rx_length_errors(stats.rx_length_errors);
  out->set_rx_over_errors(stats.rx_over_errors);
  out->set_rx_crc_errors(stats.rx_crc_errors);
  out->set_rx_frame_errors(stats.rx_frame_errors);
  out->set_rx_fifo_errors(stats.rx_fifo_errors);
  out->set_rx_missed_errors(stats.rx_missed_errors);
  out->set_tx_aborted_errors(stats.tx_aborted_errors);
  out->set_tx_carrier_errors(stats.tx_carrier_errors);
  out->set_tx_fifo_errors(stats.tx_fifo_errors);
  out->set_tx_heartbeat_errors(stats.tx_heartbeat_errors);
  out->set_tx_window_errors(stats.tx_window_errors);
  if (payload.size() >= offsetof(rtnl_link_stats64, rx_nohandler) + sizeof stats.rx_nohandler) {
    out->set_rx_nohandler(stats.rx_nohandler);
  }
  return true;
}

absl::Status ReadLinkStats(NetlinkQuery* query, const std::map<uint32_t, std::string>& names,
                           google::protobuf::RepeatedPtrField<v1::LinkStatistics>* out) {
  Request request;
  absl::Status status = query->Dump(
      LinkStatsRequest(&request), /*tries=*/3, [&](int) { out->Clear(); },
      [&](const nlmsghdr* message) {
        v1::LinkStatistics stats;
        if (!ParseLinkStats(message, &stats)) return;
        const auto name = names.find(stats.ifindex());
        if (name == names.end()) return;
        stats.set_ifname(name->second);
        *out->Add() = std::move(stats);
      });
  // Each interface's counters are right also while others come and go.
  return absl::IsAborted(status) ? absl::OkStatus() : status;
}

}  // namespace ipcrpc::monitor

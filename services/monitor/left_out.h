#pragma once

#include <string_view>

// What iproute2's JSON has and ours has not, each with its reason: the one place. The test that compares
// the two allows these and nothing else.

namespace ipcrpc::monitor {

struct LeftOut {
  // The `ip` command: link, addr, route, neigh, rule.
  std::string_view command;
  // The key in its JSON; a dotted path inside an object ("linkinfo.info_data.gc_timer").
  std::string_view key;
  std::string_view reason;
};

inline constexpr std::string_view kCountsDown =
    "counts down without any event; a cached value would be wrong a second later";

inline constexpr LeftOut kLeftOut[] = {
    {"addr", "valid_life_time", "(of an address that ends; `dynamic` says so) counts down without any event"},
    {"addr", "preferred_life_time", "(of an address that ends; `dynamic` says so) counts down without any event"},
    {"route", "expires", kCountsDown},
    {"route", "cache", "cloned routes are answers to one lookup, not state; the kernel does not list them"},
    {"route", "error", "belongs to cloned routes"},
    {"route", "uid", "belongs to the answer to one lookup"},
    {"route", "mark", "belongs to the answer to one lookup"},
    {"route", "iif", "belongs to the answer to one lookup, and to multicast routes"},
    {"route", "nh_info", "the next-hop object that nhid names; it is no part of the route"},
    {"link", "xdp", "needs the program's details from bpf(2), which an unprivileged daemon may not ask"},
    {"link", "event", "says why a message was sent, and is no state of the link"},
    {"link", "vfinfo_list", "virtual functions need RTEXT_FILTER_VF, which makes dumps of such cards very large"},
    {"link", "proto_down_reason", "bits that every distribution names as it likes"},
    {"link", "stats", "counters change without events; NetEvents/LinkStats has them"},
    {"link", "stats64", "counters change without events; NetEvents/LinkStats has them"},
    {"link", "linkinfo.info_xstats", "counters change without events"},
    {"link", "linkinfo.info_data.hello_timer", kCountsDown},
    {"link", "linkinfo.info_data.tcn_timer", kCountsDown},
    {"link", "linkinfo.info_data.topology_change_timer", kCountsDown},
    {"link", "linkinfo.info_data.gc_timer", kCountsDown},
    {"link", "linkinfo.info_data.group_fwd_mask", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.no_linklocal_learn", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.vlan_stats_enabled", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.vlan_stats_per_port", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.mcast_vlan_snooping", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.mcast_query_use_ifaddr", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.mcast_hash_elasticity", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.mcast_hash_max", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.mcast_last_member_cnt", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.mcast_startup_query_cnt", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.mcast_last_member_intvl", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.mcast_membership_intvl", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.mcast_querier_intvl", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.mcast_query_intvl", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.mcast_query_response_intvl", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.mcast_startup_query_intvl", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.mcast_stats_enabled", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.mcast_igmp_version", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.mcast_mld_version", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.nf_call_iptables", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.nf_call_ip6tables", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.nf_call_arptables", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_data.port_range", "tuning of vxlan beyond the common settings"},
    {"link", "linkinfo.info_data.df", "tuning of vxlan beyond the common settings"},
    {"link", "linkinfo.info_data.udp_csum", "tuning of vxlan beyond the common settings"},
    {"link", "linkinfo.info_data.udp_zero_csum6_tx", "tuning of vxlan beyond the common settings"},
    {"link", "linkinfo.info_data.udp_zero_csum6_rx", "tuning of vxlan beyond the common settings"},
    {"link", "linkinfo.info_data.bcqueuelen", "tuning of macvlan beyond the common settings"},
    {"link", "linkinfo.info_data.usedbcqueuelen", "tuning of macvlan beyond the common settings"},
    {"link", "linkinfo.info_slave_data.hold_timer", kCountsDown},
    {"link", "linkinfo.info_slave_data.message_age_timer", kCountsDown},
    {"link", "linkinfo.info_slave_data.forward_delay_timer", kCountsDown},
    {"link", "linkinfo.info_slave_data.topology_change_ack", "a moment of the spanning tree protocol"},
    {"link", "linkinfo.info_slave_data.config_pending", "a moment of the spanning tree protocol"},
    {"link", "linkinfo.info_slave_data.group_fwd_mask", "tuning of bridges beyond the common settings"},
    {"link", "linkinfo.info_slave_data.group_fwd_mask_str", "tuning of bridges beyond the common settings"},
};

// Whole objects that are left out:
//   proxy neighbours (`ip neigh show proxy`): the kernel sends no event for them, so that a watcher could
//     never be told;
//   multicast routes, MPLS routes, bridge forwarding entries and address families other than IPv4 and
//     IPv6: another service's business.
// What iproute2 prints under a name of its own, and where ours stands: the names win.
struct Renamed {
  std::string_view command;
  std::string_view theirs;
  std::string_view ours;
};

inline constexpr Renamed kRenamed[] = {{"route", "metric", "priority"}};

}  // namespace ipcrpc::monitor

// Captured packets, packets made by hand for what the capturing kernel lacks, and broken ones.

#include "services/monitor/parse.h"

#include <arpa/inet.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <google/protobuf/util/json_util.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/monitor/net_table.h"
#include "services/monitor/packets_for_test.h"

namespace ipcrpc::monitor {
namespace {

// What is inside the object, as users see it.
std::string Json(const v1::NetObject& object) {
  std::string json;
  EXPECT_TRUE(google::protobuf::util::MessageToJsonString(object, &json).ok());
  return json;
}

TEST(CapturedPacketsTest, GiveTheExpectedObjects) {
  std::vector<CapturedPacket> packets = LoadPackets();
  ASSERT_GT(packets.size(), 80u);
  NameTables names;
  for (const CapturedPacket& packet : packets) {
    ExactMessage message(packet.bytes);
    auto parsed = ParseNetMessage(message.get(), names);
    ASSERT_TRUE(parsed.ok()) << packet.name << ": " << parsed.status();
    EXPECT_EQ(parsed->has_value() ? Json((*parsed)->item.object) : "ignored", packet.expected) << packet.name;
    if (!parsed->has_value()) continue;
    EXPECT_EQ((*parsed)->removed, packet.bytes[4] % 4 == 1) << packet.name;
    EXPECT_TRUE((*parsed)->item.key.starts_with((*parsed)->item.base_key));
    EXPECT_EQ((*parsed)->item.key[0], (*parsed)->item.object.object_case());
  }
}

TEST(CapturedPacketsTest, HaveDifferentKeys) {
  std::map<std::string, std::string> name_of;
  for (const CapturedPacket& packet : LoadPackets()) {
    if (packet.name.starts_with("event")) continue;
    ExactMessage message(packet.bytes);
    auto parsed = ParseNetMessage(message.get(), NameTables());
    ASSERT_TRUE(parsed.ok());
    if (!parsed->has_value()) continue;
    auto [known, fresh] = name_of.emplace((*parsed)->item.key, packet.name);
    EXPECT_TRUE(fresh) << packet.name << " has the key of " << known->second;
  }
}

// Cut anywhere, with a length that says so: an object or an error, never a crash or a read beyond the end.
TEST(CapturedPacketsTest, CutAnywhereDoNoHarm) {
  NameTables names;
  int objects = 0, errors = 0;
  for (const CapturedPacket& packet : LoadPackets()) {
    for (size_t size = sizeof(nlmsghdr); size < packet.bytes.size(); ++size) {
      ExactMessage message(CutMessage(packet.bytes, size));
      auto parsed = ParseNetMessage(message.get(), names);
      ++(parsed.ok() ? objects : errors);
      EXPECT_TRUE(parsed.ok() || absl::IsInvalidArgument(parsed.status())) << parsed.status();
    }
  }
  EXPECT_GT(objects, 0);
  EXPECT_GT(errors, 0);
}

// Any byte changed to the values that lengths and types are made of; what parses goes on into the table,
// which must stand it too.
TEST(CapturedPacketsTest, ChangedAnywhereDoNoHarm) {
  NameTables names;
  NetTable table;
  Suspects suspects;
  int differences = 0;
  for (const CapturedPacket& packet : LoadPackets()) {
    // All but the length itself, of which whoever receives has made sure.
    for (size_t i = sizeof(uint32_t); i < packet.bytes.size(); ++i) {
      for (uint8_t value : {0x00, 0x01, 0x04, 0x7f, 0x80, 0xff}) {
        std::vector<uint8_t> bytes = packet.bytes;
        bytes[i] = value;
        ExactMessage message(bytes);
        auto parsed = ParseNetMessage(message.get(), names);
        if (!parsed.ok() || !parsed->has_value()) continue;
        // Readable again: no string that is not UTF-8.
        v1::NetObject copy;
        ASSERT_TRUE(copy.ParseFromString((*parsed)->item.object.SerializeAsString())) << packet.name;
        if (i % 7 != 0) continue;
        table.Apply(std::move(**parsed), [&](Difference) { ++differences; }, &suspects);
      }
    }
  }
  EXPECT_GT(differences, 0);
}

// Builds messages as the kernel would.
class MessageBuilder {
 public:
  template <typename Header>
  MessageBuilder(uint16_t type, const Header& header) : buffer_(4096) {
    message_ = mnl_nlmsg_put_header(buffer_.data());
    message_->nlmsg_type = type;
    __builtin_memcpy(mnl_nlmsg_put_extra_header(message_, sizeof header), &header, sizeof header);
  }
  MessageBuilder& Put(uint16_t type, const void* data, size_t size) {
    mnl_attr_put(message_, type, size, data);
    return *this;
  }
  template <typename T>
  MessageBuilder& Number(uint16_t type, T value) {
    return Put(type, &value, sizeof value);
  }
  MessageBuilder& Text(uint16_t type, const char* text) {
    mnl_attr_put_strz(message_, type, text);
    return *this;
  }
  MessageBuilder& Begin(uint16_t type) {
    nests_.push_back(mnl_attr_nest_start(message_, type));
    return *this;
  }
  MessageBuilder& End() {
    mnl_attr_nest_end(message_, nests_.back());
    nests_.pop_back();
    return *this;
  }
  std::string Parse() {
    auto parsed = ParseNetMessage(message_, NameTables());
    if (!parsed.ok()) return std::string(parsed.status().message());
    return parsed->has_value() ? Json((*parsed)->item.object) : "ignored";
  }

 private:
  std::vector<char> buffer_;
  nlmsghdr* message_;
  std::vector<nlattr*> nests_;
};

ifinfomsg LinkHeader(uint16_t type = ARPHRD_ETHER, uint32_t flags = 0) {
  ifinfomsg header{};
  header.ifi_index = 9;
  header.ifi_type = type;
  header.ifi_flags = flags;
  return header;
}

TEST(ParseLinkTest, Vlan) {
  ifla_vlan_flags flags{0x3, 0xffffffff};
  std::string json = MessageBuilder(RTM_NEWLINK, LinkHeader())
                         .Text(IFLA_IFNAME, "eth0.5")
                         .Begin(IFLA_LINKINFO)
                         .Text(IFLA_INFO_KIND, "vlan")
                         .Begin(IFLA_INFO_DATA)
                         .Number<uint16_t>(IFLA_VLAN_PROTOCOL, htons(ETH_P_8021Q))
                         .Number<uint16_t>(IFLA_VLAN_ID, 5)
                         .Number(IFLA_VLAN_FLAGS, flags)
                         .End()
                         .End()
                         .Parse();
  EXPECT_THAT(json, testing::HasSubstr(R"("linkinfo":{"info_kind":"vlan","info_data":{"id":5,"protocol":"802.1Q",)"
                                       R"("flags":["REORDER_HDR","GVRP"]}})"));
}

TEST(ParseLinkTest, VrfAndItsPort) {
  EXPECT_THAT(MessageBuilder(RTM_NEWLINK, LinkHeader())
                  .Begin(IFLA_LINKINFO)
                  .Text(IFLA_INFO_KIND, "vrf")
                  .Begin(IFLA_INFO_DATA)
                  .Number<uint32_t>(IFLA_VRF_TABLE, 77)
                  .End()
                  .End()
                  .Parse(),
              testing::HasSubstr(R"("info_data":{"table":77})"));
  EXPECT_THAT(MessageBuilder(RTM_NEWLINK, LinkHeader())
                  .Begin(IFLA_LINKINFO)
                  .Text(IFLA_INFO_SLAVE_KIND, "vrf")
                  .Begin(IFLA_INFO_SLAVE_DATA)
                  .Number<uint32_t>(IFLA_VRF_PORT_TABLE, 77)
                  .End()
                  .End()
                  .Parse(),
              testing::HasSubstr(R"("info_slave_data":{"table":77})"));
}

TEST(ParseLinkTest, AddressesOfAnyLength) {
  const uint8_t infiniband[20] = {0x80, 0, 0, 0x48, 0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 2, 0xc9, 3, 0, 0x10, 0x20, 0x30};
  EXPECT_THAT(MessageBuilder(RTM_NEWLINK, LinkHeader(ARPHRD_INFINIBAND)).Put(IFLA_ADDRESS, infiniband, 20).Parse(),
              testing::HasSubstr(R"("address":"80:00:00:48:fe:80:00:00:00:00:00:00:00:02:c9:03:00:10:20:30")"));
  const uint8_t ipv4[] = {10, 0, 0, 1};
  std::string json = MessageBuilder(RTM_NEWLINK, LinkHeader(ARPHRD_IPGRE, IFF_POINTOPOINT))
                         .Put(IFLA_ADDRESS, ipv4, 4)
                         .Put(IFLA_BROADCAST, ipv4, 4)
                         .Parse();
  EXPECT_THAT(json, testing::HasSubstr(R"("address":"10.0.0.1","link_pointtopoint":true,"broadcast":"10.0.0.1")"));
  const uint8_t ipv6[16] = {0xfd, 0};
  EXPECT_THAT(MessageBuilder(RTM_NEWLINK, LinkHeader(ARPHRD_TUNNEL6)).Put(IFLA_ADDRESS, ipv6, 16).Parse(),
              testing::HasSubstr(R"("address":"fd00::")"));
  EXPECT_THAT(MessageBuilder(RTM_NEWLINK, LinkHeader(ARPHRD_NONE)).Parse(),
              testing::AllOf(testing::HasSubstr(R"("link_type":"none")"),
                             testing::Not(testing::HasSubstr(R"("address")"))));
}

TEST(ParseLinkTest, WhatHasNoNameIsANumber) {
  std::string json = MessageBuilder(RTM_NEWLINK, LinkHeader(999, 1u << 28))
                         .Number<uint8_t>(IFLA_OPERSTATE, 200)
                         .Number<uint8_t>(IFLA_LINKMODE, 7)
                         .Number<uint32_t>(IFLA_GROUP, 12)
                         .Parse();
  EXPECT_THAT(json, testing::HasSubstr(R"("flags":["10000000"])"));
  EXPECT_THAT(json, testing::HasSubstr(R"("operstate_index":200)"));
  EXPECT_THAT(json, testing::HasSubstr(R"("linkmode_index":7)"));
  EXPECT_THAT(json, testing::HasSubstr(R"("group":"12")"));
  EXPECT_THAT(json, testing::HasSubstr(R"("link_type":"[999]")"));
}

TEST(ParseLinkTest, PartialMessagesAreIgnored) {
  ifinfomsg bridge = LinkHeader();
  bridge.ifi_family = AF_BRIDGE;
  EXPECT_EQ(MessageBuilder(RTM_NEWLINK, bridge).Text(IFLA_IFNAME, "v0").Parse(), "ignored");
  EXPECT_EQ(MessageBuilder(RTM_DELLINK, bridge).Text(IFLA_IFNAME, "v0").Parse(), "ignored");
  EXPECT_EQ(MessageBuilder(RTM_NEWLINK, LinkHeader()).Number<uint32_t>(IFLA_WIRELESS, 0).Parse(), "ignored");
}

TEST(ParseRouteTest, MetricsAndLocks) {
  rtmsg header{};
  header.rtm_family = AF_INET;
  header.rtm_table = RT_TABLE_MAIN;
  header.rtm_type = RTN_UNICAST;
  header.rtm_protocol = RTPROT_BOOT;
  std::string json = MessageBuilder(RTM_NEWROUTE, header)
                         .Begin(RTA_METRICS)
                         .Number<uint32_t>(RTAX_LOCK, 1u << RTAX_MTU)
                         .Number<uint32_t>(RTAX_MTU, 1400)
                         .Number<uint32_t>(RTAX_RTT, 80)
                         .Number<uint32_t>(RTAX_HOPLIMIT, 0xffffffff)
                         .Number<uint32_t>(RTAX_FEATURES, 0x1 | 0x8)
                         .End()
                         .Parse();
  EXPECT_THAT(json, testing::HasSubstr(
                        R"("metrics":[{"mtu":1400,"rtt":10,"ecn":true,"locked":["mtu"],"features":"0x8"}])"));
  EXPECT_THAT(json, testing::HasSubstr(R"("dst":"default")"));
}

TEST(ParseRouteTest, CachedRoutesAndOtherFamiliesAreIgnored) {
  rtmsg header{};
  header.rtm_family = AF_INET;
  header.rtm_flags = RTM_F_CLONED;
  EXPECT_EQ(MessageBuilder(RTM_NEWROUTE, header).Parse(), "ignored");
  header.rtm_family = AF_MPLS;
  header.rtm_flags = 0;
  EXPECT_EQ(MessageBuilder(RTM_NEWROUTE, header).Parse(), "ignored");
}

TEST(ParseRouteTest, ABrokenListOfWaysIsAnError) {
  rtmsg header{};
  header.rtm_family = AF_INET;
  const uint8_t too_long[] = {200, 0, 0, 0, 1, 0, 0, 0};
  EXPECT_THAT(MessageBuilder(RTM_NEWROUTE, header).Put(RTA_MULTIPATH, too_long, sizeof too_long).Parse(),
              testing::HasSubstr("list of next hops"));
  const uint8_t endless[] = {0, 0, 0, 0, 1, 0, 0, 0};
  EXPECT_THAT(MessageBuilder(RTM_NEWROUTE, header).Put(RTA_MULTIPATH, endless, sizeof endless).Parse(),
              testing::HasSubstr("list of next hops"));
}

TEST(ParseRouteTest, TheOrderOfWaysIsNoPartOfTheKey) {
  rtmsg header{};
  header.rtm_family = AF_INET;
  const uint8_t a[] = {8, 0, 0, 0, 1, 0, 0, 0}, b[] = {8, 0, 0, 0, 2, 0, 0, 0};
  auto key = [&](const uint8_t* first, const uint8_t* second) {
    std::vector<uint8_t> ways(first, first + 8);
    ways.insert(ways.end(), second, second + 8);
    std::vector<char> buffer(512);
    nlmsghdr* message = mnl_nlmsg_put_header(buffer.data());
    message->nlmsg_type = RTM_NEWROUTE;
    __builtin_memcpy(mnl_nlmsg_put_extra_header(message, sizeof header), &header, sizeof header);
    mnl_attr_put(message, RTA_MULTIPATH, ways.size(), ways.data());
    return (*ParseRoute(message, NameTables()))->key;
  };
  EXPECT_EQ(key(a, b), key(b, a));
  EXPECT_NE(key(a, b), key(a, a));
}

TEST(ParseAddressTest, AWrongLengthIsAnError) {
  ifaddrmsg header{};
  header.ifa_family = AF_INET6;
  const uint8_t short_address[] = {1, 2, 3, 4};
  EXPECT_THAT(MessageBuilder(RTM_NEWADDR, header).Put(IFA_ADDRESS, short_address, 4).Parse(),
              testing::HasSubstr("family's length"));
}

}  // namespace
}  // namespace ipcrpc::monitor

#include "services/monitor/net_table.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/monitor/items_for_test.h"

namespace ipcrpc::monitor {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class NetTableTest : public testing::Test {
 protected:
  // The differences that a message makes, in short: "CHANGED eth0 ifname,mtu".
  std::vector<std::string> Apply(ParsedMessage message) {
    told_.clear();
    suspects_ = Suspects();
    table_.Apply(std::move(message), emit_, &suspects_);
    return told_;
  }
  std::vector<std::string> Replace(std::string_view prefix, std::vector<NetItem> items) {
    told_.clear();
    suspects_ = Suspects();
    table_.Replace(table_.Compare(prefix, std::move(items)), emit_, &suspects_);
    return told_;
  }

  static std::string Name(const v1::NetObject& object) {
    switch (object.object_case()) {
      case v1::NetObject::kLink: return object.link().ifname();
      case v1::NetObject::kAddress: return absl::StrCat(object.address().local(), "@", object.address().dev());
      case v1::NetObject::kRoute:
        return absl::StrCat(object.route().dst(), "@", object.route().dev(), ">", object.route().gateway());
      case v1::NetObject::kRule: return absl::StrCat("rule", object.rule().priority());
      default: return "?";
    }
  }

  NetTable table_;
  std::vector<std::string> told_;
  Suspects suspects_;
  const NetTable::Emit emit_ = [this](Difference difference) {
    EXPECT_EQ(difference.old != nullptr, difference.action == v1::NetEvent::CHANGED);
    std::string line = absl::StrCat(v1::NetEvent::Action_Name(difference.action), " ", Name(*difference.now));
    if (!difference.changed.empty()) absl::StrAppend(&line, " ", absl::StrJoin(difference.changed, ","));
    told_.push_back(line);
  };
};

TEST_F(NetTableTest, TellsEachDifferenceOnce) {
  EXPECT_THAT(Apply(Added(LinkItem(1, "lo"))), ElementsAre("ADDED lo"));
  EXPECT_THAT(Apply(Added(LinkItem(1, "lo"))), IsEmpty());
  NetItem changed = LinkItem(1, "lo");
  changed.object.mutable_link()->set_mtu(9000);
  EXPECT_THAT(Apply(Added(changed)), ElementsAre("CHANGED lo mtu"));
  EXPECT_THAT(Apply(Removed(LinkItem(1, "lo"))), ElementsAre("REMOVED lo"));
  EXPECT_THAT(Apply(Removed(LinkItem(1, "lo"))), IsEmpty());
}

TEST_F(NetTableTest, ARenamedLinkIsRenamedWhereverItIsNamed) {
  Apply(Added(LinkItem(2, "eth0", IFF_UP)));
  Apply(Added(LinkItem(3, "eth0.5", 0, 2)));
  EXPECT_THAT(Apply(Added(AddressItem(2, "10.0.0.1"))), ElementsAre("ADDED 10.0.0.1@eth0"));
  Apply(Added(RouteItem(AF_INET, "10.0.0.0/8", 2)));
  Apply(Added(RuleItem(5, "wan")));
  EXPECT_THAT(Apply(Added(LinkItem(2, "wan", IFF_UP))),
              ElementsAre("CHANGED wan ifname", "CHANGED eth0.5 link", "CHANGED 10.0.0.1@wan dev",
                          "CHANGED 10.0.0.0/8@wan> dev", "CHANGED rule5 iif_detached"));
}

TEST_F(NetTableTest, TheLinkBelowGoingDownIsAFlagOfTheOneAbove) {
  Apply(Added(LinkItem(2, "eth0", IFF_UP)));
  Apply(Added(LinkItem(3, "eth0.5", 0, 2)));
  EXPECT_THAT(Apply(Added(LinkItem(2, "eth0", 0))), ElementsAre("CHANGED eth0 flags", "CHANGED eth0.5 flags"));
  // And routes may have changed in silence.
  EXPECT_THAT(suspects_.prefixes, ElementsAre(KindPrefix(v1::NetObject::ROUTE)));
}

TEST_F(NetTableTest, LinksInOneListMayReferToLaterOnes) {
  EXPECT_THAT(Replace(KindPrefix(v1::NetObject::LINK), {LinkItem(2, "a", IFF_UP, 3), LinkItem(3, "b", IFF_UP, 2)}),
              ElementsAre("ADDED a", "ADDED b"));
  EXPECT_EQ(table_.objects().begin()->second->link().link(), "b");
}

TEST_F(NetTableTest, AnUnknownIndexHasTheNameThatIproute2Gives) {
  EXPECT_THAT(Apply(Added(AddressItem(7, "10.0.0.1"))), ElementsAre("ADDED 10.0.0.1@if7"));
  EXPECT_THAT(Apply(Added(LinkItem(7, "late"))), ElementsAre("ADDED late", "CHANGED 10.0.0.1@late dev"));
}

TEST_F(NetTableTest, AListRemovesWhatIsNotInItButOnlyOfItsFamily) {
  Apply(Added(RouteItem(AF_INET, "10.0.0.0/8", 1)));
  Apply(Added(RouteItem(AF_INET6, "fd00::/64", 1)));
  EXPECT_THAT(Replace(FamilyPrefix(v1::NetObject::ROUTE, AF_INET), {RouteItem(AF_INET, "11.0.0.0/8", 1)}),
              ElementsAre("REMOVED 10.0.0.0/8@if1>", "ADDED 11.0.0.0/8@if1>"));
  EXPECT_EQ(table_.objects().size(), 2u);
}

TEST_F(NetTableTest, TwoObjectsWithOneKeyInAListAreBothKept) {
  auto twins = [] { return std::vector<NetItem>{RouteItem(AF_INET, "10.0.0.0/8", 1), RouteItem(AF_INET, "10.0.0.0/8", 1)}; };
  std::string prefix = FamilyPrefix(v1::NetObject::ROUTE, AF_INET);
  EXPECT_EQ(Replace(prefix, twins()).size(), 2u);
  EXPECT_THAT(Replace(prefix, twins()), IsEmpty());
  // Which of them is gone a message does not say.
  EXPECT_THAT(Apply(Removed(RouteItem(AF_INET, "10.0.0.0/8", 1))), IsEmpty());
  EXPECT_THAT(suspects_.prefixes, ElementsAre(prefix));
}

TEST_F(NetTableTest, AReplacedRouteTurnsIntoTheOther) {
  Apply(Added(RouteItem(AF_INET, "10.0.0.0/8", 1, "192.0.2.1")));
  EXPECT_THAT(Apply(Added(RouteItem(AF_INET, "10.0.0.0/8", 1, "192.0.2.2"), NLM_F_REPLACE)),
              ElementsAre("CHANGED 10.0.0.0/8@if1>192.0.2.2 gateway"));
  EXPECT_EQ(table_.objects().size(), 1u);
}

TEST_F(NetTableTest, Ipv4RoutesToOneDestinationAreSeparate) {
  Apply(Added(RouteItem(AF_INET, "10.0.0.0/8", 1, "192.0.2.1")));
  EXPECT_THAT(Apply(Added(RouteItem(AF_INET, "10.0.0.0/8", 1, "192.0.2.2"), NLM_F_APPEND)),
              ElementsAre("ADDED 10.0.0.0/8@if1>192.0.2.2"));
  // Which of the two a further one replaces, its message does not say.
  EXPECT_THAT(Apply(Added(RouteItem(AF_INET, "10.0.0.0/8", 1, "192.0.2.3"), NLM_F_REPLACE)), IsEmpty());
  EXPECT_THAT(suspects_.prefixes, ElementsAre(FamilyPrefix(v1::NetObject::ROUTE, AF_INET)));
}

TEST_F(NetTableTest, AFurtherWayOfAnIpv6RouteIsADoubt) {
  Apply(Added(RouteItem(AF_INET6, "2001:db8::/32", 1, "fd00::1")));
  EXPECT_THAT(Apply(Added(RouteItem(AF_INET6, "2001:db8::/32", 1, "fd00::2"), NLM_F_APPEND)), IsEmpty());
  EXPECT_THAT(suspects_.prefixes, ElementsAre(FamilyPrefix(v1::NetObject::ROUTE, AF_INET6)));
  EXPECT_THAT(Apply(Removed(RouteItem(AF_INET6, "2001:db8::/32", 1, "fd00::3"))), IsEmpty());
  EXPECT_THAT(suspects_.prefixes, ElementsAre(FamilyPrefix(v1::NetObject::ROUTE, AF_INET6)));
}

TEST_F(NetTableTest, Ipv6RoutesOfInterfacesAreSeparate) {
  Apply(Added(RouteItem(AF_INET6, "fe80::/64", 1)));
  EXPECT_THAT(Apply(Added(RouteItem(AF_INET6, "fe80::/64", 2))), ElementsAre("ADDED fe80::/64@if2>"));
  EXPECT_THAT(suspects_.prefixes, IsEmpty());
}

TEST_F(NetTableTest, AnAddressThatGoesMayTakeRoutesWithIt) {
  Apply(Added(AddressItem(1, "10.0.0.1")));
  EXPECT_THAT(Apply(Removed(AddressItem(1, "10.0.0.1"))), ElementsAre("REMOVED 10.0.0.1@if1"));
  EXPECT_THAT(suspects_.prefixes, ElementsAre(FamilyPrefix(v1::NetObject::ROUTE, AF_INET)));
}

TEST_F(NetTableTest, AGotoIsUnresolvedWhileItsTargetIsMissing) {
  EXPECT_THAT(Apply(Added(RuleItem(5, "", 10))), ElementsAre("ADDED rule5", "CHANGED rule5 unresolved"));
  EXPECT_THAT(Apply(Added(RuleItem(10))), ElementsAre("ADDED rule10", "CHANGED rule5 unresolved"));
  EXPECT_THAT(Apply(Added(RuleItem(5, "", 10))), IsEmpty());
  EXPECT_THAT(Apply(Removed(RuleItem(10))), ElementsAre("REMOVED rule10", "CHANGED rule5 unresolved"));
}

TEST_F(NetTableTest, TheFirstEndOfAVethPairIsReadAgainForItsPeer) {
  auto veth = [](uint32_t index, const char* name, uint32_t peer) {
    NetItem item = LinkItem(index, name, 0, peer);
    item.object.mutable_link()->mutable_linkinfo()->set_info_kind("veth");
    return item;
  };
  // Announced before it has a peer.
  Apply(Added(veth(2, "v1", 0)));
  Apply(Added(veth(3, "v0", 2)));
  EXPECT_THAT(suspects_.links, ElementsAre(2u));
  Apply(Added(veth(2, "v1", 3)));
  // The peer moves to another namespace.
  Apply(Removed(veth(2, "v1", 3)));
  EXPECT_THAT(suspects_.links, ElementsAre(3u));
}

TEST(PiecesTest, AreTheWholeInOrder) {
  const std::string routes = FamilyPrefix(v1::NetObject::ROUTE, AF_INET);
  Replacement whole{routes, {"a", "b", "c"}, {RouteItem(AF_INET, "10.0.0.0/8", 1), RouteItem(AF_INET, "11.0.0.0/8", 1)}};
  const auto pieces = Pieces(whole, 2);
  ASSERT_EQ(pieces.size(), 3u);
  EXPECT_THAT(pieces[0].gone, testing::ElementsAre("a", "b"));
  EXPECT_THAT(pieces[1].gone, testing::ElementsAre("c"));
  EXPECT_EQ(pieces[1].items.size(), 1u);
  EXPECT_EQ(pieces[2].items[0].object.route().dst(), "11.0.0.0/8");
  EXPECT_EQ(pieces[2].prefix, routes);
  // One also when nothing differs, and for links.
  EXPECT_EQ(Pieces({routes, {}, {}}, 2).size(), 1u);
  EXPECT_EQ(Pieces({KindPrefix(v1::NetObject::LINK), {"a", "b", "c"}, {}}, 2).size(), 1u);
}

}  // namespace
}  // namespace ipcrpc::monitor

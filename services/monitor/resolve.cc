#include "services/monitor/resolve.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "services/monitor/attributes.h"

namespace ipcrpc::monitor {
namespace {

constexpr char kLowerDown[] = "M-DOWN";

std::string NameOf(const LinkTable& links, uint32_t index) {
  auto found = links.find(index);
  return found != links.end() ? found->second.name : absl::StrCat("if", index);
}

bool HasLinkNamed(const LinkTable& links, const std::string& name) {
  return std::any_of(links.begin(), links.end(), [&](const auto& link) { return link.second.name == name; });
}

void ResolveLink(const LinkTable& links, v1::Link* link) {
  auto* flags = link->mutable_flags();
  if (!flags->empty() && *flags->rbegin() == kLowerDown) flags->RemoveLast();
  link->clear_link();
  // An index in another namespace says nothing about the links of this one.
  if (link->has_link_index() && !link->has_link_netnsid()) {
    link->set_link(NameOf(links, link->link_index()));
    auto below = links.find(link->link_index());
    if (below == links.end() || !below->second.up) link->add_flags(kLowerDown);
  }
  if (link->has_master_index()) link->set_master(NameOf(links, link->master_index()));
  if (link->linkinfo().info_data().has_link_index()) {
    auto* data = link->mutable_linkinfo()->mutable_info_data();
    data->set_link(NameOf(links, data->link_index()));
  }
}

void ResolveNeighbor(const LinkTable& links, v1::Neighbor* neighbor) {
  neighbor->set_dev(NameOf(links, neighbor->ifindex()));
  // Tunnels have IP addresses for link-layer addresses.
  auto link = links.find(neighbor->ifindex());
  if (link == links.end()) return;
  std::string hex = absl::StrReplaceAll(neighbor->lladdr(), {{":", ""}});
  if (hex.size() != 8 && hex.size() != 32) return;
  if (hex.size() / 2 * 3 - 1 != neighbor->lladdr().size()) return;  // Has been turned into an IP address already.
  std::string bytes = absl::HexStringToBytes(hex);
  neighbor->set_lladdr(LinkLayerText({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                                     link->second.hardware_type));
}

void ResolveRoute(const LinkTable& links, v1::Route* route) {
  if (route->oif() != 0) route->set_dev(NameOf(links, route->oif()));
  for (v1::NextHop& hop : *route->mutable_nexthops()) hop.set_dev(NameOf(links, hop.oif()));
}

}  // namespace

void Resolve(const LinkTable& links, v1::NetObject* object) {
  switch (object->object_case()) {
    case v1::NetObject::kLink: ResolveLink(links, object->mutable_link()); break;
    case v1::NetObject::kAddress:
      object->mutable_address()->set_dev(NameOf(links, object->address().ifindex()));
      break;
    case v1::NetObject::kRoute: ResolveRoute(links, object->mutable_route()); break;
    case v1::NetObject::kNeighbor: ResolveNeighbor(links, object->mutable_neighbor()); break;
    case v1::NetObject::kRule: {
      v1::Rule* rule = object->mutable_rule();
      rule->set_iif_detached(!rule->iif().empty() && !HasLinkNamed(links, rule->iif()));
      rule->set_oif_detached(!rule->oif().empty() && !HasLinkNamed(links, rule->oif()));
      break;
    }
    case v1::NetObject::OBJECT_NOT_SET: break;
  }
}

void ForEachIndex(const v1::NetObject& object, const std::function<void(uint32_t)>& visit) {
  switch (object.object_case()) {
    case v1::NetObject::kLink:
      if (object.link().has_link_index()) visit(object.link().link_index());
      if (object.link().has_master_index()) visit(object.link().master_index());
      if (object.link().linkinfo().info_data().has_link_index()) {
        visit(object.link().linkinfo().info_data().link_index());
      }
      break;
    case v1::NetObject::kAddress: visit(object.address().ifindex()); break;
    case v1::NetObject::kRoute:
      if (object.route().oif() != 0) visit(object.route().oif());
      for (const v1::NextHop& hop : object.route().nexthops()) visit(hop.oif());
      break;
    case v1::NetObject::kNeighbor: visit(object.neighbor().ifindex()); break;
    case v1::NetObject::kRule:
    case v1::NetObject::OBJECT_NOT_SET: break;
  }
}

}  // namespace ipcrpc::monitor

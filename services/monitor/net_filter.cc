#include "services/monitor/net_filter.h"

#include <fnmatch.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace ipcrpc::monitor {
namespace {

bool IsPattern(const std::string& name) { return name.find_first_of("*?[\\") != std::string::npos; }

bool Contains(const std::vector<std::string>& list, const std::string& value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}

// The kinds of NetObject have the numbers of its fields.
uint32_t KindBit(int kind) { return 1u << kind; }

// inet or inet6; null for kinds without.
const std::string* FamilyOf(const v1::NetObject& object) {
  switch (object.object_case()) {
    case v1::NetObject::kAddress: return &object.address().family();
    case v1::NetObject::kRoute: return &object.route().family();
    case v1::NetObject::kNeighbor: return &object.neighbor().family();
    case v1::NetObject::kRule: return &object.rule().family();
    case v1::NetObject::kLink:
    case v1::NetObject::OBJECT_NOT_SET: return nullptr;
  }
  return nullptr;
}

const std::string* TableOf(const v1::NetObject& object) {
  if (object.has_route()) return &object.route().table();
  if (object.has_rule()) return &object.rule().table();
  return nullptr;
}

}  // namespace

absl::StatusOr<NetFilter> NetFilter::From(const v1::ListRequest& request) { return Make(request); }
absl::StatusOr<NetFilter> NetFilter::From(const v1::WatchRequest& request) { return Make(request); }

template <typename Request>
absl::StatusOr<NetFilter> NetFilter::Make(const Request& request) {
  NetFilter filter;
  for (int kind : request.kinds()) {
    if (kind == v1::NetObject::KIND_UNSPECIFIED || !v1::NetObject::Kind_IsValid(kind)) {
      return absl::InvalidArgumentError(
          absl::StrCat("kind ", kind, " does not exist; kinds are LINK, ADDRESS, ROUTE, NEIGHBOR, RULE"));
    }
    filter.kinds_ |= KindBit(kind);
  }
  filter.devs_.assign(request.dev().begin(), request.dev().end());
  filter.families_.assign(request.families().begin(), request.families().end());
  filter.tables_.assign(request.tables().begin(), request.tables().end());
  for (const std::string& family : filter.families_) {
    if (family != "inet" && family != "inet6") {
      return absl::InvalidArgumentError(absl::StrCat("family '", family, "' does not exist; families are inet, inet6"));
    }
  }
  if (Contains(filter.devs_, "") || Contains(filter.tables_, "")) {
    return absl::InvalidArgumentError("dev and tables must not be empty strings; leave the field out for all");
  }
  filter.all_ = filter.kinds_ == 0 && filter.devs_.empty() && filter.families_.empty() && filter.tables_.empty();
  return filter;
}

bool NetFilter::Passes(const v1::NetObject& object) const {
  if (all_) return true;
  if (kinds_ != 0 && (kinds_ & KindBit(object.object_case())) == 0) return false;
  if (!families_.empty()) {
    const std::string* family = FamilyOf(object);
    if (family != nullptr && !Contains(families_, *family)) return false;
  }
  if (!tables_.empty()) {
    const std::string* table = TableOf(object);
    if (table != nullptr && !Contains(tables_, *table)) return false;
  }
  return devs_.empty() || PassesDev(object);
}

bool NetFilter::PassesDev(const v1::NetObject& object) const {
  auto matches = [&](const std::string& name) {
    return std::any_of(devs_.begin(), devs_.end(), [&](const std::string& dev) {
      return dev == name || (IsPattern(dev) && fnmatch(dev.c_str(), name.c_str(), 0) == 0);
    });
  };
  // What belongs to no interface has no name, which no pattern is to match.
  auto wanted = [&](const std::string& name) { return !name.empty() && matches(name); };
  switch (object.object_case()) {
    case v1::NetObject::kLink: return wanted(object.link().ifname());
    case v1::NetObject::kAddress: return wanted(object.address().dev());
    case v1::NetObject::kRoute:
      return wanted(object.route().dev()) ||
             std::any_of(object.route().nexthops().begin(), object.route().nexthops().end(),
                         [&](const v1::NextHop& hop) { return wanted(hop.dev()); });
    case v1::NetObject::kNeighbor: return wanted(object.neighbor().dev());
    case v1::NetObject::kRule: return wanted(object.rule().iif()) || wanted(object.rule().oif());
    case v1::NetObject::OBJECT_NOT_SET: return false;
  }
  return false;
}

v1::NetObject ObjectOf(const v1::NetEvent& event) {
  v1::NetObject object;
  switch (event.object_case()) {
    case v1::NetEvent::kLink: *object.mutable_link() = event.link(); break;
    case v1::NetEvent::kAddress: *object.mutable_address() = event.address(); break;
    case v1::NetEvent::kRoute: *object.mutable_route() = event.route(); break;
    case v1::NetEvent::kNeighbor: *object.mutable_neighbor() = event.neighbor(); break;
    case v1::NetEvent::kRule: *object.mutable_rule() = event.rule(); break;
    case v1::NetEvent::OBJECT_NOT_SET: break;
  }
  return object;
}

std::vector<v1::NetObject> ObjectsOf(const v1::ListReply& list) {
  std::vector<v1::NetObject> objects;
  for (const auto& link : list.links()) *objects.emplace_back().mutable_link() = link;
  for (const auto& address : list.addresses()) *objects.emplace_back().mutable_address() = address;
  for (const auto& route : list.routes()) *objects.emplace_back().mutable_route() = route;
  for (const auto& neighbor : list.neighbors()) *objects.emplace_back().mutable_neighbor() = neighbor;
  for (const auto& rule : list.rules()) *objects.emplace_back().mutable_rule() = rule;
  return objects;
}

void SetObject(const v1::NetObject& object, v1::NetEvent* event) {
  switch (object.object_case()) {
    case v1::NetObject::kLink: *event->mutable_link() = object.link(); break;
    case v1::NetObject::kAddress: *event->mutable_address() = object.address(); break;
    case v1::NetObject::kRoute: *event->mutable_route() = object.route(); break;
    case v1::NetObject::kNeighbor: *event->mutable_neighbor() = object.neighbor(); break;
    case v1::NetObject::kRule: *event->mutable_rule() = object.rule(); break;
    case v1::NetObject::OBJECT_NOT_SET: break;
  }
}

}  // namespace ipcrpc::monitor

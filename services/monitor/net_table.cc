#include "services/monitor/net_table.h"

#include <linux/if.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <algorithm>

#include "services/monitor/key.h"

namespace ipcrpc::monitor {
namespace {

// The flags of a link on which the state of routes depends.
constexpr uint32_t kCarrierFlags = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;

int FamilyOf(std::string_view key) { return static_cast<unsigned char>(key[1]); }

bool IsKind(std::string_view key, v1::NetObject::Kind kind) { return key[0] == static_cast<char>(kind); }

}  // namespace

std::string KindPrefix(v1::NetObject::Kind kind) { return std::string(1, static_cast<char>(kind)); }

std::string FamilyPrefix(v1::NetObject::Kind kind, int family) { return KeyBuilder(kind, family).str(); }

std::vector<Replacement> Pieces(Replacement replacement, size_t size_max) {
  if (IsKind(replacement.prefix, v1::NetObject::LINK)) return {std::move(replacement)};
  std::vector<Replacement> pieces{{replacement.prefix, {}, {}}};
  const auto last = [&]() -> Replacement& {
    if (pieces.back().gone.size() + pieces.back().items.size() >= size_max) pieces.push_back({replacement.prefix, {}, {}});
    return pieces.back();
  };
  for (std::string& key : replacement.gone) last().gone.push_back(std::move(key));
  for (NetItem& item : replacement.items) last().items.push_back(std::move(item));
  return pieces;
}

void NetTable::Apply(ParsedMessage message, const Emit& emit, Suspects* suspects) {
  std::string key = message.item.key;
  if (IsKind(key, v1::NetObject::ROUTE)) {
    ApplyRoute(std::move(message), emit, suspects);
  } else if (!message.removed) {
    Upsert(std::move(message.item), emit, suspects);
  } else if (auto entry = objects_.find(key); entry != objects_.end()) {
    Remove(entry, emit, suspects);
  }
  AfterLinks(emit);
  if (IsKind(key, v1::NetObject::RULE)) CheckGotos(FamilyOf(key), emit);
}

// What a message about a route means for the table. IPv6 routes with gateways to one destination are ways
// of one multipath route, whose messages tell sometimes one way and sometimes all; and a replaced route is
// not named by the message that replaces it. Where that leaves a doubt, the family is read again.
void NetTable::ApplyRoute(ParsedMessage message, const Emit& emit, Suspects* suspects) {
  NetItem& item = message.item;
  const v1::Route& route = item.object.route();
  int family = FamilyOf(item.key);
  auto doubt = [&] { suspects->prefixes.insert(FamilyPrefix(v1::NetObject::ROUTE, family)); };
  std::vector<Iterator> siblings = Range(item.base_key);
  auto entry = objects_.find(item.key);

  if (message.removed) {
    bool twins = Range(item.key).size() > 1;
    if (entry != objects_.end() && !twins) {
      Remove(entry, emit, suspects);
    } else if (!siblings.empty()) {
      doubt();
    }
    return;
  }
  bool replaces = message.flags & NLM_F_REPLACE;
  bool appends = message.flags & NLM_F_APPEND;
  if (entry != objects_.end()) {
    appends && !replaces ? doubt() : Upsert(std::move(item), emit, suspects);
  } else if (siblings.empty()) {
    Upsert(std::move(item), emit, suspects);
  } else if (replaces && siblings.size() == 1) {
    // The one that was there has turned into this one.
    Unrefer(siblings[0]);
    auto node = objects_.extract(siblings[0]);
    std::string old_key = std::exchange(node.key(), item.key);
    auto moved = objects_.insert(std::move(node)).position;
    Refer(moved);
    Resolve(links_, &item.object);
    Update(moved, std::move(item.object), emit, std::move(old_key));
  } else if (replaces || (family == AF_INET6 && (!route.gateway().empty() || route.nexthops_size() > 0))) {
    doubt();
  } else {
    Upsert(std::move(item), emit, suspects);
  }
}

Replacement NetTable::Compare(std::string_view prefix, std::vector<NetItem> items) const {
  const auto by_key = [](const NetItem& a, const NetItem& b) { return a.key < b.key; };
  std::stable_sort(items.begin(), items.end(), by_key);
  bool twins = false;
  for (size_t i = 1; i < items.size(); ++i) {
    // Two objects that differ in nothing the key knows: told apart by their order.
    const std::string& before = items[i - 1].key;
    if (before.starts_with(items[i].key) && before.find_first_not_of('\x01', items[i].key.size()) == std::string::npos) {
      twins = true;
      items[i].key = before + '\x01';
    }
  }
  if (twins) std::sort(items.begin(), items.end(), by_key);

  Replacement replacement{std::string(prefix), {}, {}};
  auto known = objects_.lower_bound(replacement.prefix);
  const auto in_range = [&] { return known != objects_.end() && known->first.starts_with(prefix); };
  for (NetItem& item : items) {
    for (; in_range() && known->first < item.key; ++known) replacement.gone.push_back(known->first);
    const bool same_key = in_range() && known->first == item.key;
    const bool same = same_key && !item.object.has_link() && SameResolved(item.object, *known->second);
    if (same_key) ++known;
    if (!same) replacement.items.push_back(std::move(item));
  }
  for (; in_range(); ++known) replacement.gone.push_back(known->first);
  return replacement;
}

// Whether an object as parsed is the one that is known. Not for links, whose names are those of the list itself.
bool NetTable::SameResolved(v1::NetObject object, const v1::NetObject& known) const {
  Resolve(links_, &object);
  if (object.has_rule()) object.mutable_rule()->set_unresolved(known.rule().unresolved());
  return Same(object, known);
}

void NetTable::Replace(Replacement replacement, const Emit& emit, Suspects* suspects) {
  for (const std::string& key : replacement.gone) {
    if (auto entry = objects_.find(key); entry != objects_.end()) Remove(entry, emit, suspects);
  }
  // All links before any is resolved, since they refer to each other.
  for (const NetItem& item : replacement.items) {
    if (item.object.has_link()) NoteLink(item, suspects);
  }
  for (NetItem& item : replacement.items) Upsert(std::move(item), emit, suspects);
  AfterLinks(emit);
  if (!replacement.prefix.empty() && IsKind(replacement.prefix, v1::NetObject::RULE)) {
    for (int family : {AF_INET, AF_INET6}) CheckGotos(family, emit);
  }
}

void NetTable::Upsert(NetItem item, const Emit& emit, Suspects* suspects) {
  if (item.object.has_link()) NoteLink(item, suspects);
  Resolve(links_, &item.object);
  auto entry = objects_.find(item.key);
  if (entry != objects_.end()) {
    // CheckGotos alone decides on this one.
    if (item.object.has_rule()) item.object.mutable_rule()->set_unresolved(entry->second->rule().unresolved());
    Update(entry, std::move(item.object), emit);
    return;
  }
  if (item.object.has_link()) SuspectPeers(item.object.link(), /*removed=*/false, suspects);
  auto object = std::make_shared<const v1::NetObject>(std::move(item.object));
  entry = objects_.emplace(std::move(item.key), object).first;
  Refer(entry);
  emit({v1::NetEvent::ADDED, object, nullptr, {}, entry->first, ""});
}

void NetTable::Update(Iterator entry, v1::NetObject object, const Emit& emit, std::string old_key) {
  if (Same(*entry->second, object) && old_key.empty()) return;
  ObjectPtr old = entry->second;
  Unrefer(entry);
  entry->second = std::make_shared<const v1::NetObject>(std::move(object));
  Refer(entry);
  TellChanged(entry, std::move(old), std::move(old_key), emit);
}

void NetTable::Remove(Iterator entry, const Emit& emit, Suspects* suspects) {
  ObjectPtr object = entry->second;
  Unrefer(entry);
  std::string key = entry->first;
  objects_.erase(entry);
  emit({v1::NetEvent::REMOVED, object, nullptr, {}, std::move(key), ""});
  if (object->has_link()) {
    uint32_t index = object->link().ifindex();
    links_.erase(index);
    link_flags_.erase(index);
    changed_links_[index] = true;
    SuspectPeers(object->link(), /*removed=*/true, suspects);
    // IPv4 routes go with their interface, or their source address, without a message each.
    if (references_.count(index) != 0) suspects->prefixes.insert(KindPrefix(v1::NetObject::ROUTE));
  } else if (object->has_address() && object->address().family() == "inet") {
    suspects->prefixes.insert(FamilyPrefix(v1::NetObject::ROUTE, AF_INET));
  }
}

void NetTable::NoteLink(const NetItem& item, Suspects* suspects) {
  const v1::Link& link = item.object.link();
  LinkFacts facts{link.ifname(), (item.link_flags & IFF_UP) != 0, item.hardware_type};
  auto [known, fresh] = links_.try_emplace(link.ifindex());
  bool named = fresh || known->second.name != facts.name;
  if (named || known->second.up != facts.up) changed_links_[link.ifindex()] |= named;
  known->second = std::move(facts);
  uint32_t& flags = link_flags_[link.ifindex()];
  // Routes are marked dead or linkdown, revived, and IPv4 ones dropped, without a message each.
  if (!fresh && ((flags ^ item.link_flags) & kCarrierFlags)) {
    suspects->prefixes.insert(KindPrefix(v1::NetObject::ROUTE));
  }
  flags = item.link_flags;
}

void NetTable::SuspectPeers(const v1::Link& link, bool removed, Suspects* suspects) {
  if (auto references = references_.find(link.ifindex()); removed && references != references_.end()) {
    for (const Entry* entry : references->second.links) {
      const v1::Link& other = entry->second->link();
      if (other.link_index() == link.ifindex() && !other.has_link_netnsid()) suspects->links.insert(other.ifindex());
    }
  } else if (!removed && link.has_link_index() && link.linkinfo().info_kind() == "veth") {
    auto peer = objects_.find(KeyBuilder(v1::NetObject::LINK, 0).U32(link.link_index()).str());
    if (peer != objects_.end() && peer->second->link().link_index() != link.ifindex()) {
      suspects->links.insert(link.link_index());
    }
  }
}

void NetTable::AfterLinks(const Emit& emit) {
  if (changed_links_.empty()) return;
  std::map<uint32_t, bool> changed;
  changed.swap(changed_links_);
  bool names_changed = false;
  std::set<std::string> again;
  for (const auto& [index, named] : changed) {
    names_changed |= named;
    auto references = references_.find(index);
    if (references == references_.end()) continue;
    for (const Entry* entry : references->second.links) again.insert(entry->first);
    // Of a link that is gone, what else refers to it goes too, by its own message or when routes are read again.
    if (!named || links_.count(index) == 0) continue;
    for (const Entry* entry : references->second.others) again.insert(entry->first);
  }
  for (const std::string& key : again) ResolveAgain(objects_.find(key), emit);
  if (!names_changed) return;
  for (Iterator entry : Range(KindPrefix(v1::NetObject::RULE))) {
    if (!entry->second->rule().iif().empty() || !entry->second->rule().oif().empty()) ResolveAgain(entry, emit);
  }
}

void NetTable::ResolveAgain(Iterator entry, const Emit& emit) {
  v1::NetObject object = *entry->second;
  Resolve(links_, &object);
  Update(entry, std::move(object), emit);
}

void NetTable::CheckGotos(int family, const Emit& emit) {
  for (Iterator entry : Range(FamilyPrefix(v1::NetObject::RULE, family))) {
    const v1::Rule& rule = entry->second->rule();
    if (!rule.has_goto_()) continue;
    bool unresolved = !HasPrefix(KeyBuilder(v1::NetObject::RULE, family).U32(rule.goto_()).str());
    if (unresolved == rule.unresolved()) continue;
    v1::NetObject object = *entry->second;
    object.mutable_rule()->set_unresolved(unresolved);
    Update(entry, std::move(object), emit);
  }
}

void NetTable::Refer(Iterator entry) {
  ForEachIndex(*entry->second, [&](uint32_t index) {
    References& references = references_[index];
    (entry->second->has_link() ? references.links : references.others).insert(&*entry);
  });
}

void NetTable::Unrefer(Iterator entry) {
  ForEachIndex(*entry->second, [&](uint32_t index) {
    auto references = references_.find(index);
    if (references == references_.end()) return;  // an object may name an index twice
    (entry->second->has_link() ? references->second.links : references->second.others).erase(&*entry);
    if (references->second.links.empty() && references->second.others.empty()) references_.erase(references);
  });
}

bool NetTable::HasPrefix(std::string_view prefix) const {
  auto entry = objects_.lower_bound(std::string(prefix));
  return entry != objects_.end() && entry->first.starts_with(prefix);
}

std::vector<NetTable::Iterator> NetTable::Range(std::string_view prefix) {
  std::vector<Iterator> range;
  for (auto entry = objects_.lower_bound(std::string(prefix));
       entry != objects_.end() && std::string_view(entry->first).starts_with(prefix); ++entry) {
    range.push_back(entry);
  }
  return range;
}

}  // namespace ipcrpc::monitor

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "services/monitor/object_table.h"
#include "services/monitor/parse.h"
#include "services/monitor/resolve.h"

// The kernel's objects as they are known now, kept by key: applies single messages and whole dumps. It knows nothing of
// sockets.

namespace ipcrpc::monitor {

// What must be read again, because the kernel changes it without a word or in a way that one message
// does not say.
struct Suspects {
  // What to list again: prefixes of keys, from KindPrefix and FamilyPrefix.
  std::set<std::string> prefixes;
  // Single links to read again.
  std::set<uint32_t> links;
};

// How a dump differs from what is known.
struct Replacement {
  std::string prefix;
  std::vector<std::string> gone;  // keys
  std::vector<NetItem> items;     // new, or other than known
};

// The same in pieces of so many keys at most, to be put in one after the other; at least one. Links stay together,
// since they refer to each other.
std::vector<Replacement> Pieces(Replacement replacement, size_t size_max);

// Key prefixes of what one dump covers.
std::string KindPrefix(v1::NetObject::Kind kind);
std::string FamilyPrefix(v1::NetObject::Kind kind, int family);

class NetTable : public ObjectTable {
 public:
  // Takes in one notification.
  void Apply(ParsedMessage message, const Emit& emit, Suspects* suspects);

  // Takes in a dump: afterwards the objects whose keys begin with `prefix` are exactly `items`. In two steps: to
  // find what is different, which is most of the work and changes nothing; and to make it so.
  Replacement Compare(std::string_view prefix, std::vector<NetItem> items) const;
  void Replace(Replacement replacement, const Emit& emit, Suspects* suspects);

 private:
  using Entry = ObjectMap::value_type;
  struct EntryLess {
    bool operator()(const Entry* a, const Entry* b) const { return a->first < b->first; }
  };

  bool SameResolved(v1::NetObject object, const v1::NetObject& known) const;
  void ApplyRoute(ParsedMessage message, const Emit& emit, Suspects* suspects);
  void Upsert(NetItem item, const Emit& emit, Suspects* suspects);
  void Remove(Iterator entry, const Emit& emit, Suspects* suspects);
  // Puts `object` at `entry`, telling the difference.
  // `old_key`: where it was.
  void Update(Iterator entry, v1::NetObject object, const Emit& emit, std::string old_key = "");
  void Refer(Iterator entry);
  void Unrefer(Iterator entry);
  // Takes what others need to know of a link; remembers what changed for AfterLinks.
  void NoteLink(const NetItem& item, Suspects* suspects);
  // The other end of a veth pair comes, goes to another namespace and returns without a word about this end.
  void SuspectPeers(const v1::Link& link, bool removed, Suspects* suspects);
  // Resolves again what refers to links that changed.
  void AfterLinks(const Emit& emit);
  void ResolveAgain(Iterator entry, const Emit& emit);
  // Marks the rules of a family whose goto leads nowhere.
  void CheckGotos(int family, const Emit& emit);
  bool HasPrefix(std::string_view prefix) const;
  std::vector<Iterator> Range(std::string_view prefix);

  LinkTable links_;
  std::unordered_map<uint32_t, uint32_t> link_flags_;
  // The objects that refer to an interface index, by their places in objects_; only those that some do.
  struct References {
    std::set<const Entry*, EntryLess> links;
    std::set<const Entry*, EntryLess> others;
  };
  std::unordered_map<uint32_t, References> references_;
  // Links that changed since AfterLinks: in name or existence (true), or in state alone (false).
  std::map<uint32_t, bool> changed_links_;
};

}  // namespace ipcrpc::monitor

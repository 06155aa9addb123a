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

#include "ipcrpc/monitor/v1/net_events.pb.h"
#include "services/monitor/parse.h"
#include "services/monitor/resolve.h"

// The kernel's objects as they are known now, kept by key: applies single messages and whole dumps, and
// tells each difference once. It knows nothing of threads, time, revisions or sockets.

namespace ipcrpc::monitor {

using ObjectPtr = std::shared_ptr<const v1::NetObject>;

// One difference. `now` is the object (as last seen when REMOVED); `old` and `changed` only with CHANGED.
struct Difference {
  v1::NetEvent::Action action;
  ObjectPtr now;
  ObjectPtr old;
  std::vector<std::string> changed;
};

// What must be read again, because the kernel changes it without a word or in a way that one message
// does not say.
struct Suspects {
  // What to list again: prefixes of keys, from KindPrefix and FamilyPrefix.
  std::set<std::string> prefixes;
  // Single links to read again.
  std::set<uint32_t> links;
};

// Key prefixes of what one dump covers.
std::string KindPrefix(v1::NetObject::Kind kind);
std::string FamilyPrefix(v1::NetObject::Kind kind, int family);

class NetTable {
 public:
  using Emit = std::function<void(Difference)>;

  // Takes in one notification.
  void Apply(ParsedMessage message, const Emit& emit, Suspects* suspects);

  // Takes in a dump: afterwards the objects whose keys begin with `prefix` are exactly `items`.
  void Replace(std::string_view prefix, std::vector<NetItem> items, const Emit& emit, Suspects* suspects);

  // Ordered by kind, family and key.
  const std::map<std::string, ObjectPtr>& objects() const { return objects_; }

 private:
  using Iterator = std::map<std::string, ObjectPtr>::iterator;

  void ApplyRoute(ParsedMessage message, const Emit& emit, Suspects* suspects);
  void Upsert(NetItem item, const Emit& emit, Suspects* suspects);
  void Remove(Iterator entry, const Emit& emit, Suspects* suspects);
  // Puts `object` at `entry`, telling the difference.
  void Update(Iterator entry, v1::NetObject object, const Emit& emit);
  void CountReferences(const v1::NetObject& object, int step);
  // Takes what others need to know of a link; remembers what changed for AfterLinks.
  void NoteLink(const NetItem& item, Suspects* suspects);
  // The other end of a veth pair comes, goes to another namespace and returns without a word about this end.
  void SuspectPeers(const v1::Link& link, bool removed, Suspects* suspects);
  // Resolves again what refers to links that changed.
  void AfterLinks(const Emit& emit);
  void ResolveAgain(std::string_view prefix, const std::function<bool(const v1::NetObject&)>& which,
                    const Emit& emit);
  // Marks the rules of a family whose goto leads nowhere.
  void CheckGotos(int family, const Emit& emit);
  bool HasPrefix(std::string_view prefix) const;
  std::vector<Iterator> Range(std::string_view prefix);

  std::map<std::string, ObjectPtr> objects_;
  LinkTable links_;
  std::unordered_map<uint32_t, uint32_t> link_flags_;
  // How many objects refer to an interface index; only those that some do.
  struct References {
    uint32_t links = 0;
    uint32_t others = 0;
  };
  std::unordered_map<uint32_t, References> references_;
  // Links that changed since AfterLinks: in name or existence (true), or in state alone (false).
  std::map<uint32_t, bool> changed_links_;
};

}  // namespace ipcrpc::monitor

#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ipcrpc/monitor/v1/net_events.pb.h"

// Objects by key, which tell each difference once. No threads, time or revisions.

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

using ObjectPtr = std::shared_ptr<const v1::NetObject>;
// The objects of one namespace by key.
using ObjectMap = std::map<std::string, ObjectPtr>;

// One difference. `now` is the object (as last seen when REMOVED); `old` and `changed` only with CHANGED.
struct Difference {
  v1::NetEvent::Action action;
  ObjectPtr now;
  ObjectPtr old;
  std::vector<std::string> changed;
  // Where the object is, and where it was before it turned into another (else empty).
  std::string key;
  std::string old_key;
};

// An object as another table has it.
struct KeyedObject {
  std::string key;
  v1::NetObject object;
};

class ObjectTable {
 public:
  using Emit = std::function<void(Difference)>;

  // The object at `key` is this one; `old_key`: it was there before, if that is not empty.
  void Put(const std::string& key, v1::NetObject object, const std::string& old_key, const Emit& emit);
  // There is none, if there was one.
  void Erase(const std::string& key, const Emit& emit);

  // How those of another table, each key of which is there once, differ from these: the keys that it has not, and the
  // objects that are new or other.
  struct Unlike {
    std::vector<std::string> gone;
    std::vector<KeyedObject> objects;
  };
  Unlike CompareAll(std::vector<KeyedObject> objects) const;

  // Appends those of a kind, in their order.
  void Collect(v1::NetObject::Kind kind, std::vector<ObjectPtr>* out) const;
  // Ordered by kind, family and key.
  const ObjectMap& objects() const { return objects_; }

 protected:
  using Iterator = ObjectMap::iterator;

  static bool Same(const v1::NetObject& a, const v1::NetObject& b);
  // `entry` is as given now, and was `old`: tells it.
  static void TellChanged(Iterator entry, ObjectPtr old, std::string old_key, const Emit& emit);

  ObjectMap objects_;
};

}  // namespace ipcrpc::monitor

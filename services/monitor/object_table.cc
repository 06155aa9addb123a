#include "services/monitor/object_table.h"

#include <algorithm>
#include <utility>

#include <google/protobuf/util/message_differencer.h>

namespace ipcrpc::monitor {
namespace {

// The message inside the oneof.
const google::protobuf::Message& Inner(const v1::NetObject& object) {
  const auto* reflection = object.GetReflection();
  const auto* field = reflection->GetOneofFieldDescriptor(object, object.GetDescriptor()->oneof_decl(0));
  return reflection->GetMessage(object, field);
}

std::vector<std::string> ChangedFields(const v1::NetObject& old, const v1::NetObject& now) {
  const google::protobuf::Message& a = Inner(old);
  const google::protobuf::Message& b = Inner(now);
  google::protobuf::util::MessageDifferencer differencer;
  std::vector<std::string> names;
  for (int i = 0; i < a.GetDescriptor()->field_count(); ++i) {
    const auto* field = a.GetDescriptor()->field(i);
    if (!differencer.CompareWithFields(a, b, {field}, {field})) names.push_back(field->json_name());
  }
  return names;
}

}  // namespace

bool ObjectTable::Same(const v1::NetObject& a, const v1::NetObject& b) { return a.SerializeAsString() == b.SerializeAsString(); }

void ObjectTable::Collect(v1::NetObject::Kind kind, std::vector<ObjectPtr>* out) const {
  const std::string prefix(1, static_cast<char>(kind));
  for (auto entry = objects_.lower_bound(prefix); entry != objects_.end() && entry->first.starts_with(prefix); ++entry) {
    out->push_back(entry->second);
  }
}

void ObjectTable::TellChanged(Iterator entry, ObjectPtr old, std::string old_key, const Emit& emit) {
  std::vector<std::string> changed = ChangedFields(*old, *entry->second);
  emit({v1::NetEvent::CHANGED, entry->second, std::move(old), std::move(changed), entry->first, std::move(old_key)});
}

void ObjectTable::Put(const std::string& key, v1::NetObject object, const std::string& old_key, const Emit& emit) {
  auto entry = objects_.find(key);
  const auto before = old_key == key ? objects_.end() : objects_.find(old_key);
  const bool moves = before != objects_.end();
  if (moves) {
    if (entry != objects_.end()) Erase(key, emit);
    auto node = objects_.extract(before);
    node.key() = key;
    entry = objects_.insert(std::move(node)).position;
  } else if (entry == objects_.end()) {
    const ObjectPtr added = std::make_shared<const v1::NetObject>(std::move(object));
    objects_.emplace(key, added);
    emit({v1::NetEvent::ADDED, added, nullptr, {}, key, ""});
    return;
  } else if (Same(*entry->second, object)) {
    return;
  }
  ObjectPtr old = std::exchange(entry->second, std::make_shared<const v1::NetObject>(std::move(object)));
  TellChanged(entry, std::move(old), moves ? old_key : "", emit);
}

void ObjectTable::Erase(const std::string& key, const Emit& emit) {
  const auto entry = objects_.find(key);
  if (entry == objects_.end()) return;
  const ObjectPtr object = entry->second;
  objects_.erase(entry);
  emit({v1::NetEvent::REMOVED, object, nullptr, {}, key, ""});
}

ObjectTable::Unlike ObjectTable::CompareAll(std::vector<KeyedObject> objects) const {
  std::sort(objects.begin(), objects.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
  Unlike unlike;
  auto known = objects_.begin();
  for (KeyedObject& object : objects) {
    for (; known != objects_.end() && known->first < object.key; ++known) unlike.gone.push_back(known->first);
    const bool same_key = known != objects_.end() && known->first == object.key;
    const bool same = same_key && Same(*known->second, object.object);
    if (same_key) ++known;
    if (!same) unlike.objects.push_back(std::move(object));
  }
  for (; known != objects_.end(); ++known) unlike.gone.push_back(known->first);
  return unlike;
}

}  // namespace ipcrpc::monitor

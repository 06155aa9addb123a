#include "services/monitor/iproute2_json_for_test.h"

#include <google/protobuf/struct.pb.h>
#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/message_differencer.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "services/monitor/left_out.h"

namespace ipcrpc::monitor {
namespace {

using google::protobuf::ListValue;
using google::protobuf::Struct;
using google::protobuf::Value;

std::string Text(const google::protobuf::Message& message) {
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(message, &json);
  return json;
}

Struct ToStruct(const google::protobuf::Message& message) {
  // The names that users get.
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = false;
  std::string json;
  Struct out;
  if (!google::protobuf::util::MessageToJsonString(message, &json, options).ok() ||
      !google::protobuf::util::JsonStringToMessage(json, &out).ok()) {
    (*out.mutable_fields())["not JSON"].set_string_value(json);
  }
  return out;
}

const Value* Find(const Struct& object, const std::string& key) {
  auto found = object.fields().find(key);
  return found == object.fields().end() ? nullptr : &found->second;
}

bool IsLeftOut(std::string_view command, const std::string& path) {
  return std::any_of(std::begin(kLeftOut), std::end(kLeftOut),
                     [&](const LeftOut& entry) { return entry.command == command && entry.key == path; });
}

std::string OurName(std::string_view command, const std::string& path, const std::string& key) {
  for (const Renamed& renamed : kRenamed) {
    if (renamed.command == command && renamed.theirs == path) return std::string(renamed.ours);
  }
  return key;
}

// Keys of ours that `ip` does not print, even with -d. The issue asks for most of them by name.
bool IsOurAddition(std::string_view command, const std::string& path) {
  static const std::set<std::pair<std::string_view, std::string_view>> additions = {
      {"link", "link_index"},   {"link", "master_index"}, {"link", "linkinfo.info_data.link_index"},
      {"addr", "ifindex"},      {"addr", "dev"},          {"route", "family"},
      {"route", "oif"},         {"route", "nexthops.oif"}, {"route", "metrics.locked"},
      {"neigh", "family"},      {"neigh", "ifindex"},     {"rule", "family"},
      // Newer than the iproute2 this is compared with (6.1).
      {"addr", "protocol"},     {"link", "parentbus"},    {"link", "parentdev"}};
  return additions.count({command, path}) != 0;
}

struct Comparison {
  std::string_view command;
  Walk walk;
  std::vector<std::string> differences;

  void Differ(const std::string& path, const Value* theirs, const Value* ours) {
    differences.push_back(absl::StrCat(path, ": ip has ", theirs ? Text(*theirs) : "nothing", ", we have ",
                                       ours ? Text(*ours) : "nothing"));
  }

  void Objects(const std::string& prefix, const Struct& theirs, const Struct& ours) {
    std::set<std::string> seen;
    for (const auto& [key, value] : theirs.fields()) {
      std::string path = prefix + key;
      std::string our_key = OurName(command, path, key);
      seen.insert(our_key);
      const Value* our_value = Find(ours, our_key);
      if (our_value == nullptr && LeftOutHere(path, value)) continue;
      Values(path, value, our_value);
    }
    if (walk != Walk::kBothWays) return;
    for (const auto& [key, value] : ours.fields()) {
      if (seen.count(key) == 0 && !IsOurAddition(command, prefix + key)) Differ(prefix + key, nullptr, &value);
    }
  }

  bool LeftOutHere(const std::string& path, const Value& theirs) const {
    // Lifetimes are left out where they count down only.
    if (command == "addr" && theirs.number_value() == 4294967295.0) return false;
    return IsLeftOut(command, path);
  }

  void Values(const std::string& path, const Value& theirs, const Value* ours) {
    switch (theirs.kind_case()) {
      case Value::kNullValue:
        // A mark; but `"link": null` is a link below that is not known.
        if (path == "link" ? ours != nullptr : (ours == nullptr || !ours->bool_value())) Differ(path, &theirs, ours);
        return;
      case Value::kListValue:
        Lists(path, theirs, ours);
        return;
      case Value::kStructValue:
        if (ours == nullptr || !ours->has_struct_value()) {
          if (!theirs.struct_value().fields().empty()) Differ(path, &theirs, ours);
          return;
        }
        Objects(path + ".", theirs.struct_value(), ours->struct_value());
        return;
      case Value::kNumberValue:
        // 64-bit numbers are strings in protobuf's JSON.
        if (ours != nullptr && ours->kind_case() == Value::kStringValue &&
            ours->string_value() == absl::StrCat(static_cast<uint64_t>(theirs.number_value()))) {
          return;
        }
        [[fallthrough]];
      default:
        // False is not printed.
        if (ours == nullptr && theirs.kind_case() == Value::kBoolValue && !theirs.bool_value()) return;
        if (ours == nullptr || !google::protobuf::util::MessageDifferencer::Equals(theirs, *ours)) {
          Differ(path, &theirs, ours);
        }
    }
  }

  void Lists(const std::string& path, const Value& theirs, const Value* ours) {
    const auto& their_list = theirs.list_value().values();
    static const ListValue empty;
    const auto& our_list = ours == nullptr ? empty.values() : ours->list_value().values();
    if (their_list.size() != our_list.size()) return Differ(path, &theirs, ours);
    for (int i = 0; i < their_list.size(); ++i) {
      if (their_list[i].has_struct_value()) {
        Objects(path + ".", their_list[i].struct_value(), our_list[i].struct_value());
      } else {
        Values(path, their_list[i], &our_list[i]);
      }
    }
  }
};

// The items that `ip` lists; addresses are inside their links there.
bool TheirItems(std::string_view command, const std::string& json, std::vector<Struct>* items) {
  ListValue list;
  // `ip` prints nothing at all for an empty list of rules or next hops.
  if (json.empty()) return true;
  if (!google::protobuf::util::JsonStringToMessage(json, &list).ok()) return false;
  for (const Value& value : list.values()) {
    if (command != "addr") {
      items->push_back(value.struct_value());
      continue;
    }
    const Value* addresses = Find(value.struct_value(), "addr_info");
    const Value* ifindex = Find(value.struct_value(), "ifindex");
    if (addresses == nullptr || ifindex == nullptr) return false;
    for (const Value& address : addresses->list_value().values()) {
      items->push_back(address.struct_value());
      // Which link it is on is a part of it.
      (*items->back().mutable_fields())["ifindex"] = *ifindex;
      (*items->back().mutable_fields())["dev"] = *Find(value.struct_value(), "ifname");
    }
  }
  return true;
}

}  // namespace

std::vector<std::string> CompareWithIproute2(std::string_view command, Walk walk, const std::string& theirs,
                                             const std::vector<const google::protobuf::Message*>& ours) {
  std::vector<Struct> their_items;
  if (!TheirItems(command, theirs, &their_items)) return {absl::StrCat("not the JSON that is known: ", theirs)};
  std::vector<Struct> our_items;
  for (const auto* message : ours) our_items.push_back(ToStruct(*message));

  std::vector<std::string> differences;
  for (const Struct& item : their_items) {
    // Its own is the one that agrees; else the nearest is shown.
    size_t best = our_items.size();
    std::vector<std::string> nearest;
    for (size_t i = 0; i < our_items.size(); ++i) {
      Comparison comparison{command, walk, {}};
      comparison.Objects("", item, our_items[i]);
      if (best == our_items.size() || comparison.differences.size() < nearest.size()) {
        best = i;
        nearest = comparison.differences;
      }
      if (nearest.empty() && best == i) break;
    }
    if (best == our_items.size()) {
      differences.push_back(absl::StrCat("ip alone has ", Text(item)));
    } else if (!nearest.empty()) {
      for (const std::string& line : nearest) differences.push_back(absl::StrCat(Text(item), "\n    ", line));
    } else {
      our_items.erase(our_items.begin() + static_cast<long>(best));
    }
  }
  // When some differ, those left over have been shown beside them already.
  if (differences.empty()) {
    for (const Struct& item : our_items) differences.push_back(absl::StrCat("we alone have ", Text(item)));
  }
  return differences;
}

}  // namespace ipcrpc::monitor

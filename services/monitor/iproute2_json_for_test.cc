#include "services/monitor/iproute2_json_for_test.h"

#include <google/protobuf/util/json_util.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "services/monitor/left_out.h"

namespace ipcrpc::monitor {
namespace {

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

  void Differ(const std::string& path, const Json* theirs, const Json* ours) {
    differences.push_back(absl::StrCat(path, ": ip has ", theirs ? theirs->Text() : "nothing", ", we have ",
                                       ours ? ours->Text() : "nothing"));
  }

  void Objects(const std::string& prefix, const Json& theirs, const Json& ours) {
    std::set<std::string> seen;
    for (const auto& [key, value] : theirs.object) {
      std::string path = prefix + key;
      std::string our_key = OurName(command, path, key);
      seen.insert(our_key);
      const Json* our_value = ours.Find(our_key);
      if (our_value == nullptr && LeftOutHere(path, value)) continue;
      Values(path, value, our_value);
    }
    if (walk != Walk::kBothWays) return;
    for (const auto& [key, value] : ours.object) {
      if (seen.count(key) == 0 && !IsOurAddition(command, prefix + key)) Differ(prefix + key, nullptr, &value);
    }
  }

  bool LeftOutHere(const std::string& path, const Json& theirs) const {
    // Lifetimes are left out where they count down only.
    if (command == "addr" && theirs.number == 4294967295.0) return false;
    return IsLeftOut(command, path);
  }

  void Values(const std::string& path, const Json& theirs, const Json* ours) {
    switch (theirs.kind) {
      case Json::Kind::kNull:
        // A mark; but `"link": null` is a link below that is not known.
        if (path == "link" ? ours != nullptr : (ours == nullptr || !ours->boolean)) Differ(path, &theirs, ours);
        return;
      case Json::Kind::kList:
        Lists(path, theirs, ours);
        return;
      case Json::Kind::kObject:
        if (ours != nullptr && ours->kind == Json::Kind::kObject) {
          Objects(path + ".", theirs, *ours);
        } else if (!theirs.object.empty()) {
          Differ(path, &theirs, ours);
        }
        return;
      case Json::Kind::kNumber:
        // 64-bit numbers are strings in protobuf's JSON.
        if (ours != nullptr && ours->string == absl::StrCat(static_cast<uint64_t>(theirs.number))) return;
        break;
      case Json::Kind::kBool:
        // False is not printed.
        if (ours == nullptr && !theirs.boolean) return;
        break;
      case Json::Kind::kString: break;
    }
    if (ours == nullptr || theirs != *ours) Differ(path, &theirs, ours);
  }

  void Lists(const std::string& path, const Json& theirs, const Json* ours) {
    static const Json empty;
    const Json& our_list = ours == nullptr ? empty : *ours;
    if (theirs.list.size() != our_list.list.size()) return Differ(path, &theirs, ours);
    for (size_t i = 0; i < theirs.list.size(); ++i) {
      if (theirs.list[i].kind == Json::Kind::kObject) {
        Objects(path + ".", theirs.list[i], our_list.list[i]);
      } else {
        Values(path, theirs.list[i], &our_list.list[i]);
      }
    }
  }
};

// What an object is called by, which both sides spell alike; objects that differ in it are different ones.
std::string Bucket(std::string_view command, const Json& item) {
  static const std::map<std::string_view, std::vector<const char*>> keys = {
      {"link", {"ifindex"}}, {"addr", {"ifindex", "local"}}, {"route", {"dst"}}, {"neigh", {"dst"}}, {"rule", {"priority"}}};
  std::string bucket;
  for (const char* key : keys.at(command)) {
    const Json* value = item.Find(key);
    absl::StrAppend(&bucket, value == nullptr ? "" : value->Text(), " ");
  }
  return bucket;
}

// The items that `ip` lists; addresses are inside their links there.
bool TheirItems(std::string_view command, const std::string& text, std::vector<Json>* items) {
  // `ip` prints nothing at all for an empty list of rules or next hops.
  if (text.empty()) return true;
  auto list = Json::Parse(text);
  if (!list || list->kind != Json::Kind::kList) return false;
  for (Json& value : list->list) {
    if (command != "addr") {
      items->push_back(std::move(value));
      continue;
    }
    const Json* addresses = value.Find("addr_info");
    const Json* ifindex = value.Find("ifindex");
    const Json* ifname = value.Find("ifname");
    if (addresses == nullptr || ifindex == nullptr || ifname == nullptr) return false;
    for (Json address : addresses->list) {
      // Which link it is on is a part of it.
      address.object["ifindex"] = *ifindex;
      address.object["dev"] = *ifname;
      items->push_back(std::move(address));
    }
  }
  return true;
}

}  // namespace

Json JsonOf(const google::protobuf::Message& message) {
  // The names that users get.
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = false;
  std::string text;
  if (google::protobuf::util::MessageToJsonString(message, &text, options).ok()) {
    if (auto json = Json::Parse(text)) return *json;
  }
  Json failure;
  failure.kind = Json::Kind::kObject;
  failure.object["not JSON"] = Json();
  return failure;
}

std::vector<std::string> CompareWithIproute2(std::string_view command, Walk walk, const std::string& theirs,
                                             std::vector<Json> our_items) {
  std::vector<Json> their_items;
  if (!TheirItems(command, theirs, &their_items)) return {absl::StrCat("not the JSON that is known: ", theirs)};

  // Ours by what each says of itself, so that a large list need not be searched for each of theirs.
  std::map<std::string, std::vector<Json>> ours;
  for (Json& item : our_items) ours[Bucket(command, item)].push_back(std::move(item));

  std::vector<std::string> differences;
  for (const Json& item : their_items) {
    // Its own is the one that agrees; else the nearest is shown.
    std::vector<Json>& candidates = ours[Bucket(command, item)];
    size_t best = candidates.size();
    std::vector<std::string> nearest;
    for (size_t i = 0; i < candidates.size(); ++i) {
      Comparison comparison{command, walk, {}};
      comparison.Objects("", item, candidates[i]);
      if (best == candidates.size() || comparison.differences.size() < nearest.size()) {
        best = i;
        nearest = comparison.differences;
      }
      if (nearest.empty() && best == i) break;
    }
    if (best == candidates.size()) {
      differences.push_back(absl::StrCat("ip alone has ", item.Text()));
    } else if (!nearest.empty()) {
      for (const std::string& line : nearest) differences.push_back(absl::StrCat(item.Text(), "\n    ", line));
    } else {
      candidates.erase(candidates.begin() + static_cast<long>(best));
    }
  }
  // When some differ, those left over have been shown beside them already.
  if (differences.empty()) {
    for (const auto& [bucket, items] : ours) {
      for (const Json& item : items) differences.push_back(absl::StrCat("we alone have ", item.Text()));
    }
  }
  return differences;
}

}  // namespace ipcrpc::monitor

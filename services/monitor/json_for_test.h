#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ipcrpc::monitor {

// A JSON value, for looking into what programs print. (Not google.protobuf.Struct: Debian's libprotobuf
// lays its maps out in another way than headers compiled for ThreadSanitizer do.)
struct Json {
  enum class Kind { kNull, kBool, kNumber, kString, kList, kObject };

  Kind kind = Kind::kNull;
  bool boolean = false;
  double number = 0;
  std::string string;
  std::vector<Json> list;
  std::map<std::string, Json> object;

  // Absent when the text is no JSON, or has something behind it.
  static std::optional<Json> Parse(std::string_view text);

  const Json* Find(const std::string& key) const {
    auto found = object.find(key);
    return found == object.end() ? nullptr : &found->second;
  }
  std::string Text() const;
  bool operator==(const Json&) const = default;
};

}  // namespace ipcrpc::monitor

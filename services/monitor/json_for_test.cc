#include "services/monitor/json_for_test.h"

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace ipcrpc::monitor {
namespace {

class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}

  bool Document(Json* out) { return Value(out) && (Blanks(), text_.empty()); }

 private:
  void Blanks() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\n' || text_[0] == '\t' || text_[0] == '\r')) {
      text_.remove_prefix(1);
    }
  }
  bool Take(std::string_view token) {
    Blanks();
    if (!text_.starts_with(token)) return false;
    text_.remove_prefix(token.size());
    return true;
  }

  bool Value(Json* out) {
    if (Take("null")) return true;
    if (Take("true") || Take("false")) {
      out->kind = Json::Kind::kBool;
      // The token just taken ends with "ue" or "se".
      out->boolean = text_.data()[-2] == 'u';
      return true;
    }
    if (Take("\"")) {
      out->kind = Json::Kind::kString;
      return String(&out->string);
    }
    if (Take("[")) return List(out);
    if (Take("{")) return Object(out);
    return Number(out);
  }

  bool List(Json* out) {
    out->kind = Json::Kind::kList;
    if (Take("]")) return true;
    do {
      if (!Value(&out->list.emplace_back())) return false;
    } while (Take(","));
    return Take("]");
  }

  bool Object(Json* out) {
    out->kind = Json::Kind::kObject;
    if (Take("}")) return true;
    do {
      std::string key;
      if (!Take("\"") || !String(&key) || !Take(":") || !Value(&out->object[key])) return false;
    } while (Take(","));
    return Take("}");
  }

  // Behind the opening quote. Escapes of more than one letter are kept as they stand.
  bool String(std::string* out) {
    while (!text_.empty() && text_[0] != '"') {
      if (text_[0] == '\\' && text_.size() > 1) {
        static constexpr std::string_view kLetters = "ntr\"\\/", kMeanings = "\n\t\r\"\\/";
        size_t letter = kLetters.find(text_[1]);
        if (letter == std::string_view::npos) {
          out->append(text_.substr(0, 2));
        } else {
          out->push_back(kMeanings[letter]);
        }
        text_.remove_prefix(2);
      } else {
        out->push_back(text_[0]);
        text_.remove_prefix(1);
      }
    }
    if (text_.empty()) return false;
    text_.remove_prefix(1);
    return true;
  }

  bool Number(Json* out) {
    size_t length = std::min(text_.find_first_not_of("+-.0123456789eE"), text_.size());
    out->kind = Json::Kind::kNumber;
    bool ok = absl::SimpleAtod(absl::string_view(text_.data(), length), &out->number);
    text_.remove_prefix(length);
    return ok;
  }

  std::string_view text_;
};

}  // namespace

std::optional<Json> Json::Parse(std::string_view text) {
  Json value;
  if (!Parser(text).Document(&value)) return std::nullopt;
  return value;
}

std::string Json::Text() const {
  switch (kind) {
    case Kind::kNull: return "null";
    case Kind::kBool: return boolean ? "true" : "false";
    case Kind::kNumber: return absl::StrCat(number);
    case Kind::kString: return absl::StrCat("\"", string, "\"");
    case Kind::kList:
      return absl::StrCat("[", absl::StrJoin(list, ",", [](std::string* out, const Json& v) { *out += v.Text(); }), "]");
    case Kind::kObject:
      return absl::StrCat("{", absl::StrJoin(object, ",", [](std::string* out, const auto& entry) {
        absl::StrAppend(out, "\"", entry.first, "\":", entry.second.Text());
      }), "}");
  }
  return "";
}

}  // namespace ipcrpc::monitor

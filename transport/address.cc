#include "transport/address.h"

#include <algorithm>
#include <array>

#include "absl/strings/ascii.h"
#include "transport/base/nearest.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"

namespace ipcrpc {
namespace {

// What may stand after the colon.
enum class RestRule {
  kPlace,    // a name, a path or @abstract
  kText,     // something of the scheme's own, not empty: "3,4", "localhost:50051"
  kNothing,  // "stdio:"
  kLiteral,  // everything to the end, without parameters or escapes
};

struct SchemeRule {
  std::string_view name;
  RestRule rest;
};

constexpr std::array kSchemes = {
    SchemeRule{"shm", RestRule::kPlace},       SchemeRule{"unix", RestRule::kPlace},
    SchemeRule{"socketpair", RestRule::kText}, SchemeRule{"pipe", RestRule::kText},
    SchemeRule{"exec", RestRule::kLiteral},    SchemeRule{"stdio", RestRule::kNothing},
    SchemeRule{"fifo", RestRule::kPlace},      SchemeRule{"mqueue", RestRule::kPlace},
    SchemeRule{"sysvmq", RestRule::kPlace},    SchemeRule{"netlink", RestRule::kPlace},
    SchemeRule{"inproc", RestRule::kPlace},    SchemeRule{"grpc", RestRule::kText},
    SchemeRule{"ipc", RestRule::kPlace},
};

// Fits "/proc/self/fd/N/NAME.lock" into a socket address, whatever N is.
constexpr size_t kLongestName = 64;
// PATH_MAX without its NUL.
constexpr size_t kLongestPath = 4095;
// sun_path without the leading NUL that makes a name abstract.
constexpr size_t kLongestAbstract = 107;

std::array<std::string_view, kSchemes.size()> SchemeNames() {
  std::array<std::string_view, kSchemes.size()> names;
  std::transform(kSchemes.begin(), kSchemes.end(), names.begin(),
                 [](const SchemeRule& rule) { return rule.name; });
  return names;
}

// For messages: what cannot be printed as \xNN, and not endlessly much.
std::string Quoted(std::string_view text) {
  constexpr size_t kShown = 120;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string quoted = "'";
  for (const char c : text.substr(0, kShown)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      quoted += c;
    } else {
      AppendTo(quoted, "\\x", kDigits[byte >> 4], kDigits[byte & 15]);
    }
  }
  return quoted + (text.size() > kShown ? "…'" : "'");
}

// Builds the errors: every message starts with the whole address and names a position, from 1.
class Parser {
 public:
  explicit Parser(std::string_view text) : text_(text) {}
  absl::StatusOr<Address> Parse();

 private:
  template <typename... Parts>
  absl::Status Error(size_t offset, const Parts&... parts) const {
    return absl::InvalidArgumentError(
        Cat("address ", Quoted(text_), ": ", parts..., " (at position ", offset + 1, ")"));
  }

  absl::StatusOr<RestRule> ParseScheme(Address& address);
  absl::Status ParsePlace(size_t begin, size_t end, Address& address) const;
  absl::Status CheckName(std::string_view name, size_t offset) const;
  absl::Status ParseParameters(size_t begin, Address& address) const;
  absl::Status ParseParameter(size_t begin, size_t end, Address& address) const;
  absl::StatusOr<std::string> Decode(size_t begin, size_t end) const;

  std::string_view text_;
  size_t rest_begin_ = 0;
};

absl::StatusOr<Address> Parser::Parse() {
  if (text_.empty()) {
    return Error(0, "it is empty; expected SCHEME:NAME, like shm:monitor, or a bare name");
  }
  if (const size_t nul = text_.find('\0'); nul != text_.npos)
    return Error(nul, "a NUL byte cannot be part of an address");
  Address address;
  ASSIGN_OR_RETURN(const RestRule rule, ParseScheme(address));
  if (rule == RestRule::kLiteral) {
    address.rest = text_.substr(rest_begin_);
    if (address.rest.empty())
      return Error(rest_begin_, "nothing after the colon; expected a command, like exec:prog --stdio");
    return address;
  }
  const size_t question = std::min(text_.find('?', rest_begin_), text_.size());
  if (rule == RestRule::kPlace) {
    RETURN_IF_ERROR(ParsePlace(rest_begin_, question, address));
  } else {
    ASSIGN_OR_RETURN(address.rest, Decode(rest_begin_, question));
    if (rule == RestRule::kText && address.rest.empty()) {
      return Error(rest_begin_, "nothing after '", address.scheme, ":'; expected ",
                   address.scheme == "grpc" ? "HOST:PORT" : "the number of a descriptor");
    }
    if (rule == RestRule::kNothing && !address.rest.empty()) {
      return Error(rest_begin_, Quoted(address.rest), " after '", address.scheme,
                   ":', which takes nothing there");
    }
  }
  if (question < text_.size()) RETURN_IF_ERROR(ParseParameters(question + 1, address));
  return address;
}

absl::StatusOr<RestRule> Parser::ParseScheme(Address& address) {
  const size_t colon = text_.find(':');
  // A bare place; a path may hold colons of its own.
  if (colon == text_.npos || colon > text_.find('?') ||
      std::string_view("/.@").find(text_[0]) != text_.npos) {
    address.scheme = "ipc";
    return RestRule::kPlace;
  }
  address.scheme = text_.substr(0, colon);
  rest_begin_ = colon + 1;
  if (address.scheme.empty())
    return Error(0, "nothing before the colon; expected a scheme, like shm or unix");
  for (const SchemeRule& rule : kSchemes) {
    if (rule.name == address.scheme) return rule.rest;
  }
  std::string known;
  for (std::string_view name : SchemeNames()) AppendTo(known, known.empty() ? "" : " ", name);
  return Error(0, "unknown scheme ", Quoted(address.scheme), DidYouMean(address.scheme, SchemeNames()),
               " (known: ", known, ")");
}

absl::Status Parser::ParsePlace(size_t begin, size_t end, Address& address) const {
  if (begin == end) {
    return Error(begin, begin == 0 ? "no name" : Cat("nothing after '", address.scheme, ":'"),
                 "; expected a name, a path or @abstract");
  }
  const bool abstract = text_[begin] == '@';
  const bool path = !abstract && text_.substr(begin, end - begin).find('/') != text_.npos;
  ASSIGN_OR_RETURN(address.rest, Decode(abstract ? begin + 1 : begin, end));
  if (abstract) {
    address.kind = Address::Kind::kAbstract;
    if (address.rest.empty()) return Error(begin, "nothing after '@'; expected an abstract name");
    if (address.rest.size() > kLongestAbstract) {
      return Error(begin, "the abstract name has ", address.rest.size(), " bytes; ", kLongestAbstract,
                   " is the most");
    }
  } else if (path) {
    address.kind = Address::Kind::kPath;
    if (address.rest.back() == '/')
      return Error(end - 1, "the path ends in a slash; expected a file, not a directory");
    if (address.rest.size() > kLongestPath) {
      return Error(begin, "the path has ", address.rest.size(), " bytes; ", kLongestPath, " is the most");
    }
  } else {
    address.kind = Address::Kind::kName;
    RETURN_IF_ERROR(CheckName(address.rest, begin));
  }
  return absl::OkStatus();
}

absl::Status Parser::CheckName(std::string_view name, size_t offset) const {
  if (name.size() > kLongestName) {
    return Error(offset, "the name has ", name.size(), " bytes; ", kLongestName, " is the most");
  }
  if (name[0] == '.')
    return Error(offset, "a name does not start with '.'; a path needs a slash, like ./", name);
  for (size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    if (absl::ascii_isalnum(c) || c == '_' || c == '-' || c == '.') continue;
    return Error(offset + i, Quoted(name.substr(i, 1)),
                 " cannot be part of a name (letters, digits, '.', '_', '-'); a path needs a slash");
  }
  return absl::OkStatus();
}

absl::Status Parser::ParseParameters(size_t begin, Address& address) const {
  while (true) {
    const size_t end = std::min(text_.find('&', begin), text_.size());
    RETURN_IF_ERROR(ParseParameter(begin, end, address));
    if (end == text_.size()) return absl::OkStatus();
    begin = end + 1;
  }
}

absl::Status Parser::ParseParameter(size_t begin, size_t end, Address& address) const {
  const std::string_view parameter = text_.substr(begin, end - begin);
  if (parameter.empty())
    return Error(begin, "empty parameter; expected key=value after '", text_.substr(begin - 1, 1), "'");
  const size_t equals = parameter.find('=');
  if (equals == parameter.npos)
    return Error(begin, "parameter ", Quoted(parameter), " has no '='; expected key=value");
  const std::string_view key = parameter.substr(0, equals);
  if (key.empty()) return Error(begin, "parameter ", Quoted(parameter), " has no key before the '='");
  for (size_t i = 0; i < key.size(); ++i) {
    const char c = key[i];
    if (absl::ascii_islower(static_cast<unsigned char>(c)) ||
        absl::ascii_isdigit(static_cast<unsigned char>(c)) || c == '_')
      continue;
    return Error(begin + i, Quoted(key.substr(i, 1)), " in parameter ", Quoted(key),
                 "; keys are lower-case letters, digits, '_'");
  }
  ASSIGN_OR_RETURN(std::string value, Decode(begin + equals + 1, end));
  if (value.empty()) return Error(begin + equals + 1, "parameter '", key, "' has no value");
  if (!address.parameters.emplace(key, std::move(value)).second)
    return Error(begin, "parameter '", key, "' is there twice");
  return absl::OkStatus();
}

absl::StatusOr<std::string> Parser::Decode(size_t begin, size_t end) const {
  std::string decoded;
  decoded.reserve(end - begin);
  for (size_t i = begin; i < end; ++i) {
    if (text_[i] != '%') {
      decoded += text_[i];
      continue;
    }
    auto is_hex = [&](size_t at) {
      return at < end && absl::ascii_isxdigit(static_cast<unsigned char>(text_[at]));
    };
    if (!is_hex(i + 1) || !is_hex(i + 2))
      return Error(i, "'%' without two hexadecimal digits; a '%' itself is written %25");
    const char byte = static_cast<char>(*ParseNumber<uint8_t>(text_.substr(i + 1, 2), 16));
    if (byte == '\0') return Error(i, "a NUL byte cannot be part of an address");
    decoded += byte;
    i += 2;
  }
  return decoded;
}

// Escapes what Decode() or the splitting would take for something else, and what a log line should not hold.
void AppendEncoded(std::string_view text, std::string_view special, std::string& to) {
  constexpr char kDigits[] = "0123456789abcdef";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || c == '%' || special.find(c) != special.npos) {
      AppendTo(to, "%", kDigits[byte >> 4], kDigits[byte & 15]);
    } else {
      to += c;
    }
  }
}

}  // namespace

std::string Address::ToString() const {
  std::string text = Cat(scheme, ":");
  if (scheme == "exec") return text + rest;
  if (kind == Kind::kAbstract) text += '@';
  // A path like "@dir/x" must not come back as an abstract name.
  const bool leading_at = kind != Kind::kAbstract && rest.starts_with('@');
  if (leading_at) text += "%40";
  AppendEncoded(std::string_view(rest).substr(leading_at ? 1 : 0), "?", text);
  char separator = '?';
  for (const auto& [key, value] : parameters) {
    AppendTo(text, separator, key, "=");
    AppendEncoded(value, "&", text);
    separator = '&';
  }
  return text;
}

absl::StatusOr<Address> ParseAddress(std::string_view text) { return Parser(text).Parse(); }

}  // namespace ipcrpc

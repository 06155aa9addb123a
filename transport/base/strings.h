// Building messages. Debian's Abseil has a string_view of its own, which absl::StrCat insists on; this is for
// code that has std::string_view.
#pragma once

#include <charconv>
#include <concepts>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include "absl/status/status.h"

namespace ipcrpc {

inline void AppendPiece(std::string& to, std::string_view piece) { to += piece; }
inline void AppendPiece(std::string& to, char piece) { to += piece; }
template <std::integral Number>
void AppendPiece(std::string& to, Number piece) {
  to += std::to_string(piece);
}

// The pieces (strings, characters, whole numbers) one after the other.
template <typename... Pieces>
std::string Cat(const Pieces&... pieces) {
  std::string text;
  (AppendPiece(text, pieces), ...);
  return text;
}

template <typename... Pieces>
void AppendTo(std::string& to, const Pieces&... pieces) {
  (AppendPiece(to, pieces), ...);
}

// "a, b, c"
template <typename Range>
std::string Join(const Range& pieces, std::string_view separator) {
  std::string text;
  bool first = true;
  for (const auto& piece : pieces) {
    if (!first) text += separator;
    first = false;
    AppendPiece(text, piece);
  }
  return text;
}

// All of `text` as a number to `base`; nothing when it is anything else or does not fit.
template <std::integral Number>
std::optional<Number> ParseNumber(std::string_view text, int base = 10) {
  Number number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

inline std::string_view MessageOf(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

}  // namespace ipcrpc

#include "transport/address_parameters.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "transport/base/accounts.h"
#include "transport/base/nearest.h"
#include "transport/base/strings.h"

namespace ipcrpc {
namespace {

std::string DescribeSize(uint64_t bytes) {
  if (bytes != 0 && bytes % (1024 * 1024) == 0) return Cat(bytes / (1024 * 1024), "M");
  if (bytes != 0 && bytes % 1024 == 0) return Cat(bytes / 1024, "K");
  return Cat(bytes);
}

}  // namespace

absl::Status CheckParameters(const Address& address, std::span<const std::string_view> known) {
  for (const auto& [key, value] : address.parameters) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    return absl::InvalidArgumentError(Cat("address '", address.ToString(), "': ", address.scheme,
                                          ": has no parameter '", key, "'", DidYouMean(key, known),
                                          known.empty() ? "" : Cat(" (known: ", Join(known, " "), ")")));
  }
  return absl::OkStatus();
}

const std::string* FindParameter(const Address& address, std::string_view key) {
  const auto found = address.parameters.find(key);
  return found == address.parameters.end() ? nullptr : &found->second;
}

absl::Status BadParameter(const Address& address, std::string_view key, std::string_view expected) {
  return absl::InvalidArgumentError(Cat("address '", address.ToString(), "': parameter ", key, "='",
                                        address.parameters.find(key)->second, "'; expected ", expected));
}

absl::StatusOr<uid_t> UidParameter(const Address& address, std::string_view key) {
  const std::string& text = *FindParameter(address, key);
  if (const auto number = ParseNumber<uid_t>(text)) return *number;
  if (const auto user = FindUser(text)) return *user;
  return BadParameter(address, key, "a uid or the name of a user here");
}

absl::StatusOr<gid_t> GidParameter(const Address& address, std::string_view key) {
  const std::string& text = *FindParameter(address, key);
  if (const auto number = ParseNumber<gid_t>(text)) return *number;
  if (const auto group = FindGroup(text)) return *group;
  return BadParameter(address, key, "a gid or the name of a group here");
}

absl::StatusOr<mode_t> ModeParameter(const Address& address) {
  const std::string* text = FindParameter(address, "mode");
  if (text == nullptr) return mode_t{0600};
  const std::optional<mode_t> mode = ParseNumber<mode_t>(*text, 8);
  if (!mode || *mode > 0777) return BadParameter(address, "mode", "permissions in octal, like 0666");
  return *mode;
}

absl::StatusOr<uint64_t> SizeParameter(const Address& address, std::string_view key, uint64_t least,
                                       uint64_t most) {
  std::string_view digits = *FindParameter(address, key);
  uint64_t unit = 1;
  if (digits.ends_with('K') || digits.ends_with('M')) {
    unit = digits.back() == 'K' ? 1024 : 1024 * 1024;
    digits.remove_suffix(1);
  }
  const std::optional<uint64_t> number = ParseNumber<uint64_t>(digits);
  if (!number || *number > most / unit || *number * unit < least) {
    return BadParameter(address, key,
                        Cat("a number of bytes from ", DescribeSize(least), " to ", DescribeSize(most)));
  }
  return *number * unit;
}

absl::StatusOr<std::string> AbsolutePath(const std::string& path) {
  if (path.starts_with('/')) return path;
  char directory[4096];
  if (getcwd(directory, sizeof directory) == nullptr) {
    return absl::ErrnoToStatus(errno, Cat("cannot tell the current directory, where ", path, " would be"));
  }
  return Cat(directory, "/", path);
}

}  // namespace ipcrpc

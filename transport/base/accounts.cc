#include "transport/base/accounts.h"

#include <grp.h>
#include <pwd.h>

#include <cerrno>
#include <vector>

namespace ipcrpc {
namespace {

// A group of many members can be large.
constexpr size_t kFirstBuffer = 16384, kLargestBuffer = 16 * 1024 * 1024;

template <typename Entry>
std::optional<Entry> Find(int (*find)(const char*, Entry*, char*, size_t, Entry**), const std::string& name) {
  Entry entry = {}, *result = nullptr;
  for (std::vector<char> buffer(kFirstBuffer); buffer.size() <= kLargestBuffer;) {
    const int error = find(name.c_str(), &entry, buffer.data(), buffer.size(), &result);
    if (error == ERANGE) {
      buffer.resize(buffer.size() * 4);
    } else if (error != EINTR) {
      break;
    }
  }
  if (result == nullptr) return std::nullopt;
  return entry;  // its pointers are not good any more
}

}  // namespace

std::optional<uid_t> FindUser(const std::string& name) {
  const std::optional<passwd> entry = Find<passwd>(getpwnam_r, name);
  return entry.has_value() ? std::optional<uid_t>(entry->pw_uid) : std::nullopt;
}

std::optional<gid_t> FindGroup(const std::string& name) {
  const std::optional<group> entry = Find<group>(getgrnam_r, name);
  return entry.has_value() ? std::optional<gid_t>(entry->gr_gid) : std::nullopt;
}

}  // namespace ipcrpc

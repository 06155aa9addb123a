#include "transport/rendezvous/leftovers.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "transport/base/strings.h"
#include "transport/names.h"
#include "transport/rendezvous/place.h"

namespace ipcrpc::rendezvous {
namespace {

constexpr std::string_view kLinePrefix = "ipcrpc ";
// A pair without a lock on its name may be one that is being made, by a server that started after we looked.
constexpr time_t kYoungSeconds = 10;

std::optional<Token> ParseToken(std::string_view hex) {
  Token token;
  if (hex.size() != 2 * token.size()) return std::nullopt;
  for (size_t i = 0; i < token.size(); ++i) {
    const std::optional<uint8_t> byte = ParseNumber<uint8_t>(hex.substr(2 * i, 2), 16);
    if (!byte) return std::nullopt;
    token[i] = *byte;
  }
  return token;
}

std::optional<DeadPair> LookAtPair(const std::string& stem, const Token& token, bool nameless) {
  UniqueFd file(open(stem.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY));
  struct stat info;
  if (!file.valid() || fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode)) return std::nullopt;
  if (nameless && time(nullptr) - info.st_mtime < kYoungSeconds) return std::nullopt;
  if (Alive(file.get(), Side::kServer) || Alive(file.get(), Side::kClient)) return std::nullopt;
  DeadPair pair = {.stem = stem, .token = token, .kind = Kind{0}, .server_pid = 0, .owner = info.st_uid};
  Welcome welcome;
  const ssize_t size = pread(file.get(), &welcome, sizeof welcome, 0);
  if (size == 0) return pair;  // its server did not get further
  if (size < static_cast<ssize_t>(sizeof welcome) || welcome.magic != Welcome::kMagic) return std::nullopt;
  pair.kind = static_cast<Kind>(welcome.kind);
  pair.server_pid = welcome.pid;
  return pair;
}

}  // namespace

std::string ReferenceLine(const Mechanism& mechanism, std::string_view reference) {
  return Cat(kLinePrefix, mechanism.scheme(), " ", reference, "\n");
}

std::optional<std::string> ParseReference(const Mechanism& mechanism, std::string_view line) {
  const std::string prefix = Cat(kLinePrefix, mechanism.scheme(), " ");
  if (!line.starts_with(prefix)) return std::nullopt;
  return std::string(line.substr(prefix.size()));
}

absl::Status ClearPlace(const Mechanism& mechanism, const std::string& path) {
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) return absl::OkStatus();
  const std::string cannot = Cat("cannot listen at ", path, ": ");
  bool living;
  if (mechanism.kind() == Kind::kFifo) {
    if (!S_ISFIFO(info.st_mode)) return absl::AlreadyExistsError(Cat(cannot, "it exists and is not a FIFO"));
    // A FIFO that nobody reads cannot be opened for writing.
    living = UniqueFd(open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW)).valid();
  } else {
    absl::StatusOr<ReferenceFile> file = OpenReference(path);
    std::optional<std::string> reference;
    if (file.ok()) reference = ParseReference(mechanism, file->text);
    // Empty: its server died before it wrote the line, and before it made anything.
    const bool empty = file.ok() && file->text.empty();
    if (!reference && !empty) {
      return absl::AlreadyExistsError(Cat(cannot, "it exists and is not a file that a server of ours makes"));
    }
    living = Alive(file->file.get(), Side::kServer);
    if (!living && reference) mechanism.RemovePlace(path, *reference, file->owner);
  }
  if (living) return absl::AlreadyExistsError(Cat(cannot, "somebody listens there"));
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return absl::ErrnoToStatus(errno, Cat("cannot remove ", path, ", which a dead process left"));
  }
  return absl::OkStatus();
}

std::optional<DeadPlace> FindDeadPlace(const std::string& path) {
  const absl::StatusOr<ReferenceFile> file = OpenReference(path);
  if (!file.ok() || Alive(file->file.get(), Side::kServer)) return std::nullopt;
  for (const Mechanism* mechanism : Mechanisms()) {
    if (std::optional<std::string> reference = ParseReference(*mechanism, file->text)) {
      return DeadPlace{.mechanism = mechanism, .reference = *std::move(reference), .owner = file->owner};
    }
  }
  return std::nullopt;
}

void RemoveDeadPlace(const std::string& path) {
  const std::optional<DeadPlace> place = FindDeadPlace(path);
  if (!place) return;
  place->mechanism->RemovePlace(path, place->reference, place->owner);
  unlink(path.c_str());
}

std::vector<DeadPair> FindDeadPairs(const std::string& directory, const std::string& base) {
  std::vector<DeadPair> found;
  DIR* dir = opendir(directory.c_str());
  if (dir == nullptr) return found;
  while (const dirent* entry = readdir(dir)) {
    const std::string_view name = entry->d_name;
    const size_t tilde = name.rfind('~');
    if (tilde == name.npos) continue;
    const std::optional<Token> token = ParseToken(name.substr(tilde + 1));
    if (!token) continue;
    const std::string own_base = Cat(directory, "/", name.substr(0, tilde));
    struct stat info;
    if (base.empty() ? lstat(Cat(own_base, ".lock").c_str(), &info) == 0 : own_base != base) continue;
    if (std::optional<DeadPair> pair = LookAtPair(Cat(directory, "/", name), *token, base.empty())) {
      found.push_back(*std::move(pair));
    }
  }
  closedir(dir);
  return found;
}

void RemoveDeadPair(const DeadPair& pair) {
  RemovePairNames(FindMechanism(pair.kind), pair.stem, pair.token, pair.owner);
  unlink(pair.stem.c_str());
}

void RemoveDeadPairs(const std::string& base) {
  for (const DeadPair& pair : FindDeadPairs(base.substr(0, base.rfind('/')), base)) RemoveDeadPair(pair);
}

}  // namespace ipcrpc::rendezvous

#include "transport/shm/left_behind.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/interprocess/shared_memory_object.hpp>
#include <cerrno>
#include <optional>
#include <sstream>

#include "transport/base/fd.h"
#include "transport/base/strings.h"
#include "transport/names.h"
#include "transport/shm/ledger.h"

namespace ipcrpc::shm {
namespace {

constexpr std::array<std::string_view, 3> kWords = {"posix-memory", "sysv-memory", "sysv-semaphores"};
constexpr off_t kLargestLedger = 1 << 20;

struct Contents {
  uid_t owner;
  std::vector<LeftBehind> things;
};

// Nothing when it is no ledger. What cannot be read in it is no entry: the line of a process that died in writing it, before
// it made anything.
std::optional<Contents> ReadLedger(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat info;
  if (!fd.valid() || fstat(fd.get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > kLargestLedger) return std::nullopt;
  // Or another could have things of its own removed in our name.
  if (info.st_uid != geteuid() && geteuid() != 0) return std::nullopt;
  std::string text(static_cast<size_t>(info.st_size), '\0');
  const ssize_t n = pread(fd.get(), text.data(), text.size(), 0);
  text.resize(n < 0 ? 0 : static_cast<size_t>(n));
  Contents contents = {.owner = info.st_uid, .things = {}};
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (const std::optional<LeftBehind> thing = ParseLedgerLine(line)) contents.things.push_back(*thing);
  }
  return contents;
}

void Remove(const LeftBehind& thing) {
  switch (thing.kind) {
    case LeftBehind::Kind::kPosixMemory:
      boost::interprocess::shared_memory_object::remove(thing.name.c_str());
      break;
    case LeftBehind::Kind::kSysvMemory:
      shmctl(shmget(static_cast<key_t>(thing.key), 0, 0), IPC_RMID, nullptr);
      break;
    case LeftBehind::Kind::kSysvSemaphores:
      semctl(semget(static_cast<key_t>(thing.key), 0, 0), 0, IPC_RMID);
      break;
  }
}

}  // namespace

std::string LeftBehind::Describe() const {
  if (kind == Kind::kPosixMemory) return Cat("POSIX shared memory /dev/shm/", name);
  char hex[16];
  std::snprintf(hex, sizeof hex, "0x%08x", key);
  return Cat(kind == Kind::kSysvMemory ? "System V shared memory" : "System V semaphores", " with key ", hex);
}

uint64_t RealmOf(LeftBehind::Kind kind) {
  struct stat info;
  if (kind == LeftBehind::Kind::kPosixMemory) return stat("/dev/shm", &info) == 0 ? info.st_dev : 0;
  return stat("/proc/self/ns/ipc", &info) == 0 ? info.st_ino : 0;
}

std::string LedgerLine(const LeftBehind& what) {
  char key[16];
  std::snprintf(key, sizeof key, "%08x", what.key);
  return Cat(kWords[static_cast<size_t>(what.kind)], " ", what.name.empty() ? std::string(key) : what.name, " ", what.realm);
}

std::optional<LeftBehind> ParseLedgerLine(std::string_view line) {
  std::istringstream words{std::string(line)};
  std::string kind, name, realm;
  if (!(words >> kind >> name >> realm)) return std::nullopt;
  const auto found = std::find(kWords.begin(), kWords.end(), kind);
  if (found == kWords.end()) return std::nullopt;
  LeftBehind thing;
  thing.kind = static_cast<LeftBehind::Kind>(found - kWords.begin());
  if (thing.kind == LeftBehind::Kind::kPosixMemory) {
    if (!Ledger::IsPosixName(name)) return std::nullopt;
    thing.name = name;
  } else {
    const std::optional<uint32_t> key = ParseNumber<uint32_t>(name, 16);
    if (!key || *key == 0) return std::nullopt;
    thing.key = *key;
  }
  const std::optional<uint64_t> number = ParseNumber<uint64_t>(realm);
  if (!number) return std::nullopt;
  thing.realm = *number;
  return thing;
}

bool Here(const LeftBehind& thing) { return thing.realm == RealmOf(thing.kind); }

bool Exists(const LeftBehind& thing, uid_t owner) {
  switch (thing.kind) {
    case LeftBehind::Kind::kPosixMemory: {
      struct stat info;
      return lstat(Cat("/dev/shm/", thing.name).c_str(), &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == owner;
    }
    case LeftBehind::Kind::kSysvMemory: {
      shmid_ds info;
      const int id = shmget(static_cast<key_t>(thing.key), 0, 0);
      return id >= 0 && shmctl(id, IPC_STAT, &info) == 0 && info.shm_perm.cuid == owner;
    }
    case LeftBehind::Kind::kSysvSemaphores: {
      semid_ds info;
      const int id = semget(static_cast<key_t>(thing.key), 0, 0);
      return id >= 0 && semctl(id, 0, IPC_STAT, &info) == 0 && info.sem_perm.cuid == owner;
    }
  }
  return false;
}

void RemoveIfOf(const LeftBehind& thing, uid_t owner) {
  if (Here(thing) && Exists(thing, owner)) Remove(thing);
}

bool SweepLedger(const std::string& path) {
  const std::optional<Contents> contents = ReadLedger(path);
  if (!contents) return false;
  bool all = true;
  for (const LeftBehind& thing : contents->things) {
    if (!Here(thing)) {
      all = false;
    } else {
      RemoveIfOf(thing, contents->owner);
    }
  }
  if (all) unlink(path.c_str());
  return all;
}

std::vector<LeftBehindBy> ListLedger(const std::string& path) {
  std::vector<LeftBehindBy> list;
  const std::optional<Contents> contents = ReadLedger(path);
  if (!contents) return list;
  for (const LeftBehind& thing : contents->things) {
    if (!Here(thing) || Exists(thing, contents->owner)) list.push_back({path, thing, Here(thing)});
  }
  return list;
}

std::vector<LeftBehindBy> ListLeftBehind(const std::vector<std::string>& directories) {
  std::vector<LeftBehindBy> list;
  for (const std::string& directory : directories) {
    for (const std::string& base : NamesOfTheDead(directory)) {
      for (LeftBehindBy& thing : ListLedger(Cat(base, kLedgerSuffix))) list.push_back(std::move(thing));
    }
  }
  return list;
}

std::vector<LeftBehindBy> CleanLeftBehind(const std::vector<std::string>& directories) {
  std::vector<LeftBehindBy> removed = ListLeftBehind(directories);
  for (const std::string& directory : directories) SweepDirectory(directory);
  const std::vector<LeftBehindBy> left = ListLeftBehind(directories);
  std::erase_if(removed, [&](const LeftBehindBy& was) {
    return std::any_of(left.begin(), left.end(), [&](const LeftBehindBy& is) {
      return is.ledger == was.ledger && LedgerLine(is.what) == LedgerLine(was.what);
    });
  });
  return removed;
}

}  // namespace ipcrpc::shm

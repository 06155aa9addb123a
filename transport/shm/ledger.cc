#include "transport/shm/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "transport/base/status_macros.h"
#include "transport/base/strings.h"

namespace ipcrpc::shm {
namespace {

constexpr size_t kLineBytes = 96;
constexpr std::string_view kPosixPrefix = "ipcrpc.";
constexpr size_t kPosixDigits = 32;
constexpr std::string_view kHexDigits = "0123456789abcdef";

void RandomBytes(void* to, size_t size) {
  // Up to 256 bytes come whole and without a signal's leave, once the kernel has any.
  while (getrandom(to, size, 0) != static_cast<ssize_t>(size)) IPCRPC_CHECK(errno == EINTR);
}

std::string RandomHex(size_t digits) {
  std::string text(digits, '0');
  RandomBytes(text.data(), digits);
  for (char& c : text) c = kHexDigits[static_cast<unsigned char>(c) % 16];
  return text;
}

// The same size for each, so that one can be written over without touching the others.
std::string Padded(std::string text) {
  text.resize(kLineBytes - 1, ' ');
  return text + '\n';
}

struct Current {
  std::mutex mu;
  std::weak_ptr<Ledger> ledger;
};
Current& TheCurrent() {
  static auto* const current = new Current;
  return *current;
}

}  // namespace

absl::StatusOr<std::shared_ptr<Ledger>> Ledger::Open() {
  Current& current = TheCurrent();
  const std::lock_guard lock(current.mu);
  if (std::shared_ptr<Ledger> ledger = current.ledger.lock(); ledger != nullptr && ledger->fork_guard_.ours()) return ledger;
  ASSIGN_OR_RETURN(const std::string directory, ServerDirectory());
  SweepDirectory(directory);
  const std::string base = Cat(directory, "/.owned-", RandomHex(16));
  ASSIGN_OR_RETURN(std::unique_ptr<NameLock> name_lock, NameLock::Take(base, /*plain_name=*/false));
  const std::string path = Cat(base, kLedgerSuffix);
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return absl::ErrnoToStatus(errno, Cat("cannot make ", path));
  std::shared_ptr<Ledger> ledger(new Ledger(path, std::move(name_lock), std::move(fd)));
  current.ledger = ledger;
  return ledger;
}

Ledger::Ledger(std::string path, std::unique_ptr<NameLock> lock, UniqueFd fd)
    : path_(std::move(path)), lock_(std::move(lock)), fd_(std::move(fd)) {}

Ledger::~Ledger() {
  if (fork_guard_.ours()) unlink(path_.c_str());
}

absl::StatusOr<Ledger::Entry> Ledger::Enter(LeftBehind what) {
  what.realm = RealmOf(what.kind);
  const std::string text = Padded(LedgerLine(what));
  const std::lock_guard lock(mu_);
  const auto line = static_cast<size_t>(std::find(lines_.begin(), lines_.end(), false) - lines_.begin());
  if (pwrite(fd_.get(), text.data(), text.size(), static_cast<off_t>(line * kLineBytes)) != static_cast<ssize_t>(text.size())) {
    return absl::ErrnoToStatus(errno, Cat("cannot write ", path_));
  }
  if (line == lines_.size()) lines_.push_back(false);
  lines_[line] = true;
  return Entry(shared_from_this(), line);
}

void Ledger::CrossOut(size_t line) {
  if (!fork_guard_.ours()) return;
  const std::string blank = Padded("");
  const std::lock_guard lock(mu_);
  // What cannot be crossed out names something that is gone.
  [[maybe_unused]] const ssize_t ignored = pwrite(fd_.get(), blank.data(), blank.size(), static_cast<off_t>(line * kLineBytes));
  lines_[line] = false;
}

Ledger::Entry::~Entry() {
  if (ledger_ != nullptr) ledger_->CrossOut(line_);
}

std::string Ledger::RandomPosixName() { return Cat(kPosixPrefix, RandomHex(kPosixDigits)); }

bool Ledger::IsPosixName(std::string_view name) {
  return name.starts_with(kPosixPrefix) && name.size() == kPosixPrefix.size() + kPosixDigits &&
         name.find_first_not_of(kHexDigits, kPosixPrefix.size()) == name.npos;
}

uint32_t Ledger::RandomKey() {
  uint32_t key = 0;
  while (key == 0) RandomBytes(&key, sizeof key);
  return key;
}

uint64_t Ledger::RandomToken() {
  uint64_t token = 0;
  while (token == 0) RandomBytes(&token, sizeof token);
  return token;
}

}  // namespace ipcrpc::shm

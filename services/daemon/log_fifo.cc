#include "services/daemon/log_fifo.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace ipcrpc::hosting {
namespace {

constexpr std::string_view kCut = " [cut]";
constexpr mode_t kMode = 0640;

Status Failure(const std::string& path, const char* what) {
  return Status(StatusCode::INTERNAL, "log FIFO " + path + ": " + what + ": " + strerror(errno));
}

Status Check(const std::string& path, const struct stat& info) {
  const std::string place = "log FIFO " + path;
  if (!S_ISFIFO(info.st_mode))
    return Status(StatusCode::FAILED_PRECONDITION, place + ": what is there is no FIFO");
  if (info.st_uid == geteuid()) return Status::OK;
  return Status(StatusCode::FAILED_PRECONDITION, place + ": it is of user " + std::to_string(info.st_uid) +
                                                     ", not of ours, " + std::to_string(geteuid()));
}

Status OpenThere(const std::string& path, UniqueFd& opened) {
  // Looked at before it is opened, which may do something to what is no FIFO, and after, when it is sure to
  // be the same.
  struct stat info;
  if (lstat(path.c_str(), &info) != 0) return Failure(path, "cannot look at it");
  if (const Status checked = Check(path, info); !checked.ok()) return checked;
  UniqueFd fifo(open(path.c_str(), O_RDWR | O_NONBLOCK | O_NOFOLLOW | O_NOCTTY | O_CLOEXEC));
  if (!fifo.valid() || fstat(fifo.get(), &info) != 0) return Failure(path, "cannot open it");
  if (const Status checked = Check(path, info); !checked.ok()) return checked;
  opened = std::move(fifo);
  return Status::OK;
}

// UTC, as in RFC 3339.
std::string Now() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  tm parts;
  gmtime_r(&now.tv_sec, &parts);
  std::array<char, 64> text;
  const size_t size = strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S", &parts);
  std::snprintf(text.data() + size, text.size() - size, ".%03ldZ", now.tv_nsec / 1'000'000);
  return text.data();
}

std::string_view Word(LogSeverity severity) {
  switch (severity) {
    case LogSeverity::kInfo:
      return "info";
    case LogSeverity::kWarning:
      return "warning";
    case LogSeverity::kError:
      break;
  }
  return "error";
}

// Without a part of a UTF-8 character at its end.
void Cut(std::string& line, size_t size) {
  while (size > 0 && (static_cast<unsigned char>(line[size]) & 0xC0) == 0x80) --size;
  line.resize(size);
}

}  // namespace

Status LogFifo::Open(const std::string& path, const std::string& name) {
  const std::lock_guard lock(mu_);
  const bool made = mkfifo(path.c_str(), kMode) == 0;
  if (!made && errno != EEXIST) return Failure(path, "cannot make it");
  const Status opened = OpenThere(path, fifo_);
  if (!opened.ok()) {
    if (made) unlink(path.c_str());
    return opened;
  }
  path_ = path;
  name_ = name;
  made_ = made;
  return Status::OK;
}

void LogFifo::Write(LogSeverity severity, std::string_view text) {
  const std::lock_guard lock(mu_);
  if (!fifo_.valid()) return;
  if (!WriteDropped() || !WriteLine(Word(severity), text)) ++dropped_;
}

bool LogFifo::WriteDropped() {
  if (dropped_ == 0) return true;
  const std::string text = dropped_ == 1 ? "1 line was" : std::to_string(dropped_) + " lines were";
  if (!WriteLine(Word(LogSeverity::kWarning), text + " dropped here")) return false;
  dropped_ = 0;
  return true;
}

bool LogFifo::WriteLine(std::string_view severity, std::string_view text) {
  std::string line = Now() + " " + name_ + " ";
  line.append(severity).append(": ").append(text.substr(0, PIPE_BUF));
  if (line.size() + 1 > PIPE_BUF) {
    Cut(line, PIPE_BUF - kCut.size() - 1);
    line.append(kCut);
  }
  line.push_back('\n');
  return write(fifo_.get(), line.data(), line.size()) == static_cast<ssize_t>(line.size());
}

void LogFifo::KeepFile() {
  const std::lock_guard lock(mu_);
  made_ = false;
}

void LogFifo::Close() {
  const std::lock_guard lock(mu_);
  if (!fifo_.valid()) return;
  WriteDropped();
  struct stat ours, there;
  const bool same = fstat(fifo_.get(), &ours) == 0 && lstat(path_.c_str(), &there) == 0 &&
                    ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
  if (made_ && same) unlink(path_.c_str());
  fifo_.reset();
}

}  // namespace ipcrpc::hosting

#include "services/daemon/log.h"

#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace ipcrpc::hosting {
namespace {

// Whether standard error is the stream that the service manager made: it may be another file by now.
bool IsJournal() {
  const char* const stream = getenv("JOURNAL_STREAM");
  struct stat info;
  if (stream == nullptr || fstat(STDERR_FILENO, &info) != 0) return false;
  return stream == std::to_string(info.st_dev) + ":" + std::to_string(info.st_ino);
}

std::optional<int> Threshold() {
  const char* const value = getenv("IPCRPC_LOG");
  const std::string_view wanted = value == nullptr ? "" : value;
  if (wanted == "warning") return static_cast<int>(LogSeverity::kWarning);
  if (wanted == "error") return static_cast<int>(LogSeverity::kError);
  if (wanted == "off") return static_cast<int>(LogSeverity::kError) + 1;
  if (wanted == "info") return static_cast<int>(LogSeverity::kInfo);
  return std::nullopt;
}

std::string_view Priority(LogSeverity severity) {
  switch (severity) {
    case LogSeverity::kInfo:
      return SD_INFO;
    case LogSeverity::kWarning:
      return SD_WARNING;
    case LogSeverity::kError:
      break;
  }
  return SD_ERR;
}

}  // namespace

Logger::Logger(std::string name) : name_(std::move(name)), journal_(IsJournal()), threshold_(Threshold()) {}

void Logger::Log(LogSeverity severity, std::string_view text) const {
  if (threshold_ && static_cast<int>(severity) < *threshold_) return;
  const std::string start = journal_ ? std::string(Priority(severity)) : name_ + ": ";
  std::string lines;
  do {
    const std::string_view line = text.substr(0, text.find('\n'));
    lines.append(start).append(line).push_back('\n');
    fifo_->Write(severity, line);
    text.remove_prefix(std::min(text.size(), line.size() + 1));
  } while (!text.empty());
  // There is nobody to tell when this fails.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, lines.data(), lines.size());
}

void Logger::LogOfLibrary(LogSeverity severity, std::string_view text) const {
  if (threshold_ || severity != LogSeverity::kInfo) Log(severity, text);
}

}  // namespace ipcrpc::hosting

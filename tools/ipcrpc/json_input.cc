#include "tools/ipcrpc/json_input.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "tools/ipcrpc/output.h"

namespace ipcrpc::cli {
namespace {

bool IsBlank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

absl::Status CannotRead(const std::string& what) {
  return absl::FailedPreconditionError("cannot read " + what + ": " + std::strerror(errno));
}

}  // namespace

std::optional<std::string> JsonSplitter::Next(bool at_end) {
  if (at_ == 0) {
    size_t blanks = 0;
    while (blanks < text_.size() && IsBlank(text_[blanks])) ++blanks;
    text_.erase(0, blanks);
  }
  while (at_ < text_.size()) {
    const char c = text_[at_++];
    if (quote_ != 0) {
      if (escaped_) {
        escaped_ = false;
      } else if (c == '\\') {
        escaped_ = true;
      } else if (c == quote_) {
        quote_ = 0;
        if (depth_ == 0) return TakeUpTo(at_);
      }
    } else if (c == '"' || c == '\'') {
      quote_ = c;
    } else if (c == '{' || c == '[') {
      ++depth_;
    } else if (c == '}' || c == ']') {
      if (--depth_ <= 0) return TakeUpTo(at_);
    } else if (depth_ == 0 && IsBlank(c)) {
      return TakeUpTo(at_ - 1);
    }
  }
  if (at_end && !text_.empty()) return TakeUpTo(text_.size());
  return std::nullopt;
}

std::string JsonSplitter::TakeUpTo(size_t end) {
  std::string value = text_.substr(0, end);
  text_.erase(0, end);
  at_ = 0;
  depth_ = 0;
  quote_ = 0;
  escaped_ = false;
  return value;
}

absl::StatusOr<std::unique_ptr<JsonInput>> JsonInput::Open(const std::string& data) {
  int fd = -1;
  if (data == "@-") {
    if (isatty(STDIN_FILENO))
      return UsageError("-d @- reads standard input, which is a terminal: pipe JSON into it");
    fd = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) return CannotRead("standard input");
  } else if (data.rfind('@', 0) == 0) {
    fd = open(data.c_str() + 1, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return CannotRead(data.substr(1));
  }
  const int stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (stop_fd < 0) {
    const absl::Status error = CannotRead("an eventfd");
    if (fd >= 0) close(fd);
    return error;
  }
  std::unique_ptr<JsonInput> input(new JsonInput(fd, stop_fd));
  if (fd < 0) {
    input->splitter_.Feed(data);
    input->ended_ = true;
  }
  return input;
}

JsonInput::~JsonInput() {
  if (fd_ >= 0) close(fd_);
  close(stop_fd_);
}

absl::StatusOr<std::optional<std::string>> JsonInput::Next() {
  for (;;) {
    if (std::optional<std::string> value = splitter_.Next(ended_)) return value;
    if (ended_) return std::optional<std::string>();
    const absl::StatusOr<bool> more = ReadMore();
    if (!more.ok()) return more.status();
    ended_ = !*more;
  }
}

absl::StatusOr<bool> JsonInput::ReadMore() {
  for (;;) {
    pollfd fds[2] = {{.fd = fd_, .events = POLLIN, .revents = 0},
                     {.fd = stop_fd_, .events = POLLIN, .revents = 0}};
    if (poll(fds, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return CannotRead("the request data");
    }
    if (fds[1].revents != 0) return false;
    char piece[64 * 1024];
    const ssize_t size = read(fd_, piece, sizeof(piece));
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (size < 0) return CannotRead("the request data");
    splitter_.Feed(std::string_view(piece, static_cast<size_t>(size)));
    return size > 0;
  }
}

void JsonInput::Stop() {
  const uint64_t one = 1;
  // The counter cannot be full after a few stops, so that this neither fails nor blocks.
  [[maybe_unused]] const ssize_t written = write(stop_fd_, &one, sizeof(one));
}

}  // namespace ipcrpc::cli

// Requests as the user gives them: JSON values one after the other, from the command line, a file or a pipe.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ipcrpc::cli {

// Cuts text that comes in pieces into its top-level JSON values. Only brackets and quotes are looked at;
// whether the values are right is for the parser to say.
class JsonSplitter {
 public:
  void Feed(std::string_view piece) { text_ += piece; }

  // The next value that is complete. With `at_end`, whatever is left counts as one.
  std::optional<std::string> Next(bool at_end);

 private:
  std::string TakeUpTo(size_t end);

  std::string text_;
  size_t at_ = 0;  // bytes looked at so far; before them stands at most one unfinished value
  int depth_ = 0;
  char quote_ = 0;
  bool escaped_ = false;
};

// Where requests come from. One reading thread; Stop() by any.
class JsonInput {
 public:
  // `data`: JSON itself, "@FILE", or "@-" for standard input. An error when the file cannot be read, or when
  // standard input is a terminal: nobody is kept waiting there.
  static absl::StatusOr<std::unique_ptr<JsonInput>> Open(const std::string& data);
  ~JsonInput();
  JsonInput(const JsonInput&) = delete;
  JsonInput& operator=(const JsonInput&) = delete;

  // The next value as soon as it is complete; nothing at the end, or after Stop().
  absl::StatusOr<std::optional<std::string>> Next();

  // Ends a Next() that waits.
  void Stop();

 private:
  explicit JsonInput(int fd, int stop_fd) : fd_(fd), stop_fd_(stop_fd) {}

  // Waits for more text. False at the end.
  absl::StatusOr<bool> ReadMore();

  const int fd_;  // -1: all text was there from the beginning
  const int stop_fd_;
  bool ended_ = false;
  JsonSplitter splitter_;
};

}  // namespace ipcrpc::cli

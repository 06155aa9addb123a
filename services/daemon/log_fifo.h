// A FIFO that somebody may read a daemon's lines from, and that never holds the daemon up.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "ipcrpc/log.h"
#include "ipcrpc/status.h"
#include "ipcrpc/unique_fd.h"

namespace ipcrpc::hosting {

// A line is "2026-11-28T12:52:15.123Z NAME SEVERITY: text", at most PIPE_BUF bytes, so that it is written
// whole or not at all; what is longer is cut and ends with "[cut]".
//
// The daemon is a reader of its own FIFO that never reads: so there is always one, and lines wait in the pipe
// (64 KiB, unless the kernel is short of it) while nobody reads. A reader that starts after the daemon, or is
// restarted, misses nothing that had room, and the times tell how old it is. What had none is counted, and
// the count is the next line, where the lines are missing: no line is lost without being counted, but those
// that nobody has read when the daemon ends.
//
// Any thread. Nothing blocks but for another thread's write(2), which does not wait.
class LogFifo {
 public:
  LogFifo() = default;
  ~LogFifo() { Close(); }
  LogFifo(const LogFifo&) = delete;
  LogFifo& operator=(const LogFifo&) = delete;

  // Lines go there from now on. Makes the FIFO, for our user to read and our group too, where nothing is. Not
  // OK, and as before: FAILED_PRECONDITION when what is there is no FIFO, or another user's; INTERNAL for all
  // else. Once.
  Status Open(const std::string& path, const std::string& name);

  // One line, without its end. Nothing while no FIFO is open.
  void Write(LogSeverity severity, std::string_view text);

  // Says what is still to be counted, if there is room, and no more from then on. Removes the file if it is
  // the one that Open() made.
  void Close();
  // Somebody else writes there from now on: Close() leaves the file.
  void KeepFile();

 private:
  // False when there is no room.
  bool WriteLine(std::string_view severity, std::string_view text);
  bool WriteDropped();

  std::mutex mu_;  // guards all that follows
  UniqueFd fifo_;
  std::string path_;
  std::string name_;
  bool made_ = false;
  uint64_t dropped_ = 0;  // since the last line
};

}  // namespace ipcrpc::hosting

// Lines for whoever runs the daemon.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "ipcrpc/log.h"
#include "services/daemon/log_fifo.h"

namespace ipcrpc::hosting {

// Writes to standard error, and to a FIFO besides once it is open. Any thread: a line is one write(2). Copies
// share the FIFO.
class Logger {
 public:
  explicit Logger(std::string name);

  // "<4>text" where standard error is the journal, which knows the name; else "name: text". From the severity
  // that IPCRPC_LOG names.
  void Log(LogSeverity severity, std::string_view text) const;
  // The same, for what nobody asked for: without IPCRPC_LOG from warnings on.
  void LogOfLibrary(LogSeverity severity, std::string_view text) const;

  const std::string& name() const { return name_; }
  LogFifo& fifo() const { return *fifo_; }

 private:
  const std::string name_;
  const bool journal_;
  const std::optional<int> threshold_;  // severities from here on are said
  const std::shared_ptr<LogFifo> fifo_ = std::make_shared<LogFifo>();
};

}  // namespace ipcrpc::hosting

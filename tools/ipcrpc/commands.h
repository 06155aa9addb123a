// The commands: what the command line gave them, and what runs them. Each returns what Report() turns into an
// exit code.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ipcrpc::cli {

// What every command that talks to a server takes: two words, of which the first may be left out.
struct ServerOptions {
  std::vector<std::string> words;  // [ADDR] and the command's own
  std::string timeout;             // "5s"; empty: none
};

struct ListOptions : ServerOptions {
  bool signatures = false;
};
absl::Status List(const ListOptions& options);

struct DescribeOptions : ServerOptions {};
absl::Status Describe(const DescribeOptions& options);

struct CallOptions : ServerOptions {
  bool has_data = false;
  std::string data;
  std::vector<std::string> headers;
  bool pretty = false;
  bool compact = false;
};
absl::Status Call(const CallOptions& options);

struct TransportsOptions {
  bool parameters = false;  // of their addresses, instead of what they can do
};
absl::Status Transports(const TransportsOptions& options);

absl::Status Stdio(const ServerOptions& options);

absl::Status ServerStatus(const ServerOptions& options);

struct DoctorOptions {
  bool clean = false;
  std::vector<std::string> directories;  // empty: all where names are looked for
};
absl::Status Doctor(const DoctorOptions& options);

struct SnapshotOptions {
  std::string place;  // a name or a file; empty: list the names
  bool watch = false;
  bool pretty = false;
  bool compact = false;
  bool stale_ok = false;
};
absl::Status Snapshot(const SnapshotOptions& options);

}  // namespace ipcrpc::cli

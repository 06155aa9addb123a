// What ipcrpc-monitord is told: on its command line, and in its file.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace ipcrpc::monitor {

struct Options {
  std::vector<std::string> addresses;
  bool snapshots = true;
  std::string snapshot_base;
  uint64_t snapshot_interval_ms = 1000;
  std::vector<std::string> netns;
  uint64_t history = 16'384;
  int netlink_buffer = 16 << 20;
  uint64_t verify_interval_ms = 60'000;
  bool process_events = false;
  std::string log_fifo;           // "": none
  std::string runtime_dir;        // "": the usual one
  std::string config;             // the file; "": none
  bool one_process = false;
  std::string admin_group;        // "": none
  bool collector = false;         // this process is one
  std::vector<std::string> netns_paths;  // a collector's, for each of netns
  bool only_standard_io = false;  // whoever started us hears our standard error, and wants none of it

  // What was said of each option, by its name without dashes.
  std::map<std::string, std::vector<std::string>> given;
};

// Where there is nothing to serve: what to print on standard output or standard error, and the exit code.
struct Exit {
  int code;
  std::string text;
};

// The command line, and what the file that it names has of options that it has not.
std::variant<Options, Exit> ParseOptions(int argc, const char* const* argv);

// The names of those that were said otherwise, or not at all.
std::vector<std::string> ChangedOptions(const Options& before, const Options& after);

}  // namespace ipcrpc::monitor

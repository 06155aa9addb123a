#include "services/monitord/options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <set>
#include <sstream>

namespace ipcrpc::monitor {
namespace {

const std::map<std::string, uint64_t> kTimeUnits = {
    {"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};

// Schemes whose addresses are no places that others find.
const std::set<std::string> kInherited = {"socketpair", "pipe", "exec", "stdio"};

// What stands between the scheme and the parameters, if it is a name or a path that others find.
std::string NameIn(const std::string& address) {
  const size_t colon = address.find(':');
  if (colon != std::string::npos && kInherited.count(address.substr(0, colon)) != 0) return "";
  const size_t begin = colon == std::string::npos ? 0 : colon + 1;
  const std::string rest = address.substr(begin, address.find('?', begin) - begin);
  return rest.starts_with('@') ? "" : rest;  // abstract names have no permissions, and no directory
}

// What snapshots are called after: the first address that is a name or a path; "" when who asks alone gets to
// know of this process.
std::string SnapshotBase(const std::vector<std::string>& addresses) {
  for (const std::string& address : addresses) {
    if (const std::string name = NameIn(address); !name.empty()) return name;
  }
  const bool private_to_one = std::all_of(addresses.begin(), addresses.end(), [](const std::string& address) {
    return kInherited.count(address.substr(0, address.find(':'))) != 0;
  });
  return private_to_one ? "" : "monitor";
}

// As for watches of the status.
std::string IntervalError(uint64_t ms) {
  return ms >= 10 && ms <= kTimeUnits.at("d") ? "" : "expected 10ms to 1d";
}

// The options, and where they go.
class Parser {
 public:
  Parser();

  // Throws CLI::ParseError.
  void Parse(int argc, const char* const* argv) { app_.parse(argc, argv); }
  // "" or what is wrong with the file, if one was named.
  std::string FileError() const;
  // What was parsed, with what follows from it.
  Options Take();
  std::string Help() const { return app_.help(); }

 private:
  // "" or what is wrong with an entry of the file.
  static std::string EntryError(const CLI::ConfigItem& entry);
  std::string Keys() const;
  std::string File() const { return config_->count() == 0 ? "" : config_->as<std::string>(); }

  Options options_;
  bool no_snapshots_ = false, standard_io_ = false;
  CLI::App app_{
      "Serves the live state of this machine (ipcrpc.monitor.v1.SystemStatus), of its network "
      "(ipcrpc.monitor.v1.NetEvents), and what the kernel tells of devices and processes "
      "(ipcrpc.monitor.v1.KernelEvents), until SIGTERM or SIGINT.",
      "ipcrpc-monitord"};
  CLI::Option* config_ = nullptr;
};

Parser::Parser() {
  app_.add_option("--listen", options_.addresses,
                  "Address to listen on, any number of times; shm:monitor if left out")
      ->take_all()
      ->type_name("ADDRESS");
  app_.add_flag("--stdio", standard_io_,
                "--listen stdio:, for whoever started this, as in exec:'ipcrpc-monitord --stdio'; alone, it "
                "publishes no "
                "snapshots unless --snapshots names them, and ends when its client hangs up");
  app_.add_option("--runtime-dir", options_.runtime_dir,
                  "Directory of the names; else $IPCRPC_RUNTIME_DIR, $XDG_RUNTIME_DIR/ipcrpc or /run/ipcrpc")
      ->type_name("DIR");
  app_.add_option("--snapshots", options_.snapshot_base,
                  "Publish the state as the snapshots NAME.net and NAME.system; if left out, NAME is that of "
                  "the first address")
      ->type_name("NAME");
  app_.add_option(
          "--snapshot-interval", options_.snapshot_interval_ms,
          "How often NAME.system is published (NAME.net is at every change), 10ms to 1d; 1s if left out")
      ->transform(CLI::AsNumberWithUnit(kTimeUnits, CLI::AsNumberWithUnit::UNIT_REQUIRED))
      ->check([](const std::string& ms) { return IntervalError(std::stoull(ms)); })
      ->option_text("TIME");
  app_.add_option(
          "--netns", options_.netns,
          "A network namespace to look into beside our own, any number of times: a name of `ip netns`, or "
          "a path with a slash; needs CAP_SYS_ADMIN")
      ->take_all()
      ->type_name("NAME");
  app_.add_option("--history", options_.history,
                  "How many changes are kept for watchers and for lists of the past; 16384 if left out")
      ->check(CLI::Range(1, 10'000'000))
      ->type_name("CHANGES");
  app_.add_option(
          "--netlink-buffer", options_.netlink_buffer,
          "Room for notifications that we have not yet read; what is more is lost, told, and made good "
          "by reading everything anew; 16MB if left out")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(1, 1 << 30))
      ->option_text("SIZE");
  app_.add_option(
          "--verify-interval", options_.verify_interval_ms,
          "How long after a change everything is read anew, to find what the kernel did not announce (ten "
          "times that when nothing changes); 0s = never; 1m if left out")
      ->transform(CLI::AsNumberWithUnit(kTimeUnits, CLI::AsNumberWithUnit::UNIT_REQUIRED))
      ->option_text("TIME");
  app_.add_flag("--process-events", options_.process_events,
                "Let whoever may call us watch which processes begin and end; needs CAP_NET_ADMIN");
  app_.add_option("--admin-group", options_.admin_group,
                  "The group whose members may call ipcrpc.monitor.v1.MonitorControl, beside root and our own user")
      ->type_name("GROUP");
  app_.add_flag("--one-process", options_.one_process,
                "Read Netlink and /proc in this process, with all its rights, instead of in a collector with few; so it is, too, "
                "where standard input and output are the only address");
  // How we start a collector.
  app_.add_flag("--collector", options_.collector)->group("")->configurable(false);
  app_.add_option("--netns-path", options_.netns_paths)->group("")->configurable(false)->take_all();
  app_.add_flag("--no-snapshots", no_snapshots_, "Publish none");
  app_.add_option(
          "--log-fifo", options_.log_fifo,
          "Say all that is said at this FIFO, too, which is made where nothing is; lines that have no room "
          "there are counted, and nothing ever waits for who reads")
      ->type_name("PATH");
  config_ = app_.set_config(
                    "--config", "",
                    "Options that are not given here, a line each: NAME = VALUE, with the names of the long "
                    "options; read again at SIGHUP")
                ->type_name("FILE");
  app_.allow_config_extras(CLI::config_extras_mode::error);
}

Options Parser::Take() {
  options_.config = File();
  for (const CLI::Option* option : app_.get_options()) {
    if (option->count() != 0) options_.given[option->get_single_name()] = option->results();
  }
  if (standard_io_) options_.addresses.push_back("stdio:");
  if (options_.addresses.empty()) options_.addresses.push_back("shm:monitor");
  if (options_.snapshot_base.empty()) options_.snapshot_base = SnapshotBase(options_.addresses);
  options_.snapshots = !no_snapshots_ && !options_.snapshot_base.empty();
  options_.only_standard_io =
      std::all_of(options_.addresses.begin(), options_.addresses.end(),
                  [](const std::string& address) { return address.starts_with("stdio:"); });
  options_.one_process |= options_.only_standard_io;
  return std::move(options_);
}

std::string Parser::Keys() const {
  std::string keys;
  for (const CLI::Option* option : app_.get_options()) {
    if (option->get_configurable()) keys += (keys.empty() ? "" : ", ") + option->get_single_name();
  }
  return keys;
}

std::string Parser::EntryError(const CLI::ConfigItem& entry) {
  const std::string key = entry.fullname();
  if (!entry.parents.empty()) return "[" + entry.parents.front() + "]: there are no sections";
  Parser alone;
  const CLI::Option* const option = alone.app_.get_option_no_throw("--" + key);
  if (option == nullptr || !option->get_configurable())
    return key + ": there is no such key; there are " + alone.Keys();
  // As if it were on a command line; backwards, as CLI11 takes them.
  std::vector<std::string> arguments;
  for (const std::string& value : entry.inputs) arguments.insert(arguments.begin(), "--" + key + "=" + value);
  try {
    alone.app_.parse(std::move(arguments));
  } catch (const CLI::ParseError& error) {
    const bool flag = option->get_items_expected_max() == 0;
    std::string why = flag ? "expected true or false" : error.what();
    if (const std::string start = "--" + key + ": "; why.starts_with(start)) why.erase(0, start.size());
    return key + ": " + why;
  }
  return "";
}

std::string Parser::FileError() const {
  const std::string file = File();
  if (file.empty()) return "";
  try {
    std::set<std::string> keys;
    for (const CLI::ConfigItem& entry : app_.get_config_formatter()->from_file(file)) {
      if (const std::string error = EntryError(entry); !error.empty()) return file + ": " + error;
      if (!keys.insert(entry.fullname()).second)
        return file + ": " + entry.fullname() +
               ": it is there twice; its values go on lines one after another";
    }
  } catch (const CLI::Error& error) {
    return error.what();  // with the file's name
  }
  return "";
}

}  // namespace

std::vector<std::string> ChangedOptions(const Options& before, const Options& after) {
  std::vector<std::string> changed;
  for (const auto& [name, values] : before.given) {
    const auto found = after.given.find(name);
    if (found == after.given.end() || found->second != values) changed.push_back(name);
  }
  for (const auto& [name, values] : after.given) {
    if (before.given.count(name) == 0) changed.push_back(name);
  }
  return changed;
}

std::variant<Options, Exit> ParseOptions(int argc, const char* const* argv) {
  Parser parser;
  std::string problem;
  try {
    parser.Parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return Exit{0, parser.Help()};
  } catch (const CLI::ParseError& error) {
    problem = std::string(error.what()) + " (see ipcrpc-monitord --help)";
  }
  // CLI11 does not say which entry of the file it minds, or that it minds one.
  if (const std::string error = parser.FileError(); !error.empty()) problem = error;
  if (!problem.empty()) return Exit{2, problem};
  return parser.Take();
}

}  // namespace ipcrpc::monitor

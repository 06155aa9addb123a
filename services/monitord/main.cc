// ipcrpc-monitord: the live state of the machine and its network, served by RPC.
#include <stdio.h>
#include <stdlib.h>

#include <variant>

#include "services/monitord/collector.h"
#include "services/monitord/monitor.h"

namespace ipcrpc::monitor {
namespace {

int Main(int argc, char** argv) {
  const Parse parse = [&] { return ParseOptions(argc, argv); };
  const auto parsed = parse();
  const Options* const options = std::get_if<Options>(&parsed);
  // Signals are for the daemon, which ends its collector.
  if (options != nullptr && options->collector) return Collect(*options);
  Daemon daemon("ipcrpc-monitord");
  if (const Exit* exit = std::get_if<Exit>(&parsed)) {
    if (exit->code == 0) {
      fputs(exit->text.c_str(), stdout);
    } else {
      daemon.Log(LogSeverity::kError, exit->text);
    }
    return exit->code;
  }
  if (!options->runtime_dir.empty()) setenv("IPCRPC_RUNTIME_DIR", options->runtime_dir.c_str(), 1);
  return Serve(daemon, *options, parse);
}

}  // namespace
}  // namespace ipcrpc::monitor

int main(int argc, char** argv) { return ipcrpc::monitor::Main(argc, argv); }

// ipcrpc: asks servers what they offer, and calls them, from a shell.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "ipcrpc/admin.h"
#include "tools/ipcrpc/commands.h"
#include "tools/ipcrpc/output.h"

namespace ipcrpc::cli {
namespace {

constexpr char kFooter[] =
    "ADDR is SCHEME:REST, as in shm:monitor or unix:/run/some.sock; without it, IPCRPC_ADDRESS.\n"
    "Exit codes: 0; 1 never connected, or another error of this tool; 2 wrong usage; 3 a snapshot was shown\n"
    "whose writer is dead; 64 + the status code when a call failed (69: NOT_FOUND).";

void AddServerOptions(CLI::App* command, ServerOptions* options, const std::string& word,
                      const std::string& help) {
  command->add_option("words", options->words, help)
      ->type_name("")
      ->option_text("[ADDR] " + word)
      ->expected(0, 2);
  command->add_option("--timeout", options->timeout, "Give up after so long: 5s, 250ms, 1m30s")
      ->type_name("TIME");
}

int Usage(const std::string& text) { return Report(UsageError(text + " (see ipcrpc --help)")); }

int Main(int argc, char** argv) {
  CLI::App app("Talks to ipcrpc servers: lists their services, describes and calls their methods.", "ipcrpc");
  app.footer(kFooter);
  app.require_subcommand(1);
  std::function<absl::Status()> run;

  ListOptions list;
  CLI::App* list_command = app.add_subcommand("list", "The services of a server, or the methods of one");
  AddServerOptions(list_command, &list, "[SERVICE]", "Whom to ask, and of which service to list the methods");
  list_command->add_flag("-l,--long", list.signatures, "Methods with their messages");
  list_command->callback([&] { run = [&] { return List(list); }; });

  DescribeOptions describe;
  CLI::App* describe_command = app.add_subcommand("describe", "A definition, as .proto text");
  AddServerOptions(describe_command, &describe, "SYMBOL",
                   "A service, method, message, field, enum or .proto file");
  describe_command->callback([&] { run = [&] { return Describe(describe); }; });

  CallOptions call;
  CLI::App* call_command = app.add_subcommand("call", "Calls a method, with JSON in and out");
  AddServerOptions(call_command, &call, "METHOD", "What looks like pkg.Service/Method");
  CLI::Option* data = call_command->add_option("-d,--data", call.data,
                                               "The request, or for client streams requests one after the "
                                               "other: JSON, @FILE, or @- for standard input; default {}");
  data->type_name("JSON|@FILE|@-");
  call_command
      ->add_option("-H,--header", call.headers, "Metadata 'key: value', any number of times; base64 for -bin")
      ->type_name("KEY: VALUE")
      ->allow_extra_args(false);
  CLI::Option* pretty = call_command->add_flag("--pretty", call.pretty, "Indented JSON also for streams");
  call_command->add_flag("--compact", call.compact, "One line of JSON for each message, also for single ones")
      ->excludes(pretty);
  call_command->callback([&] {
    call.has_data = data->count() > 0;
    run = [&] { return Call(call); };
  });

  SnapshotOptions snapshot;
  CLI::App* snapshot_command =
      app.add_subcommand("snapshot", "What a daemon left in shared memory, as JSON, without any call");
  snapshot_command
      ->add_option(
          "place", snapshot.place,
          "A name, as in monitor.net, or a file with a slash; ?uid=NAME believes files of that user, too. "
          "Without it: the names there are")
      ->type_name("")
      ->option_text("[NAME|FILE]");
  snapshot_command->add_flag("-w,--watch", snapshot.watch,
                             "Go on: one line for each change that is seen, newest state only");
  CLI::Option* snapshot_pretty =
      snapshot_command->add_flag("--pretty", snapshot.pretty, "Indented JSON also with --watch");
  snapshot_command->add_flag("--compact", snapshot.compact, "One line of JSON also without --watch")
      ->excludes(snapshot_pretty);
  snapshot_command->add_flag("--stale-ok", snapshot.stale_ok,
                             "Exit code 0, not 3, when its writer is dead (it is shown either way)");
  snapshot_command->callback([&] { run = [&] { return Snapshot(snapshot); }; });

  ServerOptions status;
  CLI::App* status_command =
      app.add_subcommand("status", "Whether a server can be reached, how, and why not by a faster transport");
  AddServerOptions(status_command, &status, "", "Whom to reach");
  status_command->callback([&] { run = [&] { return ServerStatus(status); }; });

  ServerOptions stdio;
  CLI::App* stdio_command = app.add_subcommand(
      "stdio", "Carries standard input and output to a server, so that exec:'ssh HOST ipcrpc stdio NAME' reaches it");
  stdio_command->add_option("words", stdio.words, "Whom to reach")->type_name("")->option_text("[ADDR]")->expected(0, 2);
  stdio_command->callback([&] { run = [&] { return Stdio(stdio); }; });

  TransportsOptions transports;
  CLI::App* transports_command = app.add_subcommand("transports", "What there is to talk over, and what each can do");
  transports_command->add_flag("-p,--parameters", transports.parameters, "The parameters of their addresses instead");
  transports_command->callback([&] { run = [&] { return Transports(transports); }; });

  DoctorOptions doctor;
  CLI::App* doctor_command = app.add_subcommand(
      "doctor", "What servers and clients that died left behind: names, queues, shared memory, semaphores");
  doctor_command->add_flag("--clean", doctor.clean, "Remove it; never what a living process has");
  doctor_command->add_option("--runtime-dir", doctor.directories, "Where to look, any number of times; everywhere if left out")
      ->type_name("DIR")
      ->allow_extra_args(false);
  doctor_command->callback([&] { run = [&] { return Doctor(doctor); }; });

  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands(nullptr)) names.push_back(command->get_name());
  if (argc < 2) return Usage("which command? " + absl::StrJoin(names, ", "));
  const std::string first = argv[1];
  if (!first.empty() && first.front() != '-' && std::find(names.begin(), names.end(), first) == names.end()) {
    return Usage("no command '" + first + "'" + admin::DidYouMean(first, names));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    if (e.get_exit_code() == 0) return app.exit(e, std::cout, std::cerr);  // --help
    return Usage(e.what());
  }
  return Report(run());
}

}  // namespace
}  // namespace ipcrpc::cli

int main(int argc, char** argv) { return ipcrpc::cli::Main(argc, argv); }

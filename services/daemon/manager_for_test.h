// A service manager, played by the test: starts a daemon as systemd would, and hears what it notifies.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ipcrpc/channel.h"
#include "ipcrpc/status.h"
#include "ipcrpc/unique_fd.h"
#include "transport/testing/temp_dir.h"

namespace ipcrpc::hosting {

constexpr std::chrono::seconds kPatience{20};

// A datagram of sd_notify(3).
struct Notification {
  std::map<std::string, std::string> fields;
  std::vector<UniqueFd> fds;
  pid_t sender = 0;

  bool has(const std::string& key) const { return fields.count(key) != 0; }
  std::string at(const std::string& key) const { return has(key) ? fields.at(key) : "(none)"; }
};

// A daemon that was started. Killed, if need be, with the test.
class Hosted {
 public:
  Hosted(pid_t pid, std::string stderr_path) : pid_(pid), stderr_path_(std::move(stderr_path)) {}
  ~Hosted();
  Hosted(const Hosted&) = delete;
  Hosted& operator=(const Hosted&) = delete;

  pid_t pid() const { return pid_; }
  void Signal(int signal) const;
  // Its exit code, or minus the signal that ended it; nullopt: it lives on.
  std::optional<int> Wait();
  // What it has said on standard error so far.
  std::string Said() const;
  // Waits until it has said this.
  bool Says(const std::string& text) const;

 private:
  pid_t pid_;
  const std::string stderr_path_;
};

class Manager {
 public:
  Manager();

  struct Socket {
    std::string name;
    int fd;  // the manager's own
  };
  struct Options {
    std::map<std::string, std::string> environment;
    std::vector<Socket> sockets;  // as LISTEN_FDS
    bool journal = false;         // its standard error is the journal
  };
  std::unique_ptr<Hosted> Start(std::vector<std::string> arguments, const Options& options);
  // Another program, by its path.
  std::unique_ptr<Hosted> StartProgram(std::vector<std::string> program) {
    return StartProgram(std::move(program), Options());
  }
  std::unique_ptr<Hosted> Start(std::vector<std::string> arguments) {
    return Start(std::move(arguments), Options());
  }

  // The next that has this key; those before it are dropped. Fails the test when none comes.
  Notification Await(const std::string& key);
  // The next of all; nullopt: none came in that time.
  std::optional<Notification> Next(std::chrono::milliseconds patience);

  // Of the runtime directory that the daemons have, which is also that of the test's own channels.
  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }
  const TempRuntimeDir& directory() const { return directory_; }

 private:
  std::unique_ptr<Hosted> StartProgram(std::vector<std::string> program, const Options& options);

  TempRuntimeDir directory_;
  TempRuntimeDir own_;  // notification socket and logs
  UniqueFd notifications_;
  int started_ = 0;
};

// What a call of bytes came to.
struct Answer {
  Status status;
  std::string text;
};
// A call that is under way.
class OpenCall {
 public:
  OpenCall(const std::shared_ptr<Channel>& channel, const std::string& method, const std::string& text);
  // Waits for it.
  Answer End();

 private:
  struct State;
  std::shared_ptr<State> state_;
};
Answer CallBytes(const std::string& address, const std::string& method, const std::string& text);
// The health service's word for the server: "SERVING", "NOT_SERVING", or the call's error.
std::string HealthAt(const std::string& address);

}  // namespace ipcrpc::hosting

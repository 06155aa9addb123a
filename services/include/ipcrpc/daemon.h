// A server as a daemon: what stands between main() and a service that an operator can start, watch, reload
// and stop.
//
//   int main() {
//     ThermometerService service;
//     ipcrpc::Daemon daemon("thermometerd");
//     daemon.Listen("shm:thermometer").Register(&service)
//           .OnReload([&] { return service.LoadConfig(); })
//           .OnStop([&] { service.Close(); });
//     return daemon.Run();
//   }
//
// Link ipcrpc::daemon. docs/hosting.md tells what the service manager and the operator see.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ipcrpc/child.h"
#include "ipcrpc/export.h"
#include "ipcrpc/log.h"
#include "ipcrpc/prefork.h"
#include "ipcrpc/server.h"
#include "ipcrpc/status.h"

namespace ipcrpc {

// One for each process, and for one Run(). By one thread, except where it says otherwise.
//
// Make it before anything starts a thread, so before the first channel or server and before whatever else of
// the program has threads: the constructor blocks SIGTERM, SIGINT and SIGHUP in its thread, which threads
// inherit; one that exists already would still die of them, and the process with it (a warning says so).
// SIGPIPE is ignored from then on. What the service manager passed (LISTEN_FDS) is taken, and the environment
// says no more of it. Programs that this process executes inherit what is blocked and ignored, unless it sees to
// that (exec: addresses do).
class IPCRPC_EXPORT Daemon {
 public:
  // `name` is a plain name, as in addresses. It stands before what the daemon says on standard error; where
  // that is the journal, which knows it, the priority prefixes of sd-daemon(3) do. IPCRPC_LOG names the least
  // severity. What the library has to say (SetLogSink()) is said in the same way from now on, without
  // IPCRPC_LOG from warnings on.
  explicit Daemon(std::string name);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // ---- before Run() ----

  // Any number of addresses. Where the service manager passes a socket that is bound there (a socket unit),
  // that one is used. Then the unit says what permissions the file has. A passed socket at none of the
  // addresses is an error of Run(). `unless_given`: a parameter that holds where the address may have it and
  // does not, such as "mode=0666".
  Daemon& Listen(const std::string& address, const std::string& unless_given = "");
  // Not owned: the service must live until Run() has returned.
  Daemon& Register(Service* service);
  // All else that a server may be told. Addresses and services that are added here count too. The runtime has
  // to be one with threads.
  ServerBuilder& builder();

  // The time that calls have to end when the daemon is to stop; those that still run are cancelled then. 10 s
  // if left out.
  Daemon& SetDrain(std::chrono::milliseconds drain);

  // Hot restart (docs/operations.md): this daemon takes the addresses of a running one over, and lets a
  // successor do so.
  Daemon& SetTakeOver(bool allowed);

  // Has the service manager keep the listening sockets of unix: and shm: addresses while it starts this
  // daemon anew, so that nobody is refused meanwhile (FileDescriptorStoreMax= of the unit, at least as many).
  // Their names are not removed at the end. Not together with SetTakeOver(). A socket unit does the same
  // without this.
  Daemon& SetKeepSockets(bool keep);

  // Whether there is to be one daemon of this name at a time (of those that say so, for each runtime
  // directory): it is, unless false is said. So it listens at unix:NAME too, for its own user alone, and a
  // second one does not start: it says which pid is the first. A successor takes that over with all else.
  // One that is itself a SupervisedChild has none of this.
  Daemon& SetOneInstance(bool one);

  // All that the daemon says goes to this FIFO, too, from now on: a line each, "TIME NAME SEVERITY: text" (UTC),
  // of at most PIPE_BUF bytes. Nobody need read it, and no thread ever waits for who does: lines are kept as far
  // as the pipe has room (64 KiB), and where some had none, a line says how many. docs/hosting.md has more.
  //
  // Made, for our user and group, where nothing is, and then removed at the end (not when a successor has taken
  // over). What is no FIFO, or another user's, is an error of Run(). Once, and of a daemon's own.
  Daemon& SetLogFifo(const std::string& path);

  // A child of the daemon's, which lives until Run() returns. It is started when the server listens; calls of its channel() wait
  // until then. It is up before OnStart is called, or else Run() says how it ended and returns 1; and it is stopped when the last
  // call has ended. That it is up and how it ends is said, and `systemctl status` shows one that is down. It hears nothing of the
  // service manager ($NOTIFY_SOCKET). Any number of them.
  SupervisedChild& Supervise(SupervisedChild::Options options);

  // A pool of workers, of which the same holds, for services of this server. Health says of each of them whether a worker is up.
  //
  //   daemon.Prefork({.worker = {.argv = {"/proc/self/exe"}}, .workers = 4}).Serve<Sum>();
  class IPCRPC_EXPORT PreforkBuilder {
   public:
    // Registers what stands for a generated service: PreforkPool::FrontOf().
    template <class Generated>
    PreforkBuilder& Serve() {
      daemon_.Register(pool_.FrontOf<Generated>());
      return *this;
    }
    // Of services known by name alone, once for the daemon.
    PreforkBuilder& ServeByName(std::vector<std::string> services) {
      daemon_.builder().RegisterCallbackGenericService(pool_.FrontOf(std::move(services)));
      return *this;
    }
    PreforkPool& pool() { return pool_; }

   private:
    friend class Daemon;
    PreforkBuilder(Daemon& daemon, PreforkPool& pool) : daemon_(daemon), pool_(pool) {}

    Daemon& daemon_;
    PreforkPool& pool_;
  };
  PreforkBuilder Prefork(PreforkPool::Options options);

  // Callbacks, any number of each, called in this order and one at a time.
  //
  // OnStart: the server listens, and answers calls already; the manager has not been told. Not OK: Run() says
  // why and returns 1.
  Daemon& OnStart(std::function<Status(Server&)> start);
  // SIGHUP. All are called; what is not OK is said, and the daemon goes on with what it has. It serves
  // meanwhile, but does not look at signals. Without a callback SIGHUP ends the daemon, as it does with a
  // terminal that is closed.
  Daemon& OnReload(std::function<Status()> reload);
  // OnStop: the daemon is to stop, or nobody can come any more: ends what would keep calls waiting. On
  // another thread than Run()'s. Calls are served until it returns.
  Daemon& OnStop(std::function<void()> stop);

  // ---- the work ----

  // Listens and serves until SIGTERM, SIGINT, Stop(), a successor has taken over, or nobody can come any more
  // (Server::Wait()), then until all calls have ended. A second signal cancels the calls, and a third one
  // kills the process. Signals are looked at once OnStart has returned. Blocks. Returns what main() is to
  // return: 0 when it has ended well; 1 when it could not start, for a reason that it said.
  //
  // The server also has the health service, whose "" is NOT_SERVING from the moment that it is to stop, and
  // reflection. A service manager ($NOTIFY_SOCKET) is told READY, RELOADING, STOPPING and STATUS, and, where
  // it asks for that ($WATCHDOG_USEC), twice in that time that the server lives: whenever a call to its own
  // health service came back.
  int Run();

  // As SIGTERM does. Any thread; a second time: as a second signal. Never blocks.
  void Stop();

  // One line for whoever runs the daemon. Any thread.
  void Log(LogSeverity severity, std::string_view text) const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

}  // namespace ipcrpc

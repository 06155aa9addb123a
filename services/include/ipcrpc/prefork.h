// A pool of worker processes behind one server: calls go to the least busy, and a worker that crashes takes only its own along.
//
//   int main() {
//     if (!ipcrpc::ChildAddress().empty()) return Work();  // a server of Sum at that address
//     ipcrpc::Daemon daemon("sumd");
//     daemon.Listen("shm:sum").Prefork({.worker = {.argv = {"/proc/self/exe"}}, .workers = 4}).Serve<Sum>();
//     return daemon.Run();
//   }
//
// docs/hosting.md has more. Link ipcrpc::ipcrpc; for the Daemon, ipcrpc::daemon.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ipcrpc/child.h"
#include "ipcrpc/export.h"
#include "ipcrpc/generic/callback_generic_service.h"
#include "ipcrpc/server.h"
#include "ipcrpc/status.h"

namespace ipcrpc {

// Hands calls on to workers, as bytes: all four shapes, with metadata, deadline, cancellation, descriptors, the status with its
// details, and each side held back as the other one is slow. No thread per call. The worker's peer is this process; who the
// client is, is decided here: by the rules of the .proto (Front()), and those of ServerBuilder::SetAuthorizationPolicy().
//
// A call goes to the worker that has the fewest, among those that are up, or else are starting; it waits for one that starts. When the
// worker ends before it does, it is UNAVAILABLE ("… was ended by signal 9 (Killed)"). What the worker never got goes to another one.
// When no worker is up nor starting it is UNAVAILABLE.
//
// Thread-safe. Must outlive the servers that it is registered with.
class IPCRPC_EXPORT PreforkPool {
 public:
  struct Options {
    // Each one's, by the name "NAME-1" and so on. A worker that hangs as a whole is replaced where the channel's arguments have a
    // keepalive (IPCRPC_ARG_KEEPALIVE_TIME_MS): it does not answer, and is ended.
    SupervisedChild::Options worker;
    int workers = 0;  // 0: as many as there are processors

    // As the worker's own, with its name; on its thread.
    std::function<void(const std::string& worker)> on_worker_up = {};
    std::function<void(const std::string& worker, const std::string& how)> on_worker_down = {};
  };
  explicit PreforkPool(Options options);
  ~PreforkPool();  // Stop()
  PreforkPool(const PreforkPool&) = delete;
  PreforkPool& operator=(const PreforkPool&) = delete;

  // What stands for a generated service, and is to be registered: FrontOf<Greeter>() for helloworld::Greeter. It has its methods, its
  // rules, and its place in reflection. The pool's. Before the server is built.
  template <class Generated>
  Service* FrontOf() {
    const typename Generated::Service generated;
    return AddFront(generated);
  }
  // The same for services that this program knows by name alone ("package.Service"): to be registered as the generic one. Reflection
  // does not know those, and no .proto's rule guards them. The pool's. Once.
  CallbackGenericService* FrontOf(std::vector<std::string> services);

  // Once. As SupervisedChild's.
  Status Start();
  // Until all are up. UNAVAILABLE: one has failed to start, and how.
  Status WaitUntilUp(std::chrono::milliseconds patience);
  // All at once. For good.
  void Stop();
  void BeginStop();

  struct Worker {
    std::string name;
    pid_t pid;  // 0: none now
    bool up;
    uint64_t calls_in_progress;
    uint64_t calls_done;  // those that ended with it, too
    uint64_t restarts;
  };
  std::vector<Worker> workers() const;
  // What there is a front of.
  const std::vector<std::string>& services() const;

 private:
  class ByName;
  class Front;
  class State;

  Service* AddFront(const Service& generated);

  const std::unique_ptr<State> state_;
};

}  // namespace ipcrpc

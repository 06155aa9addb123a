// A program of ours as a child process, which serves us over a socket that nobody else has.
//
//   ipcrpc::SupervisedChild collector({.argv = {"/usr/libexec/collector", "--quick"}});
//   collector.Start();
//   Collector::Stub stub(collector.channel());
//
// and the program:
//
//   ipcrpc::ServerBuilder builder;
//   builder.AddListeningPort(ipcrpc::ChildAddress());  // "socketpair:3"
//   …
//   builder.BuildAndStart()->Wait();                   // until the parent is gone, or wants no more of it
//
// docs/hosting.md has more. Link ipcrpc::ipcrpc.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ipcrpc/channel.h"
#include "ipcrpc/export.h"
#include "ipcrpc/status.h"

namespace ipcrpc {

// The address that a program serves its parent at, when that is a SupervisedChild; "" when it is none. It comes in the environment
// (IPCRPC_CHILD_ADDRESS), which has it no more after the first call, so that programs started from here do not take it for
// theirs. Make that call before other threads look at the environment.
IPCRPC_EXPORT std::string ChildAddress();

// A child that runs as long as this object: started anew when it ends, ended when this does, and never there without this process.
// Thread-safe, except that Start() is called once. Has a thread of its own.
//
// The child has an empty signal mask, every signal as a fresh process has it, a process group of its own (Ctrl-C at the terminal
// reaches the parent alone), the descriptors 0 to 2 of the parent (/dev/null for one that is closed) and 3, the socket. It is up once its
// server greets there. It has ended when its process has, or when its end of the socket is closed; what is left of it then, or at
// Stop(), has `stop_grace` to end by itself, is sent SIGTERM, and after as much time again SIGKILL. When the parent ends
// without that, in whatever way, the kernel kills the child (PR_SET_PDEATHSIG; a program with more rights than its parent,
// such as a set-uid one, just finds its socket closed).
class IPCRPC_EXPORT SupervisedChild {
 public:
  struct Options {
    // argv[0] is the path of the program: "/proc/self/exe" is this same one, in another role.
    std::vector<std::string> argv;
    // "NAME=value", beside our own environment; "NAME": without that one.
    std::vector<std::string> environment = {};
    // In what is said of it and in the status of its calls. The last part of argv[0] if left out.
    std::string name = "";
    std::string NameOrProgram() const;

    // Before it is started anew: the first time, and at most. 1.6 times longer after each life that was shorter than `long_enough`,
    // a try to start that failed being one.
    std::chrono::milliseconds min_backoff{10};
    std::chrono::milliseconds max_backoff{10'000};
    std::chrono::milliseconds long_enough{5'000};
    // By when it is to be up; it is ended then, and counts as failed.
    std::chrono::milliseconds start_limit{20'000};
    std::chrono::milliseconds stop_grace{2'000};

    // Of channel(); those of reconnecting mean nothing here.
    ChannelArguments channel_arguments = {};

    // On the child's own thread, one at a time, so they delay what becomes of this child, and no other. They may call all of this
    // object but Stop().
    std::function<void(const std::shared_ptr<Channel>&)> on_up = {};
    // "was ended by signal 9 (Killed)", "exited with code 3", "cannot run '/x': No such file or directory", "was not up in 20000 ms
    // and was ended", "was stopped" (once, at the end, if it has run). After its calls have been ended, or while they are.
    std::function<void(const std::string& how)> on_down = {};
  };

  explicit SupervisedChild(Options options);
  // Stop().
  ~SupervisedChild();
  SupervisedChild(const SupervisedChild&) = delete;
  SupervisedChild& operator=(const SupervisedChild&) = delete;

  // Begins to start it; does not wait. INVALID_ARGUMENT: no program is named; RESOURCE_EXHAUSTED: there is no thread to be had.
  // All else is tried again.
  Status Start();
  // Waits for the first start, or for the next one while it is down. UNAVAILABLE: a try has failed since, and how; tries go on.
  // DEADLINE_EXCEEDED: not yet. CANCELLED: Stop().
  Status WaitUntilUp(std::chrono::milliseconds patience);
  // Ends the child and returns when it has ended and on_down has returned. For good.
  void Stop();
  // Begins to; does not wait.
  void BeginStop();

  // The same one all the time, which may be had before Start() and live on after this object. A call is UNAVAILABLE when the child
  // ends before it does ("… was ended by signal 9 (Killed)") and when there is no child now. It waits while one is starting, or has
  // still to be Start()ed; with wait_for_ready in any case.
  const std::shared_ptr<Channel>& channel() const;

  const std::string& name() const;
  // 0: none now.
  pid_t pid() const;
  // How often it has been started after the first time, tries that failed included.
  uint64_t restarts() const;

 private:
  class Supervisor;
  const std::shared_ptr<Supervisor> supervisor_;
};

}  // namespace ipcrpc

// The other end of a link in a test: a role, played by a thread of this process or by another process (this
// program again, with other arguments).
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "transport/base/fd.h"
#include "transport/link.h"

namespace ipcrpc {

// Roles; the result is 0 when all was as it should be.
//   exchange SEED PEER_SEED COUNT    sends COUNT frames of SEED, expects as many of PEER_SEED, at the same time
//   flood SEED PEER_SEED COUNT       the same, sending and receiving in a thread each
//   echo                             sends back what comes, until closed
//   sleepy-echo                      the same, but reads nothing until told to go
//   send-and-close SEED COUNT [MAX]  sends and closes; MAX bytes are the largest frame
//   echo-fds                         sends back the descriptors of MakeFdFrame()s, in frames of the same size
//   sleepy-echo-fds                  the same, but reads nothing until told to go
//   send-fds-and-die COUNT           sends so many MakeFdFrame()s with an empty file each, and kills its own process
//   idle                             does nothing until told to go
// `go_fd` becomes readable (or ends) to tell it to go.
int PlayRole(const std::string& role, Link& link, int go_fd);

// The main() of the test program calls this first; it does not return if this is a peer process.
void BecomePeerIfAsked(int argc, char** argv);

// Accepts links on an address in a thread of its own, until it goes.
class LinkHost {
 public:
  explicit LinkHost(const std::string& address);
  ~LinkHost();
  // The next link; null after 20 s.
  std::unique_ptr<Link> Accept();
  const Listener& listener() const { return *listener_; }

 private:
  struct Queue;
  std::unique_ptr<Listener> listener_;
  std::shared_ptr<Queue> queue_;
  UniqueFd stop_;
  std::thread thread_;
};

class PeerThread {
 public:
  PeerThread(std::string role, std::unique_ptr<Link> link);
  ~PeerThread();
  void Go();
  // Its result, once it has ended; its link is closed then.
  int Join();

 private:
  UniqueFd go_;
  int result_ = -1;
  std::thread thread_;
};

class PeerProcess {
 public:
  enum class Side { kConnects, kListens };
  // A listening one listens when the constructor returns (ok()). It inherits those descriptors by their numbers.
  PeerProcess(Side side, const std::string& address, const std::string& role, const std::vector<int>& inherits = {});
  ~PeerProcess();  // kills
  bool ok() const { return ok_; }
  pid_t pid() const { return pid_; }
  void Go();
  int Join();  // its exit code, or -signal
  void Kill();

 private:
  pid_t pid_ = 0;
  bool ok_ = false;
  UniqueFd go_;
};

// A process that plays its role at stdio:, for whoever connects to address().
class ExecPeer {
 public:
  explicit ExecPeer(const std::string& role);
  const std::string& address() const { return address_; }
  // To be called once it is connected.
  void Started();
  pid_t pid() const { return pid_; }
  void Go() { go_.reset(); }
  int Join();  // the role's result, -1 if there is none

 private:
  std::string address_;
  pid_t pid_ = 0;
  UniqueFd go_, result_;             // our ends
  UniqueFd peer_go_, peer_result_;   // its ends, until it has them
};

}  // namespace ipcrpc

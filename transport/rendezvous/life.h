// How the two ends of a pair of queues see that the other one has gone, by closing or by dying.
//
// Each side holds a lock on a byte of their file NAME~TOKEN, which both have open (an OFD lock: the kernel drops it
// when its holder dies, in whatever PID namespace that is). The lock tells a sweep of the dead what is still in
// use; but nobody is woken by it. What wakes is, the first of these that there is:
//   - a FIFO, NAME~TOKEN.life, that nothing is ever written to: the server has it open for writing and the client for
//     reading, so that either sees an error or a hang-up once the other has not;
//   - a pidfd of the peer, which tells its death only; when both are in one PID namespace;
//   - a timer, that has the lock looked at.
// IPCRPC_DISABLE=life_fifo,pidfd_open takes the first two away.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "transport/base/fd.h"

namespace ipcrpc::rendezvous {

enum class Side { kServer, kClient };

// Whether that side of the pair whose file is `fd` lives. A file that cannot be asked counts as alive.
bool Alive(int fd, Side side);
// Takes that side's lock; shared, as the client may only read the file, when it is the client's.
bool TakeLife(int fd, Side side);
void DropLife(int fd, Side side);

// The FIFO of a pair. Invalid where there is none to be had; then there is another way.
struct Access;
std::string LifeFifoOf(const std::string& stem);
UniqueFd MakeLifeFifo(const std::string& stem, const Access& access);  // server; open for reading, too
UniqueFd OpenLifeFifo(const std::string& stem, Side side);  // server: once the client has, and without reading

class PeerWatch {
 public:
  // `file` with our own lock taken; `fifo` may be invalid; `peer_pid` 0: not known here.
  PeerWatch(UniqueFd file, Side own, UniqueFd fifo, pid_t peer_pid);

  // Ready (POLLIN, or an error) when the peer may have gone; Died() says whether, and is asked once in any case: of a peer
  // that went before this was made nothing may be heard.
  int fd() const { return event_.get(); }
  bool Died();
  // Whether fd() tells when the peer closes the pair and lives on. A pidfd does not.
  bool HearsOfLeaving() const { return is_fifo_ || is_timer_; }
  // The peer has closed the pair, or died.
  bool PeerLeft() const { return !Alive(file_.get(), own_ == Side::kServer ? Side::kClient : Side::kServer); }
  // We have.
  void Leave();

 private:
  const UniqueFd file_;
  const Side own_;
  const bool is_fifo_;
  UniqueFd event_;
  bool is_timer_ = false;
};

}  // namespace ipcrpc::rendezvous

// How the two ends of a pair of queues see that the other one has gone.
//
// Each side holds a lock on a byte of their file NAME~TOKEN, which both have open (an OFD lock: the kernel drops it
// when its holder dies, in whatever PID namespace that is). A pidfd of the peer tells its death at once;
// where the kernel refuses one, or the peer's pid means nothing here, a timer has the lock looked at. The same
// lock tells the sweep of the dead what is still in use.
#pragma once

#include <sys/types.h>

#include <memory>

#include "transport/base/fd.h"

namespace ipcrpc::rendezvous {

enum class Side { kServer, kClient };

// Whether that side of the pair whose file is `fd` lives. A file that cannot be asked counts as alive.
bool Alive(int fd, Side side);
// Takes that side's lock; shared, as the client may only read the file, when it is the client's.
bool TakeLife(int fd, Side side);
void DropLife(int fd, Side side);

class PeerWatch {
 public:
  // `file` with our own lock taken; `peer_pid` 0: not known here.
  PeerWatch(UniqueFd file, Side own, pid_t peer_pid);

  // Readable when the peer may have died; Died() then says whether.
  int fd() const { return event_.get(); }
  bool Died();
  // The peer has closed the pair, or died.
  bool PeerLeft() const { return !Alive(file_.get(), own_ == Side::kServer ? Side::kClient : Side::kServer); }
  // We have.
  void Leave() { DropLife(file_.get(), own_); }

 private:
  const UniqueFd file_;
  const Side own_;
  UniqueFd event_;
  bool is_timer_ = false;
};

}  // namespace ipcrpc::rendezvous

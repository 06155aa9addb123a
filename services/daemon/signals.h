// The signals by which operators speak to a daemon, as something to poll.
#pragma once

#include "ipcrpc/unique_fd.h"

namespace ipcrpc::hosting {

class Signals {
 public:
  // Blocks SIGTERM, SIGINT and SIGHUP in the calling thread and in those that it makes from now on; SIGPIPE
  // is ignored.
  Signals();

  // Readable when Take() has one.
  int fd() const { return fd_.get(); }
  // The next signal; 0: none now.
  int Take();
  // From now on each of them has its usual effect on the process.
  void Release();

  // The threads that this process has.
  static int Threads();

 private:
  UniqueFd fd_;
};

}  // namespace ipcrpc::hosting

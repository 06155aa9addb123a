// What command-line tools need beside calls.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ipcrpc/export.h"

namespace ipcrpc::admin {

// "; did you mean 'unix'?", to end an error about `word` with; "" when no candidate is near enough.
IPCRPC_EXPORT std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates);

// What servers and clients that died have left in the runtime directories, and the message queues that the files there
// name (which are not to be seen in any file system). The living are not touched: the kernel drops the locks of the dead.
struct LeftOver {
  std::string kind;  // "lock", "sock", "shm", "fifo", "mqueue", "sysvmq", "snap", or "pair" (of queues for one client)
  std::string name;  // the path, with the queue that it stands for
  int pid;           // of the server that made it; 0: unknown
  std::string why;   // it is dead
};
// `directories`: those that a client searches, when left out.
IPCRPC_EXPORT std::vector<LeftOver> FindLeftOvers(std::vector<std::string> directories = {});
// Removes them, and says which; what is still found afterwards is not ours to remove.
IPCRPC_EXPORT std::vector<LeftOver> CleanLeftOvers(std::vector<std::string> directories = {});

// A transport and what it can do.
struct Transport {
  std::string name;             // the scheme of its addresses
  std::string summary;          // one line
  std::vector<std::string> parameters;
  uint32_t max_frame_bytes;     // longer messages travel in pieces
  bool in_place;                // frames are written and read where they travel
  bool passes_fds;              // file descriptors can be arguments
  bool credentials;             // the kernel vouches for the peer's uid
  bool pollable;                // waits in an epoll, without a thread
  bool detects_death;           // the kernel tells at once when the peer is gone
  bool many_connections;        // an address is a name for any number of clients, not for one
  bool automatic;               // `ipc:` tries it
};
// In the order of the automatic choice, then the others.
IPCRPC_EXPORT std::vector<Transport> Transports();

// How somebody in this process waits who can spin before sleeping: a link of shm: or inproc: with its one thread, or a poller
// for all links that it looks at.
struct Waiter {
  std::string who;         // the link's description, or "poller"
  uint64_t budget_ns;      // what it may spin before it sleeps: twice what a wake takes, and what it has in a wait
  uint64_t wake_ns;        // what a wake takes here, as measured lately; a guess while there are no samples
  uint64_t samples;        // wakes that were measured
  uint64_t found;          // waits that ended while it spun
  uint64_t spent;          // waits that spent the budget in vain and went on to sleep
  uint64_t not_tried;      // waits that went to sleep at once: spinning does not pay, or another needs the processor
};
// Of all that there are now.
IPCRPC_EXPORT std::vector<Waiter> Waiters();

// Carries this process's standard input and output to the server at `address`, so that `exec:ssh HOST ipcrpc stdio monitor`
// reaches it from afar, until either side hangs up. "" then, else what went wrong.
IPCRPC_EXPORT std::string RelayStandardIo(std::string_view address);

}  // namespace ipcrpc::admin

// What command-line tools need beside calls.
#pragma once

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

}  // namespace ipcrpc::admin

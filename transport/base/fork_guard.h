// What belongs to this process and not to a forked child of it.
//
// A child has the memory and the descriptors of its parent, but neither its threads nor its shared mappings, and
// what it does to a socket it does to the parent's. So whoever holds such things keeps a ForkGuard and, in a child, leaves
// them alone. No getpid(), which is a system call: a page that the kernel wipes.
#pragma once

#include <atomic>
#include <cstdint>

namespace ipcrpc {

struct ProcessPage {
  std::atomic<uint64_t> token;           // 0: not yet set in this process
  std::atomic<void*> default_runtime;
};

ProcessPage& ThisProcess();

// Differs between a process and its forked children; never 0.
uint64_t ProcessToken();

class ForkGuard {
 public:
  ForkGuard() : token_(ProcessToken()) {}
  // False in a forked child of the process that made this.
  bool ours() const { return token_ == ProcessToken(); }

 private:
  uint64_t token_;
};

}  // namespace ipcrpc

#include "transport/base/fork_guard.h"

#include <sys/mman.h>
#include <unistd.h>

#include <new>

#include "transport/base/clock.h"
#include "transport/base/status_macros.h"

namespace ipcrpc {

ProcessPage& ThisProcess() {
  static auto* const page = [] {
    constexpr size_t kPage = 4096;
    void* memory = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    IPCRPC_CHECK(memory != MAP_FAILED);
    IPCRPC_CHECK(madvise(memory, kPage, MADV_WIPEONFORK) == 0);
    return new (memory) ProcessPage();
  }();
  return *page;
}

uint64_t ProcessToken() {
  std::atomic<uint64_t>& token = ThisProcess().token;
  const uint64_t known = token.load(std::memory_order_relaxed);
  if (known != 0) [[likely]] return known;
  // The time alone tells parent and child apart, whatever their pids in whatever namespaces.
  uint64_t expected = 0;
  const uint64_t fresh = (static_cast<uint64_t>(MonotonicNs()) << 1) | 1;
  return token.compare_exchange_strong(expected, fresh, std::memory_order_relaxed) ? fresh : expected;
}

}  // namespace ipcrpc

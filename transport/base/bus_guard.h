// Reading mapped files that somebody else may cut short. Touching a page that is beyond the end of its file
// raises SIGBUS. For the memory of a BusGuard the signal handler puts zeros in the place of the whole mapping
// and lets the access go on: no crash, nothing to jump out of, and nothing to do for each access.
#pragma once

#include <cstddef>

namespace ipcrpc {

struct GuardedRange;

// Guards [begin, begin + size), a whole mapping, as long as it lives: it goes before the mapping does.
// Accesses by any thread. While there is a guard, this process's SIGBUS handler is ours; what is not ours
// goes to the handler that was there before.
class BusGuard {
 public:
  enum class Access { kRead, kReadWrite };

  BusGuard() = default;  // guards nothing
  BusGuard(void* begin, size_t size, Access access);
  BusGuard(BusGuard&& other) noexcept;
  BusGuard& operator=(BusGuard&& other) noexcept;
  ~BusGuard();

  // Whether an access failed, so that the memory is zeros now. Look after reading, before believing.
  bool broken() const;

 private:
  void Release();

  GuardedRange* range_ = nullptr;
};

}  // namespace ipcrpc

// Waking threads of this process once for all that was left for them, instead of for each piece: a thread that is woken
// often takes the processor at once, and would sleep again after the first piece.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ipcrpc {

// While one lives, the calling thread's WakeSleepers() are left until it ends. The thread must not wait meanwhile for
// those whom it has not woken yet. They may be nested: the outermost one counts.
class WakeBatch {
 public:
  WakeBatch() : outermost_(current_ == nullptr) {
    if (outermost_) current_ = this;
  }
  ~WakeBatch() {
    if (!outermost_) return;
    current_ = nullptr;
    if (count_ != 0) [[unlikely]] WakeThem();
  }
  WakeBatch(const WakeBatch&) = delete;
  WakeBatch& operator=(const WakeBatch&) = delete;

 private:
  friend void WakeSleepers(const std::atomic<uint32_t>* word);
  static constexpr size_t kWords = 16;

  void WakeThem();

  static inline thread_local WakeBatch* current_ = nullptr;

  const bool outermost_;
  // Nothing is read there any more, so that what has been freed meanwhile may be among them.
  std::array<const std::atomic<uint32_t>*, kWords> words_;
  size_t count_ = 0;
};

// Wakes all threads of this process that sleep on the word (FutexScope::kPrivate).
void WakeSleepers(const std::atomic<uint32_t>* word);

}  // namespace ipcrpc

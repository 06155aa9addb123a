#include "transport/base/wake_batch.h"

#include <algorithm>
#include <limits>

#include "transport/base/futex.h"

namespace ipcrpc {
namespace {

void WakeAll(const std::atomic<uint32_t>* word) { FutexWake(word, FutexScope::kPrivate, std::numeric_limits<int>::max()); }

}  // namespace

void WakeBatch::WakeThem() { std::for_each(words_.begin(), words_.begin() + count_, WakeAll); }

void WakeSleepers(const std::atomic<uint32_t>* word) {
  WakeBatch* const batch = WakeBatch::current_;
  if (batch == nullptr) return WakeAll(word);
  const auto end = batch->words_.begin() + batch->count_;
  if (std::find(batch->words_.begin(), end, word) != end) return;
  if (batch->count_ == WakeBatch::kWords) return WakeAll(word);
  batch->words_[batch->count_++] = word;
}

}  // namespace ipcrpc

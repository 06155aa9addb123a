// The calls of a connection, by number.
//
// Numbers are given out one after the other and most calls are short, so a number's lowest bits are as good as a hash: a call
// is put in and taken out again in the same few cache lines. A peer that chooses numbers which collide makes its own
// connection's look-ups longer, by no more than the calls it may have open. Thread-compatible.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "rpc/stream.h"

namespace ipcrpc::rpc {

class StreamTable {
 public:
  size_t size() const { return count_; }

  // Null when there is none.
  Stream* Find(uint32_t id) const {
    if (count_ == 0) return nullptr;
    return slots_[Place(id)].get();
  }

  // Not 0. False, and nothing changed, when that number is taken.
  bool Insert(StreamPtr stream) {
    if (2 * (count_ + 1) > slots_.size()) Resize(slots_.empty() ? kFewest : 2 * slots_.size());
    StreamPtr& slot = slots_[Place(stream->id())];
    if (slot != nullptr) return false;
    slot = std::move(stream);
    ++count_;
    return true;
  }

  // That one, which the caller holds; another of its number stays. False when it is not there.
  bool Erase(const Stream& stream) {
    if (count_ == 0) return false;
    size_t hole = Place(stream.id());
    if (slots_[hole].get() != &stream) return false;
    slots_[hole] = nullptr;
    --count_;
    // What was pushed on by collisions moves up, so that no search ends at the hole.
    for (size_t next = After(hole); slots_[next] != nullptr; next = After(next)) {
      const size_t home = slots_[next]->id() & (slots_.size() - 1);
      const bool reaches_hole = ((next - home) & (slots_.size() - 1)) >= ((next - hole) & (slots_.size() - 1));
      if (reaches_hole) slots_[std::exchange(hole, next)] = std::move(slots_[next]);
    }
    if (slots_.size() > kFewest && 16 * count_ < slots_.size()) Resize(slots_.size() / 4);
    return true;
  }

  template <typename Look>
  void ForEach(Look&& look) const {
    for (const StreamPtr& stream : slots_) {
      if (stream != nullptr) look(stream);
    }
  }

 private:
  static constexpr size_t kFewest = 16;

  // Where it is, or would be. There is always an empty slot.
  size_t Place(uint32_t id) const {
    size_t at = id & (slots_.size() - 1);
    while (slots_[at] != nullptr && slots_[at]->id() != id) at = After(at);
    return at;
  }
  size_t After(size_t at) const { return (at + 1) & (slots_.size() - 1); }

  void Resize(size_t slots) {
    std::vector<StreamPtr> old(slots < kFewest ? kFewest : slots);
    old.swap(slots_);
    for (StreamPtr& stream : old) {
      if (stream != nullptr) slots_[Place(stream->id())] = std::move(stream);
    }
  }

  std::vector<StreamPtr> slots_;  // a power of two; at most half of them taken
  size_t count_ = 0;
};

}  // namespace ipcrpc::rpc

// First in, first out, for queues of which there are many and nearly all are empty: one that is takes three words and no heap,
// where a std::deque begins with 600 bytes of it.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

namespace ipcrpc {

// Thread-compatible. Adding and removing move what is in it now and then, so references are good until either.
template <typename T>
class Queue {
 public:
  bool empty() const { return first_ == items_.size(); }
  size_t size() const { return items_.size() - first_; }
  T& front() { return items_[first_]; }
  auto begin() { return items_.begin() + static_cast<std::ptrdiff_t>(first_); }
  auto end() { return items_.end(); }

  void push_back(T item) { items_.push_back(std::move(item)); }
  template <typename... Arguments>
  void emplace_back(Arguments&&... arguments) {
    items_.emplace_back(std::forward<Arguments>(arguments)...);
  }
  void pop_front() {
    items_[first_] = T();  // what it held goes now
    ++first_;
    if (empty()) return clear();
    // Each is moved once for each as many that have left.
    if (2 * first_ < items_.size()) return;
    items_.erase(items_.begin(), begin());
    first_ = 0;
  }
  void clear() {
    first_ = 0;
    if (items_.capacity() <= kKept) return items_.clear();
    std::vector<T>().swap(items_);
  }

 private:
  static constexpr size_t kKept = 16;  // room that an empty one may have

  std::vector<T> items_;
  size_t first_ = 0;
};

}  // namespace ipcrpc

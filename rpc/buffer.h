// Bytes in private memory, without initialisation; small contents need no allocation.
#pragma once

#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <utility>

namespace ipcrpc::rpc {

class Buffer {
 public:
  static constexpr size_t kInlineBytes = 256;

  Buffer() = default;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  std::byte* data() { return heap_ ? heap_.get() : inline_; }
  const std::byte* data() const { return heap_ ? heap_.get() : inline_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t capacity() const { return capacity_; }
  std::span<const std::byte> bytes() const { return {data(), size_}; }

  void clear() { size_ = 0; }
  // Also gives large memory back.
  void Reset() {
    size_ = 0;
    if (capacity_ > kKeepBytes) {
      heap_.reset();
      capacity_ = kInlineBytes;
    }
  }

  void Reserve(size_t bytes) {
    if (bytes > capacity_) Grow(bytes);
  }
  // `bytes` more at the end, to be filled by the caller.
  std::byte* Extend(size_t bytes) {
    if (size_ + bytes > capacity_) Grow(size_ + bytes > 2 * capacity_ ? size_ + bytes : 2 * capacity_);
    std::byte* at = data() + size_;
    size_ += bytes;
    return at;
  }
  void Append(const void* bytes, size_t count) {
    if (count != 0) std::memcpy(Extend(count), bytes, count);
  }

  // Its memory, with what is in it; it is empty then. Null where it has none but its own.
  std::unique_ptr<std::byte[]> Release() {
    size_ = 0;
    capacity_ = kInlineBytes;
    return std::move(heap_);
  }

  void swap(Buffer& other) {
    if (heap_ && other.heap_) {
      std::swap(heap_, other.heap_);
      std::swap(capacity_, other.capacity_);
      std::swap(size_, other.size_);
      return;
    }
    if (!heap_ && !other.heap_ && other.size_ == 0) {
      std::memcpy(other.inline_, inline_, size_);
      std::swap(size_, other.size_);
      return;
    }
    std::byte kept[kInlineBytes];
    const bool self_inline = !heap_, other_inline = !other.heap_;
    if (self_inline) std::memcpy(kept, inline_, size_);
    if (other_inline) std::memcpy(inline_, other.inline_, other.size_);
    if (self_inline) std::memcpy(other.inline_, kept, size_);
    std::swap(heap_, other.heap_);
    std::swap(capacity_, other.capacity_);
    std::swap(size_, other.size_);
  }

 private:
  static constexpr size_t kKeepBytes = 64 * 1024;

  void Grow(size_t bytes) {
    std::unique_ptr<std::byte[]> larger(new std::byte[bytes]);
    std::memcpy(larger.get(), data(), size_);
    heap_ = std::move(larger);
    capacity_ = bytes;
  }

  std::unique_ptr<std::byte[]> heap_;
  size_t capacity_ = kInlineBytes;
  size_t size_ = 0;
  alignas(16) std::byte inline_[kInlineBytes];
};

}  // namespace ipcrpc::rpc

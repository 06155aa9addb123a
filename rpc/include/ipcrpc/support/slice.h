// Bytes that are shared, not copied.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>

namespace ipcrpc {

namespace rpc {
class SharedRegion;
}
namespace internal {
struct SharedSlices;
}

// A value: copies refer to the same bytes, which live as long as one of them. Thread-safe as long as nobody writes.
class Slice final {
 public:
  enum StaticSlice { STATIC_SLICE };

  Slice() = default;
  // Bytes that are not initialised.
  explicit Slice(size_t size) : bytes_(new uint8_t[size], std::default_delete<const uint8_t[]>()), size_(size) {}
  // A copy.
  Slice(const void* bytes, size_t size) : size_(size) {
    auto* const copy = new uint8_t[size];
    if (size != 0) std::memcpy(copy, bytes, size);
    bytes_.reset(copy, std::default_delete<const uint8_t[]>());
  }
  Slice(const std::string& bytes) : Slice(bytes.data(), bytes.size()) {}  // NOLINT: as in gRPC
  // Bytes that live for ever.
  Slice(const void* bytes, size_t size, StaticSlice)
      : bytes_(std::shared_ptr<void>(), static_cast<const uint8_t*>(bytes)), size_(size) {}
  // Bytes of the caller's; `destroy` runs once the last slice of them is gone.
  Slice(void* bytes, size_t size, void (*destroy)(void*), void* user_data)
      : bytes_(static_cast<const uint8_t*>(bytes), [destroy, user_data](const uint8_t*) { destroy(user_data); }), size_(size) {}
  Slice(void* bytes, size_t size, void (*destroy)(void*)) : Slice(bytes, size, destroy, bytes) {}
  Slice(void* bytes, size_t size, void (*destroy)(void*, size_t))
      : bytes_(static_cast<const uint8_t*>(bytes), [destroy, bytes, size](const uint8_t*) { destroy(bytes, size); }), size_(size) {}

  size_t size() const { return size_; }
  const uint8_t* begin() const { return bytes_.get(); }
  const uint8_t* end() const { return bytes_.get() + size_; }

  // From byte `begin` up to byte `end`, of the same memory. REQUIRES: begin <= end <= size().
  Slice sub(size_t begin, size_t end) const {
    Slice part;
    part.bytes_ = std::shared_ptr<const uint8_t>(bytes_, bytes_.get() + begin);
    part.size_ = end - begin;
    part.region_ = region_;
    return part;
  }

 private:
  friend struct internal::SharedSlices;

  std::shared_ptr<const uint8_t> bytes_;
  size_t size_ = 0;
  // Where the bytes lie in memory that peers can be given: of memory_pool.h, registered_memory.h. `bytes_` keeps it.
  const rpc::SharedRegion* region_ = nullptr;
};

}  // namespace ipcrpc

#include "bench/allocations.h"

#include <cstddef>

// glibc's own names for what the functions below replace in the whole program, libraries included; free() stays its.
extern "C" {
void* __libc_malloc(size_t size);
void* __libc_calloc(size_t count, size_t size);
void* __libc_realloc(void* memory, size_t size);
void* __libc_memalign(size_t alignment, size_t size);
}

namespace ipcrpc::bench {
namespace {

std::atomic<std::atomic<uint64_t>*> counted = nullptr;

void CountOne() {
  std::atomic<uint64_t>* count = counted.load(std::memory_order_relaxed);
  if (count != nullptr) count->fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

void CountAllocations(std::atomic<uint64_t>* count) { counted.store(count, std::memory_order_relaxed); }

}  // namespace ipcrpc::bench

extern "C" {

__attribute__((visibility("default"))) void* malloc(size_t size) {
  ipcrpc::bench::CountOne();
  return __libc_malloc(size);
}

__attribute__((visibility("default"))) void* calloc(size_t count, size_t size) {
  ipcrpc::bench::CountOne();
  return __libc_calloc(count, size);
}

__attribute__((visibility("default"))) void* realloc(void* memory, size_t size) {
  ipcrpc::bench::CountOne();
  return __libc_realloc(memory, size);
}

__attribute__((visibility("default"))) void* aligned_alloc(size_t alignment, size_t size) {
  ipcrpc::bench::CountOne();
  return __libc_memalign(alignment, size);
}

}  // extern "C"

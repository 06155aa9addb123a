// Memory of objects that come and go with every call, kept by each thread for its next one.
#pragma once

#include <cstddef>
#include <new>

namespace ipcrpc::rpc {

// class T : public Recycled<T> { … } — final, as only objects of exactly sizeof(T) are kept.
template <typename T>
class Recycled {
 public:
  static void* operator new(size_t size) {
    if constexpr (!kRecycles) return ::operator new(size);
    Cache& cache = Own();
    if (size == sizeof(T) && cache.head != nullptr) {
      Node* node = cache.head;
      cache.head = node->next;
      --cache.count;
      return node;
    }
    return ::operator new(size);
  }
  static void operator delete(void* memory, size_t size) {
    if constexpr (!kRecycles) return ::operator delete(memory);
    Cache& cache = Own();
    if (size != sizeof(T) || cache.count >= kMaxKept || cache.gone) {
      ::operator delete(memory);
      return;
    }
    auto* node = static_cast<Node*>(memory);
    node->next = cache.head;
    cache.head = node;
    ++cache.count;
  }

 private:
  static constexpr int kMaxKept = 64;
  // AddressSanitizer is to see every use after the end.
#if defined(__SANITIZE_ADDRESS__)
  static constexpr bool kRecycles = false;
#else
  static constexpr bool kRecycles = true;
#endif
  struct Node {
    Node* next;
  };
  struct Cache {
    Node* head = nullptr;
    int count = 0;
    bool gone = false;
    ~Cache() {
      gone = true;
      while (head != nullptr) {
        Node* next = head->next;
        ::operator delete(head);
        head = next;
      }
    }
  };
  static Cache& Own() {
    thread_local Cache cache;
    return cache;
  }
};

}  // namespace ipcrpc::rpc

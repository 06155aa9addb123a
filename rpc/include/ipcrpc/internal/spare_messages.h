// The messages of a unary handler, kept by each thread for its next call of the method: a cleared message keeps the memory of
// its fields, and to get and give that back takes longer than the rest of a small call. Not for users.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace ipcrpc::internal {

template <class Request, class Response>
class SpareMessages {
 public:
  SpareMessages() : messages_(std::exchange(Spare(), nullptr)) {
    if (messages_ == nullptr) messages_ = std::make_unique<Messages>();
  }
  SpareMessages(const SpareMessages&) = delete;
  SpareMessages& operator=(const SpareMessages&) = delete;

  Request& request() { return messages_->request; }
  Response& response() { return messages_->response; }

  // Kept from now on, unless they are large. `request_bytes`: of the serialized request.
  void Keep(size_t request_bytes) {
    if constexpr (kKeeps) {
      if (request_bytes > kLargest || messages_->response.ByteSizeLong() > kLargest) return;
      messages_->request.Clear();
      messages_->response.Clear();
      Spare() = std::move(messages_);
    }
  }

 private:
  struct Messages {
    Request request;
    Response response;
  };
  static constexpr size_t kLargest = 4096;
  // AddressSanitizer is to see a handler that uses them when it is over.
#if defined(__SANITIZE_ADDRESS__)
  static constexpr bool kKeeps = false;
#else
  static constexpr bool kKeeps = requires(Request& request, Response& response) {
    request.Clear();
    response.Clear();
    response.ByteSizeLong();
  };
#endif
  // Null while in use: a handler may call its own server.
  static std::unique_ptr<Messages>& Spare() {
    thread_local std::unique_ptr<Messages> spare;
    return spare;
  }

  std::unique_ptr<Messages> messages_;
};

}  // namespace ipcrpc::internal

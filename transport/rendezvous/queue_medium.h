// What the mechanisms that carry messages share: the end of the stream, and the peer's death.
//
// A message of no bytes is the end. When the queue is full there is no room for it: then the lock that we give back
// (life.h) tells. Where nothing else says that it was given back, whoever has read as many messages in a row as fit into
// the queue looks at it before taking the queue for idle. The closing side tries once more after giving it back: either that
// finds room, or the reader has not come to the point where it looks.
#pragma once

#include <cerrno>
#include <memory>
#include <utility>

#include "transport/rendezvous/life.h"
#include "transport/stream/medium.h"

namespace ipcrpc::rendezvous {

class QueueMedium : public stream::Medium {
 public:
  // `message_bytes`: the most in one message; `depth`: how many messages the queue to us holds at least.
  QueueMedium(size_t message_bytes, size_t depth) : message_bytes_(message_bytes), depth_(depth) {}

  void Watch(std::unique_ptr<PeerWatch> watch) { watch_ = std::move(watch); }

  size_t read_unit() const final { return message_bytes_; }
  bool Drained(size_t got, size_t) const final {
    return got < message_bytes_ && (in_a_row_ < depth_ || (watch_ != nullptr && watch_->HearsOfLeaving()));
  }
  int death_fd() const final { return watch_ == nullptr ? -1 : watch_->fd(); }
  bool PeerDied() final { return watch_->Died(); }

  ssize_t Read(std::byte* to, size_t size) final {
    if (ended_) return 0;
    ssize_t got = Receive(to, size);
    if (got < 0 && errno == EAGAIN && std::exchange(in_a_row_, 0) >= depth_ && watch_ != nullptr && watch_->PeerLeft()) {
      Disarm();
      got = Receive(to, size);
      if (got < 0 && errno == EAGAIN) got = 0;
    }
    if (got > 0) ++in_a_row_;
    ended_ = got == 0;
    return got;
  }

  void Hangup() final {
    const bool told = SendEnd();
    const bool died = watch_ != nullptr && watch_->Died();  // its lock may be the last to go
    if (watch_ != nullptr) watch_->Leave();
    if (!told) SendEnd();
    Dispose(watch_ != nullptr && (died || watch_->PeerLeft()));
  }

 protected:
  // One message, without blocking; 0: the end.
  virtual ssize_t Receive(std::byte* to, size_t size) = 0;
  virtual bool SendEnd() = 0;
  // Nothing is sent or received any more. `last`: the peer has left, too.
  virtual void Dispose(bool last) = 0;

  const size_t message_bytes_;

 private:
  const size_t depth_;
  size_t in_a_row_ = 0;
  bool ended_ = false;
  std::unique_ptr<PeerWatch> watch_;
};

}  // namespace ipcrpc::rendezvous

// A server that lets a successor take over its addresses: the side that runs.
//
// For each address there is a control socket. A process of the same uid may ask there, and is given the listening sockets
// and locks of the whole server, which goes on as before until the successor confirms; if that never comes, nothing has
// happened. Every connection on a control socket has its limit in time, and one successor is heard at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/base/fd.h"
#include "transport/link.h"
#include "transport/unix_socket.h"

namespace ipcrpc::takeover {

// An address that can be handed over.
struct Place {
  std::string control_place;
  std::shared_ptr<Listener> listener;
  std::unique_ptr<UnixListenSocket> control;
};

// The control socket for a listener that can be handed over: its own, or the one that came with it.
absl::StatusOr<Place> MakePlace(std::shared_ptr<Listener> listener, std::unique_ptr<UnixListenSocket> control);

// Driven by whoever watches fd().
class Offer {
 public:
  // `relieve` runs once, when a successor has confirmed: all listeners must have stopped to accept when it returns. The
  // successor is told then, and names and locks are its own.
  // A conversation may take `limit_ns`, from the first word to the last.
  Offer(std::vector<Place> places, std::function<void()> relieve, int64_t limit_ns = 10'000'000'000);
  // A successor that has not confirmed is told that nothing comes of it.
  ~Offer();

  // Readable when OnReadable() has something to do.
  int fd() const { return epoll_.get(); }
  void OnReadable();

 private:
  struct Conversation {
    UniqueFd socket;
    int64_t deadline_ns;
    bool offered = false;
    std::string who;
  };
  using Iterator = std::list<Conversation>::iterator;

  void Watch(int fd, void* what);
  void Accept(UnixListenSocket& control);
  void Hear(Iterator conversation);
  void OnAsk(Iterator conversation, const std::string& wanted);
  void OnConfirm(Iterator conversation);
  void End(Iterator conversation, const absl::Status& refusal);
  void EndExpired();

  std::vector<Place> places_;
  const std::function<void()> relieve_;
  const int64_t limit_ns_;
  const UniqueFd epoll_;
  const UniqueFd timer_;
  std::list<Conversation> conversations_;  // oldest first
  bool relieved_ = false;
};

}  // namespace ipcrpc::takeover

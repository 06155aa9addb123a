#include "transport/testing/epoll_echo.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include <utility>

#include "transport/scheme.h"

namespace ipcrpc {

EpollEcho::EpollEcho(const std::string& address)
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      stop_(eventfd(0, EFD_CLOEXEC)),
      listener_(*Listen(*ParseAddress(address))) {
  Add(listener_->fd(), EPOLLIN, nullptr);
  Add(stop_.get(), EPOLLIN, this);
  thread_ = std::thread([this] { Run(); });
}

EpollEcho::~EpollEcho() {
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

void EpollEcho::Add(int fd, uint32_t events, void* who) {
  epoll_event event = {.events = events, .data = {.ptr = who}};
  epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

void EpollEcho::Accept(std::unique_ptr<Link> link) {
  auto connection = std::make_unique<Connection>(std::move(link));
  LinkDriver& driver = connection->driver;
  Link& l = *connection->link;
  driver.on_frame = [&driver, &l](const Bytes& frame) {
    if (!driver.TrySend(frame)) return FrameSink::Verdict::kHold;
    l.Flush();
    return FrameSink::Verdict::kConsumed;
  };
  connection->events = EPOLLIN | EPOLLRDHUP;
  Add(l.event_fd(), connection->events, connection.get());
  connections_.push_back(std::move(connection));
}

bool EpollEcho::PollAll() {
  bool busy = false;
  for (auto& connection : connections_) {
    const Link::Progress progress = connection->driver.Poll();
    busy |= progress == Link::Progress::kFrames || progress == Link::Progress::kHeld;
  }
  std::erase_if(connections_, [this](const auto& connection) {
    if (!connection->driver.closed) return false;
    // Not left to its closing: a forked child may have it open, too.
    epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection->link->event_fd(), nullptr);
    return true;
  });
  return busy;
}

bool EpollEcho::AllAsleep() {
  for (auto& connection : connections_) {
    if (!(connection->asleep = connection->link->BeginSleep())) return false;
    const uint32_t events = EPOLLIN | EPOLLRDHUP | (connection->link->wants_write() ? EPOLLOUT : 0u);
    if (events == std::exchange(connection->events, events)) continue;
    epoll_event event = {.events = events, .data = {.ptr = connection.get()}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection->link->event_fd(), &event);
  }
  return true;
}

void EpollEcho::Run() {
  while (true) {
    while (PollAll()) {
    }
    const bool sleep = AllAsleep();
    epoll_event events[16];
    const int count = epoll_wait(epoll_.get(), events, 16, sleep ? -1 : 0);
    for (auto& connection : connections_) {
      if (std::exchange(connection->asleep, false)) connection->link->EndSleep();
    }
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr == this) return;
      if (events[i].data.ptr != nullptr)
        static_cast<Connection*>(events[i].data.ptr)->link->OnEvent(events[i].events);
    }
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr == nullptr)
        listener_->OnReadable([this](std::unique_ptr<Link> link) { Accept(std::move(link)); });
    }
  }
}

}  // namespace ipcrpc

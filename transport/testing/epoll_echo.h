// A server as a poller sees links: it echoes on every link of a listener with one thread and one epoll.
#pragma once

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "transport/base/fd.h"
#include "transport/link.h"
#include "transport/testing/link_driver.h"

namespace ipcrpc {

class EpollEcho {
 public:
  explicit EpollEcho(const std::string& address);
  ~EpollEcho();

 private:
  struct Connection {
    explicit Connection(std::unique_ptr<Link> l) : link(std::move(l)), driver(*link) {}
    std::unique_ptr<Link> link;
    LinkDriver driver;
    uint32_t events = 0;
    bool asleep = false;
  };

  void Add(int fd, uint32_t events, void* who);
  void Accept(std::unique_ptr<Link> link);
  bool PollAll();    // true: there was something to do
  bool AllAsleep();  // false: there is something to do
  void Run();

  const UniqueFd epoll_;
  const UniqueFd stop_;
  const std::unique_ptr<Listener> listener_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::thread thread_;
};

}  // namespace ipcrpc

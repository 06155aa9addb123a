// The listener of an address that is good for one link, which is there from the start.
#pragma once

#include <sys/eventfd.h>

#include <functional>
#include <memory>
#include <utility>

#include "transport/base/fd.h"
#include "transport/link.h"

namespace ipcrpc {

class SingleListener final : public Listener {
 public:
  SingleListener(Address address, std::unique_ptr<Link> link)
      : address_(std::move(address)), link_(std::move(link)), ready_(eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  const Address& address() const override { return address_; }
  int fd() const override { return ready_.get(); }
  void OnReadable(const std::function<void(std::unique_ptr<Link>)>& on_link) override {
    eventfd_t ignored;
    eventfd_read(ready_.get(), &ignored);
    if (link_ != nullptr) on_link(std::move(link_));
  }
  bool exhausted() const override { return link_ == nullptr; }

 private:
  const Address address_;
  std::unique_ptr<Link> link_;
  const UniqueFd ready_;
};

}  // namespace ipcrpc

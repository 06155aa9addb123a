#include "transport/inproc/inproc_transport.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "transport/base/fd.h"
#include "transport/base/fork_guard.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/inproc/inproc_link.h"

namespace ipcrpc {
namespace {

// Links that are connected and that the listener has not taken yet; more are refused.
constexpr size_t kBacklog = 1024;

// What a name stands for while somebody listens there.
struct Place {
  const ForkGuard fork_guard;  // in a forked child nobody listens
  const UniqueFd bell{eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::mutex mu;
  std::vector<std::unique_ptr<Link>> waiting;
  bool closed = false;
};

struct Table {
  std::mutex mu;
  std::map<std::string, std::shared_ptr<Place>> places;
};

Table& Names() {
  static auto* const table = new Table;
  return *table;
}

// A name, a path and an abstract name are three places.
std::string Key(const Address& address) {
  return Cat(address.kind == Address::Kind::kAbstract ? "inproc:@" : "inproc:", address.rest);
}

class InprocListener final : public Listener {
 public:
  InprocListener(Address address, std::shared_ptr<Place> place) : address_(std::move(address)), place_(std::move(place)) {}

  ~InprocListener() override {
    {
      Table& names = Names();
      const std::lock_guard lock(names.mu);
      const auto found = names.places.find(Key(address_));
      if (found != names.places.end() && found->second == place_) names.places.erase(found);
    }
    std::vector<std::unique_ptr<Link>> refused;
    const std::lock_guard lock(place_->mu);
    place_->closed = true;
    refused.swap(place_->waiting);
  }

  const Address& address() const override { return address_; }
  int fd() const override { return place_->bell.get(); }

  void OnReadable(const std::function<void(std::unique_ptr<Link>)>& on_link) override {
    eventfd_t ignored;
    eventfd_read(place_->bell.get(), &ignored);
    std::vector<std::unique_ptr<Link>> accepted;
    {
      const std::lock_guard lock(place_->mu);
      accepted.swap(place_->waiting);
    }
    for (std::unique_ptr<Link>& link : accepted) on_link(std::move(link));
  }

 private:
  const Address address_;
  const std::shared_ptr<Place> place_;
};

absl::StatusOr<std::unique_ptr<Listener>> ListenInproc(const Address& address) {
  auto place = std::make_shared<Place>();
  if (!place->bell.valid()) return absl::ResourceExhaustedError("no file descriptor left to listen with");
  Table& names = Names();
  const std::lock_guard lock(names.mu);
  std::shared_ptr<Place>& named = names.places[Key(address)];
  if (named != nullptr && named->fork_guard.ours()) {
    return absl::AlreadyExistsError(
        Cat("cannot listen at ", address.ToString(), ": this process (pid ", getpid(), ") listens there already"));
  }
  named = place;
  return std::make_unique<InprocListener>(address, std::move(place));
}

absl::StatusOr<std::unique_ptr<Link>> ConnectInproc(const Address& address, int64_t) {
  std::shared_ptr<Place> place;
  {
    Table& names = Names();
    const std::lock_guard lock(names.mu);
    if (const auto found = names.places.find(Key(address)); found != names.places.end()) place = found->second;
  }
  const auto nobody = [&] {
    return absl::UnavailableError(Cat("nobody in this process listens at ", address.ToString()));
  };
  if (place == nullptr || !place->fork_guard.ours()) return nobody();
  auto [client, server] = MakeInprocPair(Key(address));
  const std::lock_guard lock(place->mu);
  if (place->closed) return nobody();
  if (place->waiting.size() >= kBacklog) {
    return absl::UnavailableError(Cat(address.ToString(), ": its server does not accept any more"));
  }
  place->waiting.push_back(std::move(server));
  eventfd_write(place->bell.get(), 1);
  return std::move(client);
}

}  // namespace

std::pair<std::unique_ptr<Link>, std::unique_ptr<Link>> MakeInprocPair(const std::string& description) {
  auto ends = std::make_shared<inproc::Ends>();
  return {std::make_unique<inproc::InprocLink>(ends, 0, description),
          std::make_unique<inproc::InprocLink>(ends, 1, description)};
}

const Scheme& InprocScheme() {
  static constexpr Scheme kScheme = {
      .name = "inproc",
      .summary = "rings within one process",
      .capabilities = inproc::kCapabilities,
      .parameters = {},
      .listen = ListenInproc,
      .connect = ConnectInproc,
  };
  return kScheme;
}

}  // namespace ipcrpc

// Both sides of a take-over, and what goes wrong in the middle of it: the address is somebody's at every moment.
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/base/clock.h"
#include "transport/base/strings.h"
#include "transport/names.h"
#include "transport/scheme.h"
#include "transport/takeover/control.h"
#include "transport/takeover/offer.h"
#include "transport/takeover/succession.h"
#include "transport/testing/child.h"
#include "transport/testing/temp_dir.h"
#include "transport/unix_address.h"

namespace ipcrpc::takeover {
namespace {

using ::testing::HasSubstr;

int64_t In(int64_t ms) { return MonotonicNs() + ms * 1'000'000; }

std::string TextOf(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

bool ReadableBy(int fd, int64_t deadline_ns) {
  pollfd entry = {.fd = fd, .events = POLLIN, .revents = 0};
  while (MonotonicNs() < deadline_ns) {
    if (poll(&entry, 1, 50) > 0) return true;
  }
  return false;
}

// A server as far as taking over goes: listens, offers itself, and counts whom it accepts.
class OldServer {
 public:
  explicit OldServer(const std::vector<std::string>& addresses, int64_t limit_ns = 10'000'000'000) {
    std::vector<Place> places;
    for (const std::string& address : addresses) {
      absl::StatusOr<std::unique_ptr<Listener>> listener = Listen(*ParseAddress(address));
      if (!listener.ok()) abort();
      listeners_.push_back(*std::move(listener));
      absl::StatusOr<Place> place = MakePlace(listeners_.back(), nullptr);
      if (!place.ok()) abort();
      places.push_back(*std::move(place));
    }
    offer_ = std::make_unique<Offer>(std::move(places), [this] { relieved_ = true; }, limit_ns);
    Serve();
  }
  ~OldServer() {
    Rest();
    offer_.reset();
  }
  // A child of this process that is made without the thread, which might hold a lock that the child needs.
  template <typename Body>
  void Fork(std::optional<Child>& child, Body body) {
    Rest();
    child.emplace(std::move(body));
    Serve();
  }
  bool relieved() const { return relieved_; }
  int accepted() const { return accepted_; }

 private:
  void Serve() {
    stop_ = false;
    thread_ = std::thread([this] {
      while (!stop_) {
        if (!relieved_ && ReadableBy(offer_->fd(), In(5))) offer_->OnReadable();
        for (const auto& listener : listeners_) {
          if (!relieved_) listener->OnReadable([this](std::unique_ptr<Link>) { ++accepted_; });
        }
      }
    });
  }
  void Rest() {
    stop_ = true;
    thread_.join();
  }

  std::vector<std::shared_ptr<Listener>> listeners_;
  std::unique_ptr<Offer> offer_;
  std::atomic<bool> relieved_{false}, stop_{false};
  std::atomic<int> accepted_{0};
  std::thread thread_;
};

class TakeOverTest : public ::testing::Test {
 protected:
  void TearDown() override { EXPECT_TRUE(directory_.empty()); }

  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }
  // A conversation up to the offer.
  UniqueFd AskFor(const std::string& control_place) {
    Address control = {.scheme = "control", .kind = Address::Kind::kPath, .rest = control_place, .parameters = {}};
    absl::StatusOr<UnixConnection> connection =
        ConnectUnixSocket(control, {.type = SOCK_SEQPACKET, .suffix = "ctl"}, In(5000));
    EXPECT_TRUE(connection.ok()) << connection.status();
    EXPECT_TRUE(Send(connection->fd.get(), Kind::kAsk, 0, control_place + '\0').ok());
    return std::move(connection->fd);
  }
  // The next message, waited for.
  static absl::StatusOr<Message> Next(const UniqueFd& socket) {
    if (!ReadableBy(socket.get(), In(20'000))) return absl::DeadlineExceededError("no message");
    absl::StatusOr<std::optional<Message>> message = Receive(socket.get());
    if (!message.ok()) return message.status();
    if (!message->has_value()) return absl::InternalError("nothing");
    return **std::move(message);
  }
  // The server at the address still accepts.
  void ExpectServes(const OldServer& server, const std::string& address) {
    const int before = server.accepted();
    const absl::StatusOr<std::unique_ptr<Link>> link = Connect(*ParseAddress(address), In(5000));
    EXPECT_TRUE(link.ok()) << link.status();
    const int64_t limit = In(20'000);
    while (server.accepted() == before && MonotonicNs() < limit) usleep(1000);
    EXPECT_GT(server.accepted(), before);
    EXPECT_FALSE(server.relieved());
  }

  TempRuntimeDir directory_;
};

TEST_F(TakeOverTest, NamesPathsAndAbstractNamesGoToTheSuccessorWithTheirLocks) {
  const std::vector<std::string> addresses = {"shm:name", "unix:name", "unix:" + Path("a.path"), "shm:@takeover-unit-test"};
  auto old = std::make_unique<OldServer>(addresses);
  // Another process, so that the lock's owner changes.
  std::optional<Child> successor;
  old->Fork(successor, [&] {
    std::vector<Address> wanted;
    for (const std::string& address : addresses) wanted.push_back(*ParseAddress(address));
    Succession succession(wanted);
    std::vector<Place> places;
    for (const Address& address : wanted) {
      if (!absl::IsAlreadyExists(Listen(address).status())) return 2;
      absl::StatusOr<Place> place = succession.Take(address);
      if (!place.ok()) return fprintf(stderr, "%s\n", std::string(place.status().message()).c_str()), 3;
      places.push_back(*std::move(place));
    }
    std::vector<Place*> all;
    for (Place& place : places) all.push_back(&place);
    if (!succession.Confirm(all).ok()) return 4;
    const std::string mine = Cat("pid ", getpid(), "\n");
    for (const char* lock : {"name.lock", "a.path.lock"}) {
      if (!TextOf(Path(lock)).starts_with(mine)) return 5;
    }
    if (ProbeSocket(Path("name.sock")).pid != getpid()) return 6;
    // Until the old one is gone, and with it nothing of ours.
    const int64_t limit = In(20'000);
    while (access(Path("old-is-gone").c_str(), F_OK) != 0 && MonotonicNs() < limit) usleep(1000);
    for (const std::string& address : addresses) {
      if (!Connect(*ParseAddress(Cat(address)), In(1)).ok() && address.starts_with("unix")) return 7;
    }
    return 0;
  });
  const int64_t limit = In(20'000);
  while (!old->relieved() && MonotonicNs() < limit) usleep(1000);
  EXPECT_TRUE(old->relieved());
  old.reset();
  std::ofstream(Path("old-is-gone")) << "yes";
  EXPECT_EQ(successor->Wait(), 0);
  unlink(Path("old-is-gone").c_str());
}

TEST_F(TakeOverTest, ASuccessorThatDiesInTheMiddleChangesNothing) {
  OldServer old({"shm:x", "unix:x"});
  for (const bool owned : {false, true}) {
    std::optional<Child> successor;
    old.Fork(successor, [&] {
      Succession succession({*ParseAddress("unix:x")});
      absl::StatusOr<Place> place = succession.Take(*ParseAddress("unix:x"));
      if (!place.ok()) return 1;
      if (owned && !(place->listener->Own().ok() && place->control->Own().ok())) return 2;
      if (owned && !TextOf(Path("x.lock")).starts_with(Cat("pid ", getpid(), "\n"))) return 3;
      _exit(0);  // as if killed: nothing is cleaned up
    });
    EXPECT_EQ(successor->Wait(), 0);
    ExpectServes(old, "unix:x");
    const int64_t limit = In(20'000);
    while (!TextOf(Path("x.lock")).starts_with(Cat("pid ", getpid(), "\n")) && MonotonicNs() < limit) usleep(1000);
    EXPECT_THAT(TextOf(Path("x.lock")), HasSubstr(Cat("pid ", getpid(), "\n")));
    EXPECT_EQ(ProbeSocket(Path("x.sock")).pid, getpid());
  }
}

TEST_F(TakeOverTest, ASuccessorThatNeverConfirmsIsGivenUpAndAnotherMayCome) {
  const OldServer old({"unix:x"}, /*limit_ns=*/200'000'000);
  const UniqueFd hung = AskFor(Path("x.unix.ctl"));
  absl::StatusOr<Message> message = Next(hung);
  ASSERT_TRUE(message.ok() && message->kind == Kind::kOffer);
  EXPECT_EQ(message->fds.size(), 3u);
  message = Next(hung);
  ASSERT_TRUE(message.ok() && message->kind == Kind::kOffered);
  {
    Succession second({*ParseAddress("unix:x")});
    const absl::Status refusal = second.Take(*ParseAddress("unix:x")).status();
    EXPECT_TRUE(absl::IsUnavailable(refusal)) << refusal;
    EXPECT_THAT(std::string(refusal.message()), HasSubstr("taking over already"));
  }
  message = Next(hung);
  ASSERT_TRUE(message.ok() && message->kind == Kind::kRefused);
  EXPECT_THAT(message->text, HasSubstr("did not confirm"));
  // Too late.
  Send(hung.get(), Kind::kConfirm).IgnoreError();
  ExpectServes(old, "unix:x");
  EXPECT_EQ(AskFor(Path("x.unix.ctl")).valid(), true);
}

TEST_F(TakeOverTest, GarbageIsRefusedAndHarmless) {
  const OldServer old({"unix:x"});
  const auto say = [&](const std::string& bytes) {
    Address control = {.scheme = "control", .kind = Address::Kind::kPath, .rest = Path("x.unix.ctl"), .parameters = {}};
    UnixConnection connection = *ConnectUnixSocket(control, {.type = SOCK_SEQPACKET, .suffix = "ctl"}, In(5000));
    EXPECT_EQ(send(connection.fd.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
    const absl::StatusOr<Message> answer = Next(connection.fd);
    EXPECT_TRUE(answer.ok()) << answer.status();
    EXPECT_EQ(answer->kind, Kind::kRefused) << answer->text;
    EXPECT_TRUE(answer->fds.empty());
  };
  const auto header = [](uint32_t magic, uint16_t version, uint16_t kind) {
    std::string bytes(12, '\0');
    memcpy(bytes.data(), &magic, 4);
    memcpy(bytes.data() + 4, &version, 2);
    memcpy(bytes.data() + 6, &kind, 2);
    return bytes;
  };
  say("x");
  say(std::string(60'000, 'x'));
  say(header(0x54435049, 2, 1));                         // another version
  say(header(0x54435049, 1, 77));                        // no such message
  say(header(0x54435049, 1, 4));                         // a confirmation of nothing
  say(header(0x54435049, 1, 5));                         // what a server says
  say(header(0x54435049, 1, 1));                         // asks for nothing
  say(header(0x54435049, 1, 1) + "/etc/passwd");         // asks for what is not there
  say(header(0x54435049, 1, 1) + std::string(500, '\0'));
  ExpectServes(old, "unix:x");
}

TEST_F(TakeOverTest, OnlyTheSameUserMayTakeOver) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root, to be another user";
  OldServer old({"unix:@takeover-unit-test-uid"});
  std::optional<Child> stranger;
  old.Fork(stranger, [&] {
    if (setgid(12345) != 0 || setuid(12345) != 0) return 1;
    const UniqueFd socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    const UnixSocketAddress place = UnixSocketAddress::ForAbstract("takeover-unit-test-uid.unix.ctl");
    if (connect(socket.get(), place.get(), place.size()) != 0) return 2;
    Send(socket.get(), Kind::kAsk, 0, std::string("@takeover-unit-test-uid.unix.ctl\0", 33)).IgnoreError();
    const absl::StatusOr<Message> answer = Next(socket);
    if (!answer.ok() || answer->kind != Kind::kRefused || !answer->fds.empty()) return 3;
    return answer->number == static_cast<uint32_t>(absl::StatusCode::kPermissionDenied) ? 0 : 4;
  });
  EXPECT_EQ(stranger->Wait(), 0);
  ExpectServes(old, "unix:@takeover-unit-test-uid");
}

TEST_F(TakeOverTest, WhatIsHandedOverIsChecked) {
  // A listening socket of another place, and no lock.
  std::unique_ptr<Listener> other = *Listen(*ParseAddress("unix:@takeover-unit-test-other"));
  const auto copies = [&] {
    std::vector<UniqueFd> fds;
    for (const int fd : other->handles()) fds.emplace_back(dup(fd));
    return fds;
  };
  EXPECT_TRUE(absl::IsFailedPrecondition(Adopt(*ParseAddress("unix:@takeover-unit-test"), copies()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Adopt(*ParseAddress("shm:@takeover-unit-test-other"), copies()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Adopt(*ParseAddress("unix:name"), copies()).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(Adopt(*ParseAddress("unix:name"), {}).status()));
  EXPECT_TRUE(Adopt(*ParseAddress("unix:@takeover-unit-test-other"), copies()).ok());
}

TEST_F(TakeOverTest, AServerThatDoesNotOfferItselfCannotBeTakenOver) {
  const std::unique_ptr<Listener> server = *Listen(*ParseAddress("unix:x"));
  Succession succession({*ParseAddress("unix:x")});
  const absl::Status refusal = succession.Take(*ParseAddress("unix:x")).status();
  EXPECT_TRUE(absl::IsUnavailable(refusal)) << refusal;
  EXPECT_THAT(std::string(refusal.message()), HasSubstr("does not offer itself"));
}

TEST_F(TakeOverTest, AnAbstractNameMustLeaveRoomForItsControlSocket) {
  const std::string longest(107 - 9, 'x');  // ".unix.ctl"
  EXPECT_TRUE(ControlPlace(*ParseAddress("unix:@" + longest)).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(ControlPlace(*ParseAddress("unix:@" + longest + "x")).status()));
}

}  // namespace
}  // namespace ipcrpc::takeover

// What tests of the rendezvous without credentials stand on: servers in processes of their own, clients by hand, and a
// runtime directory in which nothing may stay. In an IPC namespace of their own, so that every queue there is one of the tests'.
#pragma once

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/base/clock.h"
#include "transport/base/strings.h"
#include "transport/link.h"
#include "transport/rendezvous/leftovers.h"
#include "transport/rendezvous/life.h"
#include "transport/rendezvous/place.h"
#include "transport/scheme.h"
#include "transport/testing/child.h"
#include "transport/testing/epoll_echo.h"
#include "transport/testing/link_driver.h"
#include "transport/testing/link_peer.h"
#include "transport/testing/temp_dir.h"

namespace ipcrpc::rendezvous {

constexpr rlim_t kDefaultQueueBytes = 819'200;
constexpr uid_t kStranger = 65533;

// Makes the namespace, with the limit of bytes in queues that systems have, runs the tests, and leaves nothing. What main()
// returns: 77 when the namespace may not be made and this is not root.
int RunTestsInIpcNamespace();

absl::StatusOr<std::unique_ptr<Link>> Dial(const std::string& address, int64_t ms = 10000);

// One round trip: the server at the other end echoes.
bool Echoes(Link& link, uint64_t seed = 1);

// A process that serves, from when the constructor returns. `before_asks` runs once it listens.
class ServerProcess {
 public:
  explicit ServerProcess(const std::string& address, uid_t uid = 0, void (*before_asks)() = [] {});
  bool up() const { return up_; }
  pid_t pid() const { return child_.pid(); }
  void Kill() { child_.Kill(SIGKILL), child_.Wait(); }

 private:
  std::array<int, 2> ready_;
  Child child_;
  bool up_ = false;
};

// The client's side by hand, step by step.
class RawClient {
 public:
  RawClient(const Mechanism& mechanism, const std::string& address)
      : mechanism_(mechanism), place_(*FindPlace(mechanism, *ParseAddress(address))) {}

  // In a PID namespace that the server does not know the pid says nothing.
  void SendAsk(const Token& token, uid_t uid = geteuid(), uint64_t pid_namespace = 1);
  std::string stem() const { return StemOf(place_.base, token_); }
  // The welcome, when it is complete.
  Welcome Await();
  End Open(const Welcome& welcome);
  void CloseLifeFifo() { life_.reset(); }
  static bool Prove(End& end, const Token& nonce);
  // Waits for the end of what the server sends.
  static bool SeesTheEnd(End& end);

 private:
  const Mechanism& mechanism_;
  const FoundPlace place_;
  Token token_ = {};
  UniqueFd file_;
  UniqueFd life_;
};

// A runtime directory, at the end of which a sweep finds all that killed servers left.
class SweptTest : public ::testing::Test {
 protected:
  void TearDown() override;
  void ExpectNoQueues();

  TempRuntimeDir directory_;
};

// Over each mechanism.
class Rendezvous : public SweptTest, public ::testing::WithParamInterface<const Mechanism*> {
 protected:
  const Mechanism& mechanism() const { return *GetParam(); }
  std::string address(std::string_view name = "met") const { return Cat(mechanism().scheme(), ":", name); }
  std::string place(std::string_view name = "met") const {
    return Cat(directory_.path(), "/", name, ".", mechanism().scheme());
  }
  void ExpectNothingLeft();
};

}  // namespace ipcrpc::rendezvous

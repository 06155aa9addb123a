// Which of its links a poller looks at, and whether it spins for them.
#include "transport/runtime/poller.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "transport/address.h"
#include "transport/base/clock.h"
#include "transport/scheme.h"
#include "transport/testing/link_driver.h"
#include "transport/testing/link_peer.h"
#include "transport/testing/swept_dir.h"

namespace ipcrpc {
namespace {

// The poller's end of a link over which the test sends.
class Receiver final : public PollTarget {
 public:
  explicit Receiver(std::unique_ptr<Link> link) : link_(std::move(link)) {}

  Link& link() override { return *link_; }
  void OnAttach(Poller*) override {}
  void OnClosed() override {}
  Verdict OnFrame(std::span<const std::byte>, bool) override {
    ++frames;
    if (on_frame) on_frame();
    return Verdict::kConsumed;
  }
  void OnSpace() override {}

  std::atomic<int> frames{0};
  std::function<void()> on_frame;

 private:
  const std::unique_ptr<Link> link_;
};

// Whose sender has it written, but tells nobody.
void Write(Link& link) {
  std::byte* const room = link.Reserve(8, Link::Class::kData);
  ASSERT_NE(room, nullptr);
  std::memset(room, 0, 8);
  link.Commit(8);
}
void Send(Link& link) {
  Write(link);
  link.Flush();
}

class PollerTest : public testing::Test {
 protected:
  struct Pair {
    std::unique_ptr<Link> sender;
    std::shared_ptr<Receiver> receiver;
  };

  Pair Attached(const std::string& parameters = {}) {
    const std::string address = "shm:poller" + parameters;
    LinkHost host(address);
    Pair pair = {.sender = *Connect(*ParseAddress(address), InMs(20'000)), .receiver = std::make_shared<Receiver>(host.Accept())};
    poller_.Attach(pair.receiver);
    return pair;
  }

  SweptRuntimeDir directory_;
  Poller poller_{[] {}, [](bool) {}};
};

TEST_F(PollerTest, LooksAtLinksThatWereHotWithoutBeingRungFor) {
  const Pair one = Attached(), other = Attached();
  Send(*one.sender);
  Send(*other.sender);
  poller_.RunOnce();  // arms them all before it returns
  ASSERT_EQ(one.receiver->frames, 1);
  ASSERT_EQ(other.receiver->frames, 1);
  one.receiver->on_frame = [&] { Write(*other.sender); };
  Send(*one.sender);
  poller_.RunOnce();
  EXPECT_EQ(one.receiver->frames, 2);
  EXPECT_EQ(other.receiver->frames, 2);
}

TEST_F(PollerTest, WaitsForTheDoorbellOfAColdLink) {
  const Pair one = Attached(), other = Attached();
  Send(*one.sender);
  Send(*other.sender);
  poller_.RunOnce();
  const int64_t idle_until = MonotonicNs() + 5'000'000;  // several times as long as an idle link is hot
  while (MonotonicNs() < idle_until) std::this_thread::yield();
  poller_.RunOnce();
  one.receiver->on_frame = [&] { Write(*other.sender); };
  Send(*one.sender);
  poller_.RunOnce();
  EXPECT_EQ(one.receiver->frames, 2);
  EXPECT_EQ(other.receiver->frames, 1);
  other.sender->Flush();
  poller_.RunOnce();
  EXPECT_EQ(other.receiver->frames, 2);
}

class PollerSpins : public PollerTest {
 protected:
  // How often the pollers of this process came to ask whether to spin.
  static uint64_t Waits() {
    uint64_t waits = 0;
    for (const SpinFacts& facts : AllSpinFacts()) {
      if (facts.who == "poller") waits += facts.found + facts.spent + facts.not_tried;
    }
    return waits;
  }

  // While a thread drives it and frames come by turns.
  uint64_t WaitsWithTwoLinks(const std::string& parameters) {
    const Pair pairs[] = {Attached(parameters), Attached(parameters)};
    const uint64_t before = Waits();
    std::thread driver([this] { poller_.Run(); });
    for (int i = 0; i < 20; ++i) {
      const Pair& pair = pairs[i % 2];
      Send(*pair.sender);
      while (pair.receiver->frames <= i / 2) std::this_thread::yield();
    }
    poller_.Stop();
    driver.join();
    return Waits() - before;
  }
};

TEST_F(PollerSpins, ForLinksThatMaySpin) { EXPECT_GT(WaitsWithTwoLinks(""), 0u); }
TEST_F(PollerSpins, NotWhereNoneMay) { EXPECT_EQ(WaitsWithTwoLinks("?spin=off"), 0u); }

}  // namespace
}  // namespace ipcrpc

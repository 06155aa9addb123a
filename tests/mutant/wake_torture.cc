// Two threads send each other messages of random sizes over shared memory and sleep whenever they have nothing to do (spin=off), in a
// way that makes them begin to sleep while the other is sending: wake_torture MESSAGES. Says how often the kernel put them to sleep, and
// fails when that is less than once in 20 messages, when a message is lost or changed, or a wake-up is: when somebody slept for seconds
// beside a message.
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>

#include "transport/address.h"
#include "transport/base/clock.h"
#include "transport/link.h"
#include "transport/scheme.h"
#include "transport/testing/temp_dir.h"

namespace {

using ipcrpc::Link;

constexpr int64_t kTooLongNs = 5'000'000'000;
constexpr uint32_t kTooManyTicks = 300;
constexpr uint32_t kWordBytes = sizeof(uint64_t);
constexpr uint32_t kMostWords = 1024, kUsualWords = 32;
constexpr uint64_t kMostAhead = 8;
// Before a sleep: as many as may pass until the other has sent, fewer where it hardly comes to sleeps.
constexpr uint64_t kMostLooks = 200;
constexpr uint64_t kMessagesBetweenCounts = 4096;

// What makes the word of that place in that message, so that one that is cut, lost, repeated or mixed up does not match.
uint64_t WordOf(uint64_t message, uint32_t place) { return (message * 0x9e3779b97f4a7c15u) ^ (uint64_t{place} << 32) ^ message; }

std::atomic<bool> failed{false};

// Time as this process has it: none passes while all of it is stopped, as by a debugger.
class Ticker {
 public:
  ~Ticker() {
    done_ = true;
    thread_.join();
  }
  uint32_t now() const { return ticks_; }

 private:
  std::atomic<bool> done_{false};
  std::atomic<uint32_t> ticks_{0};
  std::thread thread_{[this] {
    for (; !done_; ++ticks_) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }};
};

void Fail(const char* what) {
  if (!failed.exchange(true)) std::printf("%s\n", what);
}

class End final : public ipcrpc::FrameSink {
 public:
  End(const Ticker& ticker, std::unique_ptr<Link> link, uint64_t messages, unsigned seed)
      : ticker_(ticker), link_(std::move(link)), messages_(messages), random_(seed) {}

  // The thread may sleep once it is some messages ahead, never the same number: so one of the two has always to go on.
  void Run() {
    sleeps_before_ = OwnSleeps();
    TakePart();
    sleeps_ = OwnSleeps() - sleeps_before_;
  }

  Verdict OnFrame(std::span<const std::byte> frame, bool) override {
    for (size_t at = 0; at < frame.size(); at += kWordBytes) {
      uint64_t word;
      std::memcpy(&word, frame.data() + at, kWordBytes);
      if (word != WordOf(received_, static_cast<uint32_t>(at / kWordBytes))) Fail("a message was lost or changed");
    }
    if (++received_ % kMessagesBetweenCounts == 0 && OwnSleeps() - sleeps_before_ < received_ / 16) {
      most_looks_ = std::max<uint64_t>(1, most_looks_ / 2);
    }
    return failed ? Verdict::kFault : Verdict::kConsumed;
  }
  void OnSpace() override { space_came_ = true; }

  uint64_t sleeps() const { return sleeps_; }
  uint64_t received() const { return received_; }

 private:
  // How often the calling thread has given its processor up because it had nothing to do.
  static uint64_t OwnSleeps() {
    rusage usage = {};
    getrusage(RUSAGE_THREAD, &usage);
    return static_cast<uint64_t>(usage.ru_nvcsw);
  }

  void TakePart() {
    while (!failed) {
      const uint64_t ahead = 1 + random_() % kMostAhead;
      space_came_ = false;
      const bool room = SendUntil(received_ + ahead);
      // For about as long as the other may take to send, so that the sleep begins when the message comes.
      Link::Progress progress = Link::Progress::kIdle;
      for (uint64_t looks = 1 + random_() % most_looks_; looks > 0 && progress == Link::Progress::kIdle; --looks) {
        progress = link_->Poll(*this, 64);
      }
      if (progress == Link::Progress::kClosed) return Fail("the link was closed");
      if (progress == Link::Progress::kFrames || space_came_ || (room && sent_ < messages_ && sent_ < received_ + ahead)) continue;
      if (sent_ == messages_ && received_ == messages_) return;
      const uint32_t began = ticker_.now();
      link_->Wait(ipcrpc::MonotonicNs() + kTooLongNs);
      if (ticker_.now() - began >= kTooManyTicks) return Fail("a wake-up was lost");
    }
  }

  // Each message is told of by itself, as calls are. False: there is no room.
  bool SendUntil(uint64_t until) {
    for (; sent_ < std::min(until, messages_); ++sent_) {
      const uint32_t words = 1 + static_cast<uint32_t>(random_() % (random_() % 16 == 0 ? kMostWords : kUsualWords));
      std::byte* const room = link_->Reserve(words * kWordBytes, Link::Class::kData);
      if (room == nullptr) return false;
      for (uint32_t place = 0; place < words; ++place) {
        const uint64_t word = WordOf(sent_, place);
        std::memcpy(room + place * kWordBytes, &word, kWordBytes);
      }
      link_->Commit(words * kWordBytes);
      link_->Flush();
    }
    return true;
  }

  const Ticker& ticker_;
  const std::unique_ptr<Link> link_;
  const uint64_t messages_;
  std::minstd_rand random_;
  uint64_t sent_ = 0, received_ = 0, sleeps_ = 0, sleeps_before_ = 0;
  uint64_t most_looks_ = kMostLooks;
  bool space_came_ = false;
};

template <typename Value>
Value Must(absl::StatusOr<Value> value) {
  if (!value.ok()) {
    std::printf("%s\n", value.status().ToString().c_str());
    std::exit(2);
  }
  return *std::move(value);
}

}  // namespace

int main(int argc, char** argv) {
  const uint64_t each_way = argc == 2 ? std::strtoull(argv[1], nullptr, 10) / 2 : 0;
  if (each_way == 0) return std::puts("usage: wake_torture MESSAGES"), 2;
  const ipcrpc::TempRuntimeDir directory;
  const ipcrpc::Address address = Must(ipcrpc::ParseAddress("shm:torture?spin=off"));
  const auto listener = Must(ipcrpc::Listen(address));
  std::unique_ptr<Link> accepted;
  std::thread acceptor([&] {
    while (accepted == nullptr) listener->OnReadable([&](std::unique_ptr<Link> link) { accepted = std::move(link); });
  });
  auto connected = Must(ipcrpc::Connect(address, ipcrpc::MonotonicNs() + kTooLongNs));
  acceptor.join();

  const Ticker ticker;
  End one(ticker, std::move(accepted), each_way, 1), other(ticker, std::move(connected), each_way, 2);
  std::thread thread([&] { one.Run(); });
  other.Run();
  thread.join();
  const uint64_t messages = one.received() + other.received(), sleeps = one.sleeps() + other.sleeps();
  std::printf("%llu messages, %llu sleeps\n", static_cast<unsigned long long>(messages), static_cast<unsigned long long>(sleeps));
  if (sleeps < messages / 20) Fail("they hardly slept, so that it says little");
  return failed ? 1 : 0;
}

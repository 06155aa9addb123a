// How long a channel that could not connect waits before it tries again: 1.6 times longer after each try, with a fifth
// of that up or down by chance, so that many clients of a server that comes back do not come all at once.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <random>

namespace ipcrpc::rpc {

class Backoff {
 public:
  // No wait is shorter than `min_ns` or longer than `max_ns`, which gives way. Without a seed chance gives one to the first
  // wait: most channels never come to it, and a virtual machine takes 20 µs over it.
  Backoff(int64_t initial_ns, int64_t min_ns, int64_t max_ns, std::optional<uint32_t> seed = std::nullopt)
      : initial_ns_(initial_ns), min_ns_(std::min(min_ns, max_ns)), max_ns_(max_ns), next_ns_(initial_ns) {
    if (seed) random_.emplace(*seed);
  }

  // After a try that failed.
  int64_t Next() {
    if (!random_) random_.emplace(std::random_device()());
    const double jitter = std::uniform_real_distribution<double>(0.8, 1.2)(*random_);
    const auto wait_ns = static_cast<int64_t>(static_cast<double>(next_ns_) * jitter);
    next_ns_ = std::min(static_cast<int64_t>(static_cast<double>(next_ns_) * 1.6), max_ns_);
    return std::clamp(wait_ns, min_ns_, max_ns_);
  }
  // After one that worked.
  void Reset() { next_ns_ = initial_ns_; }

 private:
  const int64_t initial_ns_, min_ns_, max_ns_;
  int64_t next_ns_;
  std::optional<std::minstd_rand> random_;
};

}  // namespace ipcrpc::rpc

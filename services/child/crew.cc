#include "services/child/crew.h"

#include <tuple>

namespace ipcrpc {

Hand* Crew::Take(const Hand* except) {
  const std::lock_guard lock(mu_);
  const auto rank = [except](const Hand& hand) {
    const bool up = hand.up.load(std::memory_order_relaxed);
    return std::tuple(&hand == except, !up, !up && hand.child->pid() == 0, hand.in_progress.load(std::memory_order_relaxed));
  };
  Hand* best = nullptr;
  for (size_t i = 0; i < hands_.size(); ++i) {
    Hand& hand = hands_[(turn_ + i) % hands_.size()];
    if (best == nullptr || rank(hand) < rank(*best)) best = &hand;
  }
  turn_ = static_cast<size_t>(best - hands_.data()) + 1;
  best->in_progress.fetch_add(1, std::memory_order_relaxed);
  return best;
}

}  // namespace ipcrpc

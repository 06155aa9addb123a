#include "transport/base/nearest.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "transport/base/strings.h"

namespace ipcrpc {
namespace {

// Longer words are not typing mistakes, and would cost too much.
constexpr size_t kLongestWord = 200;

}  // namespace

int EditDistance(std::string_view a, std::string_view b) {
  // Three rows of the table: the one being filled, and two before it (a swap looks two back).
  std::vector<int> two_back, back(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) back[j] = static_cast<int>(j);
  auto same = [](char x, char y) {
    return absl::ascii_tolower(static_cast<unsigned char>(x)) ==
           absl::ascii_tolower(static_cast<unsigned char>(y));
  };
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({back[j] + 1, row[j - 1] + 1, back[j - 1] + (same(a[i - 1], b[j - 1]) ? 0 : 1)});
      const bool swapped = i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]);
      if (swapped) row[j] = std::min(row[j], two_back[j - 2] + 1);
    }
    two_back = std::exchange(back, row);
  }
  return back[b.size()];
}

std::string_view Nearest(std::string_view word, std::span<const std::string_view> candidates) {
  std::string_view best;
  int best_distance = 0;
  if (word.size() > kLongestWord) return best;
  for (std::string_view candidate : candidates) {
    if (candidate.size() > kLongestWord) continue;
    const int longer = static_cast<int>(std::max(word.size(), candidate.size()));
    const int distance = EditDistance(word, candidate);
    if (distance > std::max(1, longer / 3) || distance >= longer) continue;
    if (best.empty() || distance < best_distance) {
      best = candidate;
      best_distance = distance;
    }
  }
  return best;
}

std::string DidYouMean(std::string_view word, std::span<const std::string_view> candidates) {
  const std::string_view nearest = Nearest(word, candidates);
  return nearest.empty() ? "" : Cat("; did you mean '", nearest, "'?");
}

}  // namespace ipcrpc

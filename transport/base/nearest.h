// "Did you mean …?": the known word nearest to a mistyped one.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace ipcrpc {

// How many single-byte insertions, deletions, replacements and swaps of neighbours turn `a` into `b`,
// upper and lower case being the same. Cost: |a| × |b|.
int EditDistance(std::string_view a, std::string_view b);

// The candidate nearest to `word`, or empty when none is near enough to be what was meant (more than a third
// of the longer one would change). The first of several equally near ones.
std::string_view Nearest(std::string_view word, std::span<const std::string_view> candidates);

// "; did you mean 'unix'?" or "".
std::string DidYouMean(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace ipcrpc

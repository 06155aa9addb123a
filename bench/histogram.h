// Counts of durations in buckets whose width grows with the value, as in HdrHistogram: 64 to each power of two, so
// that a quantile is right to 1.6 % over the whole range. Plain memory, fit to be shared between processes.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace ipcrpc::bench {

class Histogram {
 public:
  void Clear() { *this = Histogram(); }

  void Add(uint64_t value) {
    ++counts_[BucketOf(std::min(value, kMaxValue))];
    ++total_;
    max_ = std::max(max_, value);
  }

  void Merge(const Histogram& other) {
    for (size_t bucket = 0; bucket < kBuckets; ++bucket) counts_[bucket] += other.counts_[bucket];
    total_ += other.total_;
    max_ = std::max(max_, other.max_);
  }

  uint64_t total() const { return total_; }
  uint64_t max() const { return max_; }

  // The middle of the bucket that holds the `quantile` (0 … 1) of all values; 0 when there are none.
  double Quantile(double quantile) const {
    if (total_ == 0) return 0;
    const auto rank = std::clamp<uint64_t>(static_cast<uint64_t>(quantile * static_cast<double>(total_)), 0, total_ - 1);
    uint64_t seen = 0;
    for (size_t bucket = 0; bucket < kBuckets; ++bucket) {
      seen += counts_[bucket];
      if (seen > rank) return Middle(bucket);
    }
    return static_cast<double>(max_);
  }

 private:
  static constexpr int kSubBits = 6;
  static constexpr uint64_t kSubBuckets = uint64_t{1} << kSubBits;
  static constexpr int kOctaves = 36;
  static constexpr size_t kBuckets = kSubBuckets * kOctaves;
  static constexpr uint64_t kMaxValue = (kSubBuckets << (kOctaves - 1)) - 1;

  // Below 2 * kSubBuckets a bucket for each value; above, the octave and the kSubBits after the leading one.
  static size_t BucketOf(uint64_t value) {
    const int shift = std::max(0, static_cast<int>(std::bit_width(value)) - 1 - kSubBits);
    return static_cast<size_t>(shift) * kSubBuckets + static_cast<size_t>(value >> shift);
  }
  static double Middle(size_t bucket) {
    const size_t shift = bucket < 2 * kSubBuckets ? 0 : bucket / kSubBuckets - 1;
    const uint64_t low = (bucket - shift * kSubBuckets) << shift;
    return static_cast<double>(low) + static_cast<double>((uint64_t{1} << shift) - 1) / 2;
  }

  std::array<uint64_t, kBuckets> counts_{};
  uint64_t total_ = 0;
  uint64_t max_ = 0;
};

}  // namespace ipcrpc::bench

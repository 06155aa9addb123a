#pragma once

namespace ipcrpc {

// Taken by stubs for source compatibility; nothing collects statistics by suffix here.
class StubOptions {
 public:
  StubOptions() = default;
  explicit StubOptions(const char* suffix_for_stats) : suffix_for_stats_(suffix_for_stats) {}

  void set_suffix_for_stats(const char* suffix_for_stats) { suffix_for_stats_ = suffix_for_stats; }
  const char* suffix_for_stats() const { return suffix_for_stats_; }

 private:
  const char* suffix_for_stats_ = nullptr;
};

}  // namespace ipcrpc

// Where one child after another is reached: what a channel to them connects by.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/link.h"
#include "transport/scheme.h"

namespace ipcrpc {

// Thread-safe. Outlives its supervisor with the channel.
class Berth {
 public:
  // A child is being started: whoever connects waits. Returns its number.
  uint64_t Begin();
  // It is up, and there is a link to it, for one to take.
  void Offer(std::unique_ptr<Link> link);
  // It is not, or not any more. `how`: "was ended by signal 9 (Killed)".
  void End(const std::string& how);
  // And there will be none.
  void Close();

  // A Connector's work. UNAVAILABLE: no child is being started, and why.
  absl::StatusOr<std::unique_ptr<Link>> Connect(int64_t deadline_ns);
  // How the child of that number ended; "" when that is not known within a moment.
  std::string AwaitEnd(uint64_t child);

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  uint64_t child_ = 0;  // the last one's number
  bool starting_ = true;
  bool ended_ = false;
  bool closed_ = false;
  std::string how_ = "has not been started";
  std::unique_ptr<Link> link_;
};

}  // namespace ipcrpc

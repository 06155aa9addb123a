// What happened to a reactor, in order.
#pragma once

#include <string>
#include <vector>

#include "fixture.h"

namespace differential {

class Reactions {
 public:
  // "read ok" and the like: the n-th of it.
  [[nodiscard]] bool WaitFor(const std::string& what, int n = 1) {
    return Eventually([&] { return count(what) >= n; });
  }
  int count(const std::string& what) {
    std::lock_guard<std::mutex> lock(mu_);
    int found = 0;
    for (const std::string& one : seen_) found += one == what ? 1 : 0;
    return found;
  }
  size_t size() {
    std::lock_guard<std::mutex> lock(mu_);
    return seen_.size();
  }
  std::string first() {
    std::lock_guard<std::mutex> lock(mu_);
    return seen_.empty() ? "" : seen_.front();
  }
  std::string last() {
    std::lock_guard<std::mutex> lock(mu_);
    return seen_.empty() ? "" : seen_.back();
  }
  std::vector<std::string> all() {
    std::lock_guard<std::mutex> lock(mu_);
    return seen_;
  }
  int dones() { return count("done"); }
  Event& done() { return done_; }
  // After done().
  const Status& status() const { return status_; }

 protected:
  void Note(const std::string& what) {
    std::lock_guard<std::mutex> lock(mu_);
    seen_.push_back(what);
  }
  void Note(const std::string& what, bool ok) { Note(what + (ok ? " ok" : " failed")); }
  void NoteDone(const Status& status = Status()) {
    status_ = status;
    Note("done");
    done_.Set();
  }

 private:
  std::mutex mu_;
  std::vector<std::string> seen_;
  Status status_;
  Event done_;
};

}  // namespace differential

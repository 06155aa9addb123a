// iceoryx's daemon, without which its programs find no memory and no each other. There can be one on a machine.
#pragma once

#include <memory>
#include <string>

#include "bench/process.h"

namespace ipcrpc::bench {

class Roudi {
 public:
  static bool Installed();

  // Its configuration goes to `directory`.
  explicit Roudi(std::string directory) : directory_(std::move(directory)) {}
  ~Roudi();
  Roudi(const Roudi&) = delete;
  Roudi& operator=(const Roudi&) = delete;

  // Unless it runs; returns when programs can register. Where it cannot start, they fail.
  void Start();

 private:
  const std::string directory_;
  int output_ = -1;  // read no further than its being ready
  bool ready_ = false;
  std::unique_ptr<Process> process_;
};

}  // namespace ipcrpc::bench

// The supervised children and pools of a daemon: started and stopped together, and what is to be said of them.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ipcrpc/child.h"
#include "ipcrpc/prefork.h"
#include "ipcrpc/status.h"
#include "services/daemon/log.h"

namespace ipcrpc::hosting {

class Children {
 public:
  explicit Children(const Logger& log) : log_(log) {}
  ~Children() { Stop(); }

  SupervisedChild& Add(SupervisedChild::Options options);
  PreforkPool& AddPool(PreforkPool::Options options);

  // Returns when all are up, or with how one has ended instead.
  Status Start();
  // Has `changed` called, now and whenever one has come up or gone down, until Stop() or another one.
  void Follow(std::function<void()> changed);
  // All at once; when they have ended.
  void Stop();

  // "; collector was ended by signal 9 (Killed)", of all that are down.
  std::string Troubles() const;
  // Of the services of pools, whether a worker of theirs is up.
  std::map<std::string, bool> Services() const;

 private:
  void NoteUp(const std::string& name);
  void NoteDown(const std::string& name, const std::string& how);
  void Changed();

  const Logger& log_;
  std::chrono::milliseconds patience_{0};
  mutable std::mutex mu_;
  std::map<std::string, std::string> down_;  // how, by name
  bool stopping_ = false;
  std::mutex follow_mu_;  // held while it runs
  std::function<void()> changed_;
  // Last: their threads use the others.
  std::vector<std::unique_ptr<SupervisedChild>> children_;
  std::vector<std::unique_ptr<PreforkPool>> pools_;
};

}  // namespace ipcrpc::hosting

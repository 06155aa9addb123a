// What is known of the health of services, and who wants to hear of it.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "ipcrpc/health_check_service_interface.h"

namespace ipcrpc::health {

// As in grpc.health.v1.
enum class Serving { kServing = 1, kNotServing = 2, kServiceUnknown = 3 };

class Watcher {
 public:
  // With the lock of the statuses held: takes note, and leaves the rest to a reaction.
  virtual void OnStatus(Serving status) = 0;
  // The server goes. Nothing is told after it.
  virtual void OnEnd() = 0;

 protected:
  ~Watcher() = default;
};

// Thread-safe.
class Statuses final : public HealthCheckServiceInterface {
 public:
  void SetServingStatus(const std::string& service_name, bool serving) override;
  void SetServingStatus(bool serving) override;
  void Shutdown() override;

  // kServiceUnknown where it was never set.
  Serving Get(const std::string& service_name) const;

  // Tells the status at once, and from now on each one that is set; a name that is only watched is forgotten with its last
  // watcher.
  void Add(const std::string& service_name, Watcher* watcher);
  // After it returns the watcher is not told of anything any more.
  void Remove(const std::string& service_name, Watcher* watcher);
  // Tells all watchers, and who comes later at once.
  void End();

 private:
  struct Entry {
    std::optional<Serving> status;
    std::set<Watcher*> watchers;
  };
  static void Set(Entry& entry, Serving status);

  mutable std::mutex mu_;  // of the rest
  std::map<std::string, Entry> entries_{{"", {.status = Serving::kServing, .watchers = {}}}};
  bool shut_down_ = false;
  bool ended_ = false;
};

}  // namespace ipcrpc::health

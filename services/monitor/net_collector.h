#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/monitor/net_store.h"
#include "services/monitor/netlink_socket.h"

// Keeps a NetStore in agreement with the kernel.

namespace ipcrpc::monitor {

// Driven by a loop: when fd() is readable, Step(). It listens; it lists (dumps) at the start, after lost
// notifications, for what the kernel changes without a word (see Suspects), and when asked to.
//
// Any thread may call anything, one after the other inside. The store must outlive it.
class NetCollector {
 public:
  using Clock = std::chrono::steady_clock;

  struct Options {
    int receive_buffer_bytes = 8 << 20;
    // How often a list that changes while it is read is begun anew before it is taken as it came, and
    // read again later.
    int dump_tries = 5;
    // Between two lists of what the kernel changes in silence; more when listing takes long.
    std::chrono::milliseconds relist_interval{50};
  };

  // What one dump lists.
  struct Scope {
    v1::NetObject::Kind kind;
    int family;
  };

  struct Stats {
    uint64_t dumps = 0;          // Lists read.
    uint64_t gets = 0;           // Single links read.
    uint64_t messages = 0;       // Notifications taken in.
    uint64_t malformed = 0;      // Messages that could not be parsed.
    uint64_t overruns = 0;       // Times that notifications were lost.
    uint64_t foreign = 0;        // Datagrams that were not the kernel's.
  };

  // Joins the groups, then reads the whole state into the store.
  static absl::StatusOr<std::unique_ptr<NetCollector>> Open(NetStore* store, NameTables names, Options options);
  static absl::StatusOr<std::unique_ptr<NetCollector>> Open(NetStore* store);

  // Readable when there is something to do. Level-triggered; only for polling.
  int fd() const { return epoll_.get(); }

  // Does what there is to do without waiting. An error is the kernel's refusal to list; what it was is
  // tried again after a while, so a caller may report it and go on.
  absl::Status Step();

  // Reads the neighbours again: the kernel keeps to itself some of their steps (INCOMPLETE, DELAY, entries
  // for multicast), so that a list of them is exact only after this. Differences become events.
  absl::Status RefreshNeighbors();

  Stats stats() const;

 private:
  NetCollector(NetStore* store, NameTables names, Options options, NetlinkEvents events, NetlinkQuery query,
               OwnedFd timer, OwnedFd epoll);

  // All below with mu_ held.
  absl::Status ListAll();
  // Takes in what is in the socket, up to a limit, so that a flood cannot keep Step from returning.
  absl::Status Drain();
  void Notice(const nlmsghdr* message, std::vector<ParsedMessage>* batch);
  absl::Status RelistAfterOverrun();
  // Lists the suspects if the interval has passed.
  absl::Status RelistSuspects();
  void GetDirtyLinks();
  absl::StatusOr<std::vector<NetItem>> List(const Scope& scope);
  absl::Status ListInto(const Scope& scope);
  void Suspect(const Suspects& suspects);
  void ArmForWhatIsLeft();
  void SetTimer(Clock::time_point when);

  NetStore* const store_;
  const NameTables names_;
  const Options options_;

  mutable std::mutex mu_;
  NetlinkEvents events_;
  NetlinkQuery query_;
  const OwnedFd timer_;
  const OwnedFd epoll_;
  // Key prefixes to be listed again, and links to be read again.
  std::set<std::string> suspects_;
  std::set<uint32_t> dirty_links_;
  bool overrun_ = false;
  Clock::time_point next_relist_{};
  Stats stats_;
};

// A thread that steps a collector; stops and joins in the destructor. Errors of Step go to `report`,
// called on that thread.
class NetCollectorThread {
 public:
  NetCollectorThread(NetCollector* collector, std::function<void(const absl::Status&)> report);
  ~NetCollectorThread();

 private:
  void Run();

  NetCollector* const collector_;
  const std::function<void(const absl::Status&)> report_;
  OwnedFd stop_;
  std::thread thread_;
};

}  // namespace ipcrpc::monitor

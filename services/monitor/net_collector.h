#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "services/monitor/net_store.h"
#include "services/monitor/net_requests.h"
#include "services/monitor/netlink_socket.h"
#include "services/monitor/netns.h"
#include "services/monitor/net_source.h"

// Keeps a NetStore in agreement with the kernel.

namespace ipcrpc::monitor {

// Driven by a loop: when fd() is readable, Step(). It listens; it lists (dumps) at the start, after lost
// notifications, for what the kernel changes without a word (see Suspects), seldom to verify, and when asked to.
//
// In a storm it takes in what it can. What the kernel dropped it makes good by lists, which may take a fifth of
// the time at most while the storm lasts; until then it hardly reads, so that the kernel drops at little cost.
//
// Any thread may call anything, one after the other inside. The store must outlive it.
class NetCollector {
 public:
  using Clock = std::chrono::steady_clock;

  struct Options {
    int receive_buffer_bytes = 16 << 20;
    // How often a list that changes while it is read is begun anew, after a while that grows, before it is taken
    // as it came, and read again later.
    int dump_tries = 4;
    std::chrono::milliseconds dump_backoff{5};
    // Between two lists of what the kernel changes in silence; more when listing takes long.
    std::chrono::milliseconds relist_interval{50};
    // After a loss everything is listed anew when no more has come for so long, or when as much as that has passed.
    std::chrono::milliseconds calm{30};
    std::chrono::milliseconds calm_max{200};
    // So long after the last list of everything comes another, if there was any notification since; ten times
    // that, if there was none. 0 = never.
    std::chrono::milliseconds verify_interval{60'000};
    // Where it listens, as the store numbers it; null = the namespace of the calling thread, which is number 0.
    const OpenNetns* netns = nullptr;
    size_t netns_number = 0;
  };

  struct Stats {
    uint64_t dumps = 0;          // Lists read.
    uint64_t interrupted = 0;    // Lists taken as they came, as they changed each time while they were read.
    uint64_t gets = 0;           // Single links read.
    uint64_t messages = 0;       // Notifications taken in.
    uint64_t malformed = 0;      // Messages that could not be parsed.
    uint64_t overruns = 0;       // Times that notifications were lost.
    uint64_t relists = 0;        // Lists of everything after that.
    uint64_t verifies = 0;       // Lists of everything to verify.
    uint64_t verify_found = 0;   // Changes that they found and nobody had announced.
    uint64_t foreign = 0;        // Datagrams that were not the kernel's.
  };

  // Opens its sockets and joins the groups. First it is to be Load()ed.
  static absl::StatusOr<std::unique_ptr<NetCollector>> Open(NetStore* store, NameTables names, Options options);

  // Reads the whole state into the store.
  absl::Status Load();

  // Readable when there is something to do. Level-triggered; only for polling.
  int fd() const { return epoll_.get(); }

  // What an operator should know from the start; empty when all is well.
  const std::string& warning() const { return warning_; }

  int buffer_bytes() const { return events_.buffer_bytes(); }

  // Does what there is to do without waiting. An error is the kernel's refusal to list; what it was is
  // tried again after a while, so a caller may report it and go on.
  absl::Status Step();

  // Reads the neighbours again: the kernel keeps to itself some of their steps (INCOMPLETE, DELAY, entries
  // for multicast), so that a list of them is exact only after this. Differences become events.
  absl::Status RefreshNeighbors();

  // Its verify interval, and whether it rests: then it takes nothing in, which is a gap, and lists everything when it
  // goes on.
  absl::Status Configure(const NetSettings& settings);

  // Lists everything. FAILED_PRECONDITION: it rests.
  absl::Status Resync();

  Stats stats() const;

 private:
  NetCollector(NetStore* store, NameTables names, Options options, NetlinkEvents events, NetlinkQuery query,
               OwnedFd timer, OwnedFd epoll);

  // mu_, for all who call, one after the other.
  std::unique_lock<std::mutex> TakeTurn() const;

  // All below with mu_ held.
  // Whether epoll looks at the events.
  absl::Status Listen(bool on);
  absl::Status ListAll();
  // Takes in what is in the socket, up to a limit, so that a flood cannot keep Step from returning.
  absl::Status Drain();
  void Notice(const nlmsghdr* message, std::vector<ParsedMessage>* batch);
  void ApplyBatch(std::vector<ParsedMessage>* batch);
  absl::Status EnterGap();
  absl::Status Pause();
  absl::StatusOr<bool> Discard();
  absl::Status RelistAfterOverrun();
  // Lists the suspects if the interval has passed.
  absl::Status RelistSuspects();
  absl::Status Verify();
  void GetDirtyLinks();
  absl::StatusOr<std::vector<NetItem>> List(const Scope& scope, bool* consistent);
  absl::Status ListInto(const Scope& scope);
  void Suspect(const Suspects& suspects);
  void PauseLists(Clock::time_point begin);
  Clock::time_point NextVerify() const;
  void ArmForWhatIsLeft();
  void SetTimer(Clock::time_point when);

  NetStore* const store_;
  const NameTables names_;
  Options options_;  // the verify interval is guarded by mu_, the rest constant
  std::string warning_;

  mutable std::mutex next_mu_;  // held by whoever waits for mu_, and is the next to have it
  mutable std::mutex mu_;
  NetlinkEvents events_;
  NetlinkQuery query_;
  const OwnedFd timer_;
  const OwnedFd epoll_;
  // Key prefixes to be listed again, and links to be read again.
  std::set<std::string> suspects_;
  std::set<uint32_t> dirty_links_;
  // Since notifications were lost, until everything has been listed.
  bool in_gap_ = false;
  bool paused_ = false;  // in a gap
  Clock::time_point last_discard_{};
  Clock::time_point next_relist_{};
  Clock::time_point last_verify_{};
  bool active_ = false;  // since then
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

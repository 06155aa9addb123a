// A client of NetEvents with the generated stubs, and what it takes to compare what three ways tell of one state.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ipcrpc/ipcrpc.h"
#include "ipcrpc/monitor/v1/net_events.ipcrpc.pb.h"
#include "services/monitor/net_view.h"

namespace ipcrpc::e2e {

namespace v1 = monitor::v1;

// Objects, serialised, and how many there are of each.
using ObjectCounts = std::map<std::string, int>;

ObjectCounts CountsOf(const std::vector<v1::NetObject>& objects);
// What is in one and not in the other, a few of them, as text; empty when they are the same.
std::string Differences(const ObjectCounts& a, const ObjectCounts& b);

// All pages of a list.
Status ListPages(v1::NetEvents::Stub& stub, v1::ListRequest request, v1::ListReply* reply);

// A watch of everything, replayed: what has come of it so far. One thread.
class Replay {
 public:
  // Every event is applied, and checked to follow on the one before. At BOOKMARKs the state is compared with the
  // daemon's list of that revision, over a connection of its own, unless that revision has left the history.
  Replay(const std::string& address, v1::WatchRequest request);

  // Reads events until the call ends or `stop` says so, which is asked after each event.
  void Run(const std::function<bool(const v1::NetEvent&)>& stop);
  void Cancel() { context_.TryCancel(); }

  // The first thing that was wrong; empty when nothing was.
  const std::string& error() const { return error_; }
  const monitor::NetView& view() const { return *view_; }

  struct Counts {
    uint64_t events = 0;
    uint64_t overruns = 0;   // of the kernel
    uint64_t resyncs = 0;
    uint64_t restarts = 0;   // of this watcher
    uint64_t bookmarks = 0;
    uint64_t compared = 0;   // of these
  };
  const Counts& counts() const { return counts_; }

 private:
  void Take(const v1::NetEvent& event);
  void CompareAtBookmark(uint64_t revision);

  const v1::WatchRequest request_;
  std::unique_ptr<v1::NetEvents::Stub> stub_, list_stub_;
  ClientContext context_;
  std::unique_ptr<ClientReader<v1::NetEvent>> reader_;
  std::unique_ptr<monitor::NetView> view_;
  std::string error_;
  Counts counts_;
  bool in_gap_ = false;
};

}  // namespace ipcrpc::e2e

#include "services/monitor/net_store.h"

#include <linux/if.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/monitor/items_for_test.h"

namespace ipcrpc::monitor {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

// With a clock that stands still until it is moved, and two links.
class NetStoreTest : public testing::Test {
 protected:
  NetStoreTest() : store_(MakeOptions()) {
    NetStore::Writer writer(&store_);
    writer.Apply(Added(LinkItem(1, "lo")));
    writer.Apply(Added(LinkItem(2, "eth0")));
    writer.FinishInitialLoad();
  }

  NetStore::Options MakeOptions() {
    NetStore::Options options;
    options.history_events_max = 100;
    options.pages_max = 2;
    options.netns_inode = 42;
    options.now = [this] { return steady_clock::time_point(seconds(clock_.load())); };
    return options;
  }

  void Add(NetItem item) { NetStore::Writer(&store_).Apply(Added(std::move(item))); }
  void AddRoutes(int count) {
    NetStore::Writer writer(&store_);
    for (int i = 0; i < count; ++i) writer.Apply(Added(RouteItem(AF_INET, absl::StrCat("10.0.", i, ".0/24"), 2)));
  }

  // The event that is there now, in short; "none" or the error's name otherwise.
  static std::string Take(NetWatcher* watcher) {
    auto event = watcher->TryNext();
    if (!event.ok()) return absl::StatusCodeToString(event.status().code());
    if (*event == nullptr) return "none";
    const v1::NetEvent& e = **event;
    return absl::StrCat(v1::NetEvent::Action_Name(e.action()), " ", e.link().ifname(), e.route().dst());
  }

  std::atomic<int> clock_{1000};
  NetStore store_;
};

TEST_F(NetStoreTest, RevisionsBeginAtTheClockAndGrowByOne) {
  auto now = std::chrono::duration_cast<std::chrono::microseconds>(
                 std::chrono::system_clock::now().time_since_epoch()).count();
  uint64_t revision = store_.revision();
  EXPECT_NEAR(static_cast<double>(revision), static_cast<double>(now), 10e6);
  Add(LinkItem(3, "eth1"));
  EXPECT_EQ(store_.revision(), revision + 1);
  Add(LinkItem(3, "eth1"));
  EXPECT_EQ(store_.revision(), revision + 1);
}

TEST_F(NetStoreTest, ListGivesEverythingByKind) {
  AddRoutes(2);
  auto reply = store_.List({});
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->revision(), store_.revision());
  EXPECT_EQ(reply->links_size(), 2);
  EXPECT_EQ(reply->routes_size(), 2);
  EXPECT_EQ(reply->routes(0).dev(), "eth0");
  EXPECT_EQ(reply->next_page_token(), "");
}

TEST_F(NetStoreTest, ListFiltersByKindAndInterface) {
  AddRoutes(2);
  v1::ListRequest request;
  request.add_kinds(v1::NetObject::ROUTE);
  EXPECT_EQ(store_.List(request)->links_size(), 0);
  EXPECT_EQ(store_.List(request)->routes_size(), 2);
  request.add_dev("lo");
  EXPECT_EQ(store_.List(request)->routes_size(), 0);
  request.clear_kinds();
  EXPECT_EQ(store_.List(request)->links_size(), 1);
}

TEST_F(NetStoreTest, PagesShowOneRevisionThoughTheStateChanges) {
  AddRoutes(5);
  v1::ListRequest request;
  request.set_page_size(3);
  auto first = store_.List(request);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->links_size() + first->routes_size(), 3);
  ASSERT_NE(first->next_page_token(), "");

  NetStore::Writer(&store_).Replace(store_.Compare(0, FamilyPrefix(v1::NetObject::ROUTE, AF_INET), {}));
  Add(LinkItem(4, "new"));
  request.set_page_token(first->next_page_token());
  auto second = store_.List(request);
  ASSERT_TRUE(second.ok());
  EXPECT_EQ(second->revision(), first->revision());
  EXPECT_EQ(second->routes_size(), 3);
  // Asked again, the same page.
  EXPECT_EQ(store_.List(request)->SerializeAsString(), second->SerializeAsString());
  request.set_page_token(second->next_page_token());
  auto third = store_.List(request);
  ASSERT_TRUE(third.ok());
  EXPECT_EQ(third->routes_size(), 1);
  EXPECT_EQ(third->next_page_token(), "");
  EXPECT_EQ(store_.List(request)->SerializeAsString(), third->SerializeAsString());
  // With the last page given, it is not held for long.
  clock_ += 2;
  EXPECT_EQ(store_.List(request).status().code(), absl::StatusCode::kAborted);
}

TEST_F(NetStoreTest, APageTokenHolds30Seconds) {
  AddRoutes(5);
  v1::ListRequest request;
  request.set_page_size(2);
  request.set_page_token(store_.List(request)->next_page_token());
  clock_ += 29;
  auto page = store_.List(request);
  ASSERT_TRUE(page.ok());
  // Each page begins the time anew.
  clock_ += 29;
  request.set_page_token(page->next_page_token());
  ASSERT_TRUE(store_.List(request).ok());
  clock_ += 30;
  EXPECT_EQ(store_.List(request).status().code(), absl::StatusCode::kAborted);
}

TEST_F(NetStoreTest, TheOldestListGivesWayWhenTooManyAreHeld) {
  AddRoutes(5);
  v1::ListRequest request;
  request.set_page_size(2);
  std::string oldest = store_.List(request)->next_page_token();
  std::string second = store_.List(request)->next_page_token();
  std::string third = store_.List(request)->next_page_token();
  request.set_page_token(oldest);
  EXPECT_EQ(store_.List(request).status().code(), absl::StatusCode::kAborted);
  for (const std::string& token : {second, third}) {
    request.set_page_token(token);
    EXPECT_TRUE(store_.List(request).ok());
  }
}

TEST_F(NetStoreTest, WrongPageTokensAreRefused) {
  AddRoutes(5);
  v1::ListRequest request;
  request.set_page_size(2);
  std::string token = store_.List(request)->next_page_token();
  for (const char* wrong : {"x", "1", "1.2.3", "-1.0", "1.x", "."}) {
    request.set_page_token(wrong);
    EXPECT_EQ(store_.List(request).status().code(), absl::StatusCode::kInvalidArgument) << wrong;
  }
  request.set_page_token(token.substr(0, token.find('.')) + ".999");
  EXPECT_EQ(store_.List(request).status().code(), absl::StatusCode::kInvalidArgument);
  request.set_page_token("7.0");
  EXPECT_EQ(store_.List(request).status().code(), absl::StatusCode::kAborted);
  request.set_page_token(token);
  request.set_page_size(3);
  auto other_request = store_.List(request);
  EXPECT_EQ(other_request.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(other_request.status().message()), HasSubstr("page_size"));
}

TEST_F(NetStoreTest, AWatchBeginsWithTheStateThenABookmarkThenChanges) {
  auto watcher = store_.Watch({});
  ASSERT_TRUE(watcher.ok());
  uint64_t revision = store_.revision();
  Add(LinkItem(3, "eth1"));
  EXPECT_EQ(Take(watcher->get()), "ADDED lo");
  EXPECT_EQ(Take(watcher->get()), "ADDED eth0");
  auto bookmark = (*watcher)->TryNext();
  ASSERT_TRUE(bookmark.ok());
  EXPECT_EQ((*bookmark)->action(), v1::NetEvent::BOOKMARK);
  EXPECT_EQ((*bookmark)->revision(), revision);
  EXPECT_EQ((*bookmark)->netns().inode(), 42u);
  EXPECT_EQ(Take(watcher->get()), "ADDED eth1");
  EXPECT_EQ(Take(watcher->get()), "none");
}

TEST_F(NetStoreTest, AnEventHasOldChangedAndTimes) {
  v1::WatchRequest request;
  request.set_since_revision(store_.revision());
  NetItem item = LinkItem(2, "eth0");
  item.object.mutable_link()->set_mtu(9000);
  Add(item);
  auto watcher = store_.Watch(request);
  ASSERT_TRUE(watcher.ok());
  auto event = (*watcher)->TryNext();
  ASSERT_TRUE(event.ok());
  const v1::NetEvent& e = **event;
  EXPECT_EQ(e.action(), v1::NetEvent::CHANGED);
  EXPECT_EQ(e.revision(), store_.revision());
  EXPECT_EQ(e.link().mtu(), 9000u);
  EXPECT_EQ(e.old().link().mtu(), 0u);
  EXPECT_THAT(e.changed(), testing::ElementsAre("mtu"));
  EXPECT_GT(e.time().seconds(), 1'600'000'000);
  EXPECT_GT(e.monotonic_ns(), 0u);
  // What was asked for has been told; then what is new.
  EXPECT_EQ(Take(watcher->get()), "BOOKMARK ");
  Add(LinkItem(5, "later"));
  EXPECT_EQ(Take(watcher->get()), "ADDED later");
}

TEST_F(NetStoreTest, ARevisionOutsideTheHistoryIsRefused) {
  v1::WatchRequest request;
  for (uint64_t wrong : {uint64_t{0}, uint64_t{1}, store_.revision() - 1, store_.revision() + 1}) {
    request.set_since_revision(wrong);
    EXPECT_EQ(store_.Watch(request).status().code(), absl::StatusCode::kOutOfRange) << wrong;
  }
  request.set_since_revision(store_.revision());
  EXPECT_TRUE(store_.Watch(request).ok());
  AddRoutes(101);
  // One event more than the history holds.
  EXPECT_EQ(store_.Watch(request).status().code(), absl::StatusCode::kOutOfRange);
  request.set_since_revision(request.since_revision() + 1);
  EXPECT_TRUE(store_.Watch(request).ok());
}

TEST_F(NetStoreTest, HistoryIsBoundedByBytesToo) {
  NetStore::Options options = MakeOptions();
  options.history_bytes_max = 1;
  NetStore store(options);
  NetStore::Writer(&store).FinishInitialLoad();
  NetStore::Writer(&store).Apply(Added(LinkItem(1, "a")));
  NetStore::Writer(&store).Apply(Added(LinkItem(2, "b")));
  v1::WatchRequest request;
  request.set_since_revision(store.revision() - 1);
  EXPECT_TRUE(store.Watch(request).ok());
  request.set_since_revision(store.revision() - 2);
  EXPECT_EQ(store.Watch(request).status().code(), absl::StatusCode::kOutOfRange);
}

TEST_F(NetStoreTest, AWatchIsFilteredButForGapsAndBookmarks) {
  v1::WatchRequest request;
  request.add_kinds(v1::NetObject::LINK);
  request.add_dev("eth0");
  auto watcher = store_.Watch(request);
  ASSERT_TRUE(watcher.ok());
  EXPECT_EQ(Take(watcher->get()), "ADDED eth0");
  EXPECT_EQ(Take(watcher->get()), "BOOKMARK ");
  AddRoutes(3);
  Add(LinkItem(3, "eth1"));
  NetStore::Writer(&store_).Overrun();
  NetStore::Writer(&store_).Resync();
  EXPECT_EQ(Take(watcher->get()), "OVERRUN ");
  EXPECT_EQ(Take(watcher->get()), "RESYNC ");
  // Renamed away: told to who knew it by the old name, once.
  Add(LinkItem(2, "wan"));
  Add(LinkItem(2, "lan"));
  EXPECT_EQ(Take(watcher->get()), "CHANGED wan");
  EXPECT_EQ(Take(watcher->get()), "none");
}

TEST_F(NetStoreTest, NextWaitsForAnEvent) {
  v1::WatchRequest request;
  request.set_since_revision(store_.revision());
  auto watcher = store_.Watch(request);
  ASSERT_TRUE(watcher.ok());
  EXPECT_EQ(Take(watcher->get()), "BOOKMARK ");
  std::thread writer([&] { Add(LinkItem(3, "eth1")); });
  auto event = (*watcher)->Next({}, steady_clock::now() + seconds(10));
  writer.join();
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_EQ((*event)->link().ifname(), "eth1");
  EXPECT_EQ((*watcher)->Next({}, steady_clock::now()).status().code(), absl::StatusCode::kDeadlineExceeded);
}

TEST_F(NetStoreTest, AStopRequestWakesTheWaiter) {
  v1::WatchRequest request;
  request.set_since_revision(store_.revision());
  auto watcher = store_.Watch(request);
  ASSERT_TRUE(watcher.ok());
  EXPECT_EQ(Take(watcher->get()), "BOOKMARK ");
  std::stop_source stop;
  std::thread canceller([&] { stop.request_stop(); });
  auto event = (*watcher)->Next(stop.get_token(), steady_clock::now() + seconds(10));
  canceller.join();
  EXPECT_EQ(event.status().code(), absl::StatusCode::kCancelled);
}

TEST_F(NetStoreTest, ClosingWakesTheWaiter) {
  v1::WatchRequest request;
  request.set_since_revision(store_.revision());
  auto watcher = store_.Watch(request);
  ASSERT_TRUE(watcher.ok());
  EXPECT_EQ(Take(watcher->get()), "BOOKMARK ");
  std::thread closer([&] { store_.Close(); });
  auto event = (*watcher)->Next({}, steady_clock::now() + seconds(10));
  closer.join();
  EXPECT_EQ(event.status().code(), absl::StatusCode::kUnavailable);
}

TEST_F(NetStoreTest, TheReadyCallbackIsCalledOncePerBatchAndNotAfterRemoval) {
  v1::WatchRequest request;
  request.set_since_revision(store_.revision());
  auto watcher = store_.Watch(request);
  ASSERT_TRUE(watcher.ok());
  int calls = 0;
  (*watcher)->OnReady([&] { ++calls; });
  AddRoutes(3);
  EXPECT_EQ(calls, 1);
  AddRoutes(3);  // Nothing new.
  EXPECT_EQ(calls, 1);
  (*watcher)->OnReady(nullptr);
  AddRoutes(4);
  EXPECT_EQ(calls, 1);
  (*watcher)->OnReady([&] { ++calls; });
  watcher->reset();
  AddRoutes(5);
  EXPECT_EQ(calls, 1);
}

// Readers and the writer at once, for the sanitizers; each watcher sees every change in order.
TEST_F(NetStoreTest, ManyReadersAndOneWriter) {
  constexpr int kChanges = 90;
  uint64_t since = store_.revision();
  std::vector<std::thread> readers;
  for (int i = 0; i < 3; ++i) {
    readers.emplace_back([&] {
      v1::WatchRequest request;
      request.set_since_revision(since);
      auto watcher = store_.Watch(request);
      ASSERT_TRUE(watcher.ok());
      uint64_t last = since;
      while (last < since + kChanges) {
        auto event = (*watcher)->Next({}, steady_clock::now() + seconds(10));
        ASSERT_TRUE(event.ok()) << event.status();
        if ((*event)->action() == v1::NetEvent::BOOKMARK) continue;
        EXPECT_EQ((*event)->revision(), last + 1);
        last = (*event)->revision();
        EXPECT_TRUE(store_.List({}).ok());
      }
    });
  }
  for (int i = 0; i < kChanges; ++i) Add(LinkItem(static_cast<uint32_t>(10 + i), absl::StrCat("l", i)));
  for (std::thread& reader : readers) reader.join();
}

}  // namespace
}  // namespace ipcrpc::monitor

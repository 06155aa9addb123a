// What a watcher is told: filters, bookmarks, losses; lists of the past; and what a client's view makes of it.
#include <chrono>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/monitor/items_for_test.h"
#include "services/monitor/net_store.h"
#include "services/monitor/net_view.h"
#include "services/monitor/status_details.h"

namespace ipcrpc::monitor {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

NetItem InTable(NetItem item, const std::string& table) {
  item.object.mutable_route()->set_table(table);
  return item;
}

// Two links in the daemon's namespace, one in another.
class NetWatchTest : public testing::Test {
 protected:
  NetWatchTest() : store_(MakeOptions()) {
    v1::NetNs blue;
    blue.set_name("blue");
    blue.set_inode(43);
    blue.set_nsid(5);
    EXPECT_EQ(store_.AddNetns(blue), 1u);
    Apply(Added(LinkItem(1, "lo")));
    Apply(Added(LinkItem(2, "eth0")));
    NetStore::Writer(&store_).FinishInitialLoad();
    NetStore::Writer(&store_, 1).Apply(Added(LinkItem(1, "lo")));
    NetStore::Writer(&store_, 1).FinishInitialLoad();
  }

  static NetStore::Options MakeOptions() {
    NetStore::Options options;
    options.history_events_max = 20;
    options.netns_inode = 42;
    return options;
  }

  void Apply(ParsedMessage message, size_t netns = 0) { NetStore::Writer(&store_, netns).Apply(std::move(message)); }
  void AddRoutes(int count) {
    for (int i = 0; i < count; ++i) Apply(Added(RouteItem(AF_INET, absl::StrCat("10.0.", i, ".0/24"), 2)));
  }

  std::unique_ptr<NetWatcher> Watch(const v1::WatchRequest& request = {}) {
    auto watcher = store_.Watch(request);
    EXPECT_TRUE(watcher.ok()) << watcher.status();
    return watcher.ok() ? *std::move(watcher) : nullptr;
  }

  static std::vector<v1::NetEvent> TakeAll(NetWatcher* watcher) {
    std::vector<v1::NetEvent> events;
    for (;;) {
      auto event = watcher->TryNext();
      EXPECT_TRUE(event.ok()) << event.status();
      if (!event.ok() || *event == nullptr) return events;
      events.push_back(**event);
    }
  }
  static std::vector<std::string> Texts(const std::vector<v1::NetEvent>& events) {
    std::vector<std::string> texts;
    for (const v1::NetEvent& e : events) {
      texts.push_back(absl::StrCat(v1::NetEvent::Action_Name(e.action()), " ", e.link().ifname(), e.route().dst()));
    }
    return texts;
  }

  std::multiset<std::string> Listed(const v1::ListRequest& request = {}) {
    auto list = store_.List(request);
    EXPECT_TRUE(list.ok()) << list.status();
    return list.ok() ? Serialised(ObjectsOf(*list)) : std::multiset<std::string>();
  }
  static std::multiset<std::string> Serialised(const std::vector<v1::NetObject>& objects) {
    std::multiset<std::string> texts;
    for (const v1::NetObject& object : objects) texts.insert(object.SerializeAsString());
    return texts;
  }

  NetStore store_;
};

TEST_F(NetWatchTest, AListShowsThePast) {
  v1::ListRequest then;
  then.set_revision(store_.revision());
  const auto before = Listed();
  AddRoutes(3);
  Apply(Added(LinkItem(2, "wan")));
  v1::ListRequest between;
  between.set_revision(store_.revision());
  const auto after = Listed();
  // One that turns into another by being replaced, one that goes, one that comes.
  Apply(Added(RouteItem(AF_INET, "10.0.0.0/24", 2, "10.9.9.9"), NLM_F_REPLACE));
  Apply(Removed(RouteItem(AF_INET, "10.0.1.0/24", 2)));
  Apply(Added(LinkItem(7, "new")));
  Apply(Added(LinkItem(9, "elsewhere")), 1);
  EXPECT_EQ(Listed(then), before);
  EXPECT_EQ(Listed(between), after);
  EXPECT_NE(Listed(), after);
  between.set_netns("blue");
  EXPECT_EQ(Listed(between).size(), 1u);
  then.add_kinds(v1::NetObject::ROUTE);
  EXPECT_THAT(Listed(then), IsEmpty());
}

TEST_F(NetWatchTest, ARevisionThatHasLeftTheHistoryIsNamedWithWhereToGoOn) {
  v1::ListRequest request;
  request.set_revision(store_.revision());
  AddRoutes(25);
  auto list = store_.List(request);
  EXPECT_EQ(list.status().code(), absl::StatusCode::kOutOfRange);
  v1::RevisionRange range;
  ASSERT_TRUE(range.ParseFromString(DetailsOf(list.status())));
  EXPECT_EQ(range.newest(), store_.revision());
  EXPECT_EQ(range.oldest(), store_.revision() - 20);
  v1::WatchRequest watch;
  watch.set_since_revision(request.revision());
  EXPECT_EQ(DetailsOf(store_.Watch(watch).status()), range.SerializeAsString());
  watch.set_since_revision(range.oldest());
  EXPECT_TRUE(store_.Watch(watch).ok());
  request.set_revision(range.oldest());
  EXPECT_TRUE(store_.List(request).ok());
}

TEST_F(NetWatchTest, ASlowWatcherIsToldHowMuchItMissedAndBeginsAgain) {
  auto watcher = Watch();
  v1::WatchRequest everything;
  auto view = NetView::For(everything);
  ASSERT_TRUE(view.ok());
  for (const v1::NetEvent& event : TakeAll(watcher.get())) EXPECT_TRUE(view->Apply(event).ok());
  EXPECT_TRUE(view->complete());
  Apply(Removed(LinkItem(1, "lo")));
  AddRoutes(24);
  const auto events = TakeAll(watcher.get());
  ASSERT_FALSE(events.empty());
  EXPECT_EQ(events[0].action(), v1::NetEvent::OVERRUN);
  EXPECT_EQ(events[0].missed(), 25u);
  EXPECT_EQ(events.back().action(), v1::NetEvent::RESYNC);
  EXPECT_EQ(events.back().revision(), store_.revision());
  EXPECT_TRUE(events.back().consistent());
  EXPECT_EQ(events.size(), 1 + 1 + 24 + 1u);
  for (const v1::NetEvent& event : events) EXPECT_TRUE(view->Apply(event).ok());
  EXPECT_EQ(view->missed(), 25u);
  EXPECT_TRUE(view->complete());
  EXPECT_EQ(Serialised(view->objects()), Listed());
  // And goes on as ever.
  Apply(Added(LinkItem(3, "eth1")));
  EXPECT_THAT(Texts(TakeAll(watcher.get())), ElementsAre("ADDED eth1"));
}

TEST_F(NetWatchTest, FallingBehindWhileTheStateIsToldIsToldAfterIt) {
  auto watcher = Watch();
  AddRoutes(30);
  const auto texts = Texts(TakeAll(watcher.get()));
  EXPECT_EQ(texts[0], "ADDED lo");
  EXPECT_EQ(texts[1], "ADDED eth0");
  EXPECT_EQ(texts[2], "BOOKMARK ");
  EXPECT_EQ(texts[3], "OVERRUN ");
  EXPECT_EQ(texts.size(), 4 + 32 + 1u);
  EXPECT_EQ(texts.back(), "RESYNC ");
}

TEST_F(NetWatchTest, BookmarksComeAsOftenAsWanted) {
  v1::WatchRequest request;
  request.add_kinds(v1::NetObject::LINK);
  request.mutable_bookmark_interval()->set_nanos(1'000'000);
  auto watcher = Watch(request);
  EXPECT_THAT(Texts(TakeAll(watcher.get())), ElementsAre("ADDED lo", "ADDED eth0", "BOOKMARK "));
  // Nothing happens: none.
  EXPECT_EQ(watcher->Next({}, steady_clock::now() + milliseconds(50)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  // What the filter keeps out moves the bookmark on.
  AddRoutes(3);
  auto event = watcher->Next({}, steady_clock::now() + milliseconds(10'000));
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_EQ((*event)->action(), v1::NetEvent::BOOKMARK);
  EXPECT_EQ((*event)->revision(), store_.revision());
  for (int wrong : {0, -1, 999'999}) {
    request.mutable_bookmark_interval()->set_nanos(wrong);
    EXPECT_EQ(store_.Watch(request).status().code(), absl::StatusCode::kInvalidArgument) << wrong;
  }
}

TEST_F(NetWatchTest, FiltersByPatternFamilyAndTable) {
  Apply(Added(LinkItem(3, "eth10")));
  Apply(Added(LinkItem(4, "e*")));
  Apply(Added(InTable(RouteItem(AF_INET, "10.0.0.0/8", 2), "main")));
  Apply(Added(InTable(RouteItem(AF_INET6, "fd00::/8", 3), "77")));
  const auto names = [&](const std::vector<std::string>& devs, const std::vector<std::string>& families,
                         const std::vector<std::string>& tables) {
    v1::ListRequest request;
    for (const auto& dev : devs) request.add_dev(dev);
    for (const auto& family : families) request.add_families(family);
    for (const auto& table : tables) request.add_tables(table);
    auto list = store_.List(request);
    EXPECT_TRUE(list.ok()) << list.status();
    std::vector<std::string> texts;
    for (const auto& object : ObjectsOf(*list)) texts.push_back(absl::StrCat(object.link().ifname(), object.route().dst()));
    return texts;
  };
  EXPECT_THAT(names({"eth?"}, {}, {}), ElementsAre("eth0", "10.0.0.0/8"));
  EXPECT_THAT(names({"eth*"}, {}, {}), ElementsAre("eth0", "eth10", "10.0.0.0/8", "fd00::/8"));
  EXPECT_THAT(names({"e\\*"}, {}, {}), ElementsAre("e*"));
  EXPECT_THAT(names({"[l]o", "eth10"}, {"inet"}, {}), ElementsAre("lo", "eth10"));
  EXPECT_THAT(names({}, {"inet6"}, {"77"}), ElementsAre("lo", "eth0", "eth10", "e*", "fd00::/8"));
  EXPECT_THAT(names({"eth*"}, {}, {"main", "local"}), ElementsAre("eth0", "eth10", "10.0.0.0/8"));

  v1::ListRequest wrong;
  wrong.add_families("ipv4");
  EXPECT_THAT(std::string(store_.List(wrong).status().message()), HasSubstr("families are inet, inet6"));
  wrong.clear_families();
  wrong.add_kinds(static_cast<v1::NetObject::Kind>(77));
  EXPECT_THAT(std::string(store_.List(wrong).status().message()), HasSubstr("kind 77 does not exist"));
  wrong.clear_kinds();
  wrong.add_dev("");
  EXPECT_EQ(store_.List(wrong).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(NetWatchTest, NamespacesAreWatchedTogetherOrApart) {
  v1::WatchRequest all;
  all.add_netns("*");
  auto of_all = Watch(all);
  auto of_own = Watch();
  v1::WatchRequest blue;
  blue.add_netns("blue");
  auto of_blue = Watch(blue);
  Apply(Added(LinkItem(3, "here")));
  Apply(Added(LinkItem(3, "there")), 1);
  EXPECT_THAT(Texts(TakeAll(of_all.get())),
              ElementsAre("ADDED lo", "ADDED eth0", "ADDED lo", "BOOKMARK ", "ADDED here", "ADDED there"));
  EXPECT_THAT(Texts(TakeAll(of_own.get())), ElementsAre("ADDED lo", "ADDED eth0", "BOOKMARK ", "ADDED here"));
  const auto events = TakeAll(of_blue.get());
  EXPECT_THAT(Texts(events), ElementsAre("ADDED lo", "BOOKMARK ", "ADDED there"));
  EXPECT_EQ(events[2].netns().inode(), 43u);
  EXPECT_EQ(events[2].netns().nsid(), 5);
  EXPECT_EQ(events[2].netns().name(), "blue");
  v1::ListRequest request;
  request.set_netns("blue");
  EXPECT_EQ(store_.List(request)->links_size(), 2);
  EXPECT_EQ(store_.List(request)->netns().inode(), 43u);
  request.set_netns("green");
  EXPECT_EQ(store_.List(request).status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(store_.List(request).status().message()), HasSubstr("blue"));
}

TEST_F(NetWatchTest, WhatIsNotConsistentSaysSoUntilItIs) {
  const std::string links = KindPrefix(v1::NetObject::LINK);
  auto watcher = Watch();
  TakeAll(watcher.get());
  EXPECT_TRUE(store_.List({})->consistent());
  NetStore::Writer(&store_).Overrun();
  EXPECT_FALSE(store_.List({})->consistent());
  NetStore::Writer(&store_).Replace(store_.Compare(0, links, {LinkItem(1, "lo")}), /*consistent=*/false);
  NetStore::Writer(&store_).Resync();
  EXPECT_FALSE(store_.List({})->consistent());
  NetStore::Writer(&store_).Replace(store_.Compare(0, links, {LinkItem(1, "lo")}));
  EXPECT_TRUE(store_.List({})->consistent());
  const auto events = TakeAll(watcher.get());
  EXPECT_THAT(Texts(events), ElementsAre("OVERRUN ", "REMOVED eth0", "RESYNC ", "RESYNC "));
  EXPECT_EQ(events[0].missed(), 0u);
  EXPECT_FALSE(events[2].consistent());
  EXPECT_TRUE(events[3].consistent());
}

TEST_F(NetWatchTest, AViewGoesOnFromAList) {
  v1::WatchRequest request;
  request.add_dev("eth*");
  auto list = store_.List({});
  request.set_since_revision(list->revision());
  auto view = NetView::For(request);
  ASSERT_TRUE(view.ok());
  view->Begin(*list);
  EXPECT_EQ(view->size(), 1u);
  Apply(Added(LinkItem(3, "eth1")));
  Apply(Added(LinkItem(2, "wan")));
  Apply(Added(LinkItem(1, "eth7")));
  auto watcher = Watch(request);
  for (const v1::NetEvent& event : TakeAll(watcher.get())) {
    absl::Status status = view->Apply(event);
    EXPECT_TRUE(status.ok()) << status;
  }
  v1::ListRequest same;
  same.add_dev("eth*");
  EXPECT_EQ(Serialised(view->objects()), Listed(same));
}

TEST_F(NetWatchTest, AViewNoticesWhatIsMissing) {
  auto watcher = Watch();
  std::vector<v1::NetEvent> events = TakeAll(watcher.get());
  Apply(Added(LinkItem(3, "eth1")));
  Apply(Added(LinkItem(3, "eth2")));
  for (const v1::NetEvent& event : TakeAll(watcher.get())) events.push_back(event);
  const auto replay = [&](const std::vector<size_t>& which) {
    auto view = NetView::For({});
    absl::Status status;
    for (size_t i : which) status.Update(view->Apply(events[i]));
    return status.code();
  };
  EXPECT_EQ(replay({0, 1, 2, 3, 4}), absl::StatusCode::kOk);
  EXPECT_EQ(replay({0, 1, 2, 4}), absl::StatusCode::kDataLoss);
  EXPECT_EQ(replay({0, 1, 2, 3, 3}), absl::StatusCode::kDataLoss);
  EXPECT_EQ(replay({0, 1, 2, 3, 4, 3}), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace ipcrpc::monitor

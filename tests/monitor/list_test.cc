// NetEvents/List, as the command-line tool prints it.
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "services/monitor/netns_for_test.h"
#include "services/monitor/network_for_test.h"
#include "tests/monitor/monitor_test.h"

namespace ipcrpc::e2e {
namespace {

using monitor::Ip;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

class List : public EachScheme {};
INSTANTIATE_TEST_SUITE_P(, List, testing::Values("shm", "unix"),
                         [](const auto& scheme) { return scheme.param; });

size_t Count(const Json& list, const std::string& field) {
  const Json* items = list.Find(field);
  return items == nullptr ? 0 : items->list.size();
}

// The kernel goes on while `ip` and we look, so agreement is waited for; a lasting difference fails.
TEST_P(List, ListAgreesWithIproute2ItemByItem) {
  monitor::BuildNetwork();
  monitor::OtherNetns other;
  ASSERT_GT(other.pid(), 0);
  Ip(absl::StrCat("link add far0 type veth peer name far1 netns ", other.pid()));
  auto daemon = StartDaemon({address()});
  Json list;
  std::vector<std::string> differences;
  for (auto end = steady_clock::now() + milliseconds(5000); steady_clock::now() < end;) {
    list = Call(address(), kList);
    differences = monitor::CompareListWithIp(list);
    if (differences.empty()) break;
    std::this_thread::sleep_for(milliseconds(50));
  }
  EXPECT_EQ(absl::StrJoin(differences, "\n"), "");
  // That there was something to compare.
  EXPECT_GE(Count(list, "links"), 7u);
  EXPECT_GE(Count(list, "addresses"), 10u);
  EXPECT_GE(Count(list, "routes"), 30u);
  EXPECT_GE(Count(list, "neighbors"), 5u);
  EXPECT_GE(Count(list, "rules"), 15u);
  StopDaemon(*daemon);
}

using AllSchemes = MonitorTest;

TEST_F(AllSchemes, GiveTheSameList) {
  monitor::BuildNetwork();
  auto daemon = StartDaemon({"shm:monitor", "unix:monitor"});
  Outcome shm, unix_;
  // At one revision, which a network that is new still changes.
  for (auto end = steady_clock::now() + milliseconds(5000); steady_clock::now() < end;) {
    shm = Cli({"call", "shm:monitor", kList});
    unix_ = Cli({"call", "unix:monitor", kList});
    if (shm.out == unix_.out) break;
  }
  EXPECT_EQ(shm.code, 0) << shm.err;
  EXPECT_GT(shm.out.size(), 10'000u);
  EXPECT_EQ(shm.out, unix_.out);
  StopDaemon(*daemon);
}

// 3,000 routes page by page, while routes come and go: the pages together are the one revision that the first
// showed.
TEST_P(List, PagesOfALargeListAreOfOneRevision) {
  constexpr int kRoutes = 3000;
  Ip("link set lo up");
  std::string batch;
  for (int i = 0; i < kRoutes; ++i)
    absl::StrAppend(&batch, "route add 10.", 1 + i / 250, ".", i % 250, ".0/24 dev lo\n");
  {
    Process ip({"ip", "-batch", "-"});
    ip.Tell(batch);
    ip.CloseInput();
    ASSERT_EQ(ip.Wait(), 0) << ip.rest(Process::kErr);
  }
  auto daemon = StartDaemon({address()});
  const std::string filter = R"("kinds":["ROUTE"],"pageSize":700)";
  std::set<std::string> seen;
  size_t routes = 0;
  std::string revision, token;
  int pages = 0;
  do {
    const Json page = Call(address(), kList, absl::StrCat("{", filter, R"(,"pageToken":")", token, R"("})"));
    ASSERT_NE(page.Find("revision"), nullptr);
    if (pages++ == 0) revision = page.Find("revision")->string;
    EXPECT_EQ(page.Find("revision")->string, revision);
    EXPECT_LE(Count(page, "routes"), 700u);
    for (const Json& route : page.Find("routes")->list) seen.insert(route.Text());
    routes += Count(page, "routes");
    token = page.Find("nextPageToken") == nullptr ? "" : page.Find("nextPageToken")->string;
    Ip(absl::StrCat("route del 10.", pages, ".7.0/24"));
    Ip(absl::StrCat("route add 10.99.", pages, ".0/24 dev lo"));
  } while (!token.empty() && pages < 20);
  EXPECT_EQ(pages, 5);
  EXPECT_GE(routes, static_cast<size_t>(kRoutes));
  EXPECT_EQ(seen.size(), routes) << "some twice";
  for (const std::string& route : seen) EXPECT_EQ(route.find(R"("dst":"10.99.)"), std::string::npos) << route;
  // As many came as went, once all is taken in.
  Json whole;
  for (auto end = steady_clock::now() + milliseconds(2000); steady_clock::now() < end;) {
    whole = Call(address(), kList, R"({"kinds":["ROUTE"]})");
    if (whole.Text().find(R"("dst":"10.99.5.0/24")") != std::string::npos) break;
  }
  EXPECT_EQ(Count(whole, "routes"), routes);
  EXPECT_NE(whole.Find("revision")->string, revision);
  StopDaemon(*daemon);
}

}  // namespace
}  // namespace ipcrpc::e2e

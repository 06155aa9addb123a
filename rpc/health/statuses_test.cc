#include "rpc/health/statuses.h"

#include <gtest/gtest.h>

#include <vector>

namespace ipcrpc::health {
namespace {

class Noting final : public Watcher {
 public:
  void OnStatus(Serving status) override { told.push_back(status); }
  void OnEnd() override { ended = true; }

  std::vector<Serving> told;
  bool ended = false;
};

using Told = std::vector<Serving>;

TEST(HealthStatuses, TellsWatchersTheStatusAndItsChangesAlone) {
  Statuses statuses;
  Noting watcher;
  statuses.Add("a", &watcher);
  statuses.SetServingStatus("b", true);
  statuses.SetServingStatus("a", true);
  statuses.SetServingStatus("a", true);
  statuses.SetServingStatus(false);
  EXPECT_EQ(watcher.told, (Told{Serving::kServiceUnknown, Serving::kServing, Serving::kNotServing}));
  statuses.Remove("a", &watcher);
  statuses.SetServingStatus("a", true);
  EXPECT_EQ(watcher.told.size(), 3u);
}

TEST(HealthStatuses, ANameThatIsOnlyWatchedStaysUnknown) {
  Statuses statuses;
  Noting watcher;
  statuses.Add("a", &watcher);
  statuses.SetServingStatus(false);
  statuses.Shutdown();
  EXPECT_EQ(statuses.Get("a"), Serving::kServiceUnknown);
  EXPECT_EQ(statuses.Get(""), Serving::kNotServing);
  statuses.Remove("a", &watcher);
  EXPECT_EQ(watcher.told, Told{Serving::kServiceUnknown});
}

TEST(HealthStatuses, NothingServesAfterShutdown) {
  Statuses statuses;
  statuses.SetServingStatus("a", true);
  statuses.Shutdown();
  statuses.SetServingStatus("a", true);
  statuses.SetServingStatus("new", true);
  statuses.SetServingStatus(true);
  for (const char* name : {"", "a", "new"}) EXPECT_EQ(statuses.Get(name), Serving::kNotServing) << name;
}

TEST(HealthStatuses, EndTellsThoseWhoWatchAndThoseWhoCome) {
  Statuses statuses;
  Noting early, late;
  statuses.Add("a", &early);
  statuses.End();
  statuses.Add("a", &late);
  EXPECT_TRUE(early.ended && late.ended);
  statuses.SetServingStatus("a", true);
  EXPECT_EQ(early.told, Told{Serving::kServiceUnknown});
  EXPECT_TRUE(late.told.empty());
}

}  // namespace
}  // namespace ipcrpc::health

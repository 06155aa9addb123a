#include "services/monitor/system_reader.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ipcrpc::monitor {
namespace {

absl::StatusOr<v1::StatusReply> Read(const SystemReader& reader, const v1::GetStatusRequest& request) {
  const auto reading = reader.Read(request);
  if (!reading.ok()) return reading.status();
  return reading->status();
}

// Against what the same kernel says through system calls.
TEST(SystemReaderTest, AgreesWithTheSystemCalls) {
  auto reply = Read(SystemReader(), {});
  ASSERT_TRUE(reply.ok()) << reply.status();
  struct sysinfo info;
  ASSERT_EQ(sysinfo(&info), 0);
  char name[256];
  ASSERT_EQ(gethostname(name, sizeof name), 0);
  EXPECT_EQ(reply->host().hostname(), name);
  EXPECT_NEAR(reply->host().uptime_seconds(), static_cast<double>(info.uptime), 2.0);
  EXPECT_EQ(reply->host().boot_id().size(), 36u);
  EXPECT_GT(reply->host().boot_time().seconds(), 0);
  EXPECT_EQ(reply->memory().total_bytes(), info.totalram * info.mem_unit);
  EXPECT_EQ(reply->cpu().cores_size(), sysconf(_SC_NPROCESSORS_ONLN));
  EXPECT_GT(reply->cpu().total().user_ms() + reply->cpu().total().system_ms(), 0u);

  bool root_found = false;
  struct statvfs root;
  ASSERT_EQ(statvfs("/", &root), 0);
  for (const v1::Mount& mount : reply->mounts()) {
    if (mount.mount_point() != "/" || !mount.has_usage()) continue;
    root_found = true;
    EXPECT_EQ(mount.usage().total_bytes(), root.f_blocks * root.f_frsize);
  }
  EXPECT_TRUE(root_found);
  EXPECT_THAT(reply->networks(), testing::Contains(testing::Property(&v1::NetCounters::ifname, "lo")));
}

TEST(SystemReaderTest, GivesTheSectionsAskedFor) {
  v1::GetStatusRequest request;
  request.add_sections(v1::MEMORY);
  auto reply = Read(SystemReader(), request);
  ASSERT_TRUE(reply.ok());
  EXPECT_TRUE(reply->has_memory());
  EXPECT_TRUE(reply->has_time());
  EXPECT_FALSE(reply->has_cpu());
  EXPECT_FALSE(reply->has_host());
  EXPECT_EQ(reply->mounts_size(), 0);
}

TEST(SystemReaderTest, RefusesASectionThatDoesNotExist) {
  v1::GetStatusRequest request;
  request.add_sections(static_cast<v1::StatusSection>(99));
  auto reply = Read(SystemReader(), request);
  EXPECT_EQ(reply.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(reply.status().message()), testing::HasSubstr("99"));
}

TEST(WatchIntervalTest, HasADefaultAndLimits) {
  v1::WatchStatusRequest request;
  EXPECT_EQ(*WatchInterval(request), std::chrono::seconds(1));
  auto of = [&](int64_t seconds, int32_t nanos) {
    request.mutable_interval()->set_seconds(seconds);
    request.mutable_interval()->set_nanos(nanos);
    return WatchInterval(request);
  };
  EXPECT_EQ(*of(0, 10'000'000), std::chrono::milliseconds(10));
  EXPECT_EQ(*of(86'400, 0), std::chrono::hours(24));
  for (auto [seconds, nanos] : {std::pair<int64_t, int32_t>{0, 9'999'999}, {86'400, 1}, {-1, 0}, {1, -1},
                                {0, 0}, {0, 2'000'000'000}, {INT64_MAX, 0}, {INT64_MIN, 0}}) {
    EXPECT_EQ(of(seconds, nanos).status().code(), absl::StatusCode::kInvalidArgument) << seconds << " " << nanos;
  }
}

// A kernel that has none of it.
TEST(SystemReaderTest, WhatIsNotThereIsAbsent) {
  std::string directory = testing::TempDir() + "ipcrpc-system-XXXXXX";
  ASSERT_NE(mkdtemp(directory.data()), nullptr);
  std::filesystem::create_directories(directory + "/proc");
  std::ofstream(directory + "/proc/meminfo") << "MemTotal: 10 kB\nSwapTotal: 0 kB\n";
  auto reply = Read(SystemReader(directory), {});
  std::filesystem::remove_all(directory);
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->memory().total_bytes(), 10240u);
  EXPECT_FALSE(reply->memory().has_swap());
  EXPECT_FALSE(reply->has_pressure());
  EXPECT_FALSE(reply->has_cpu());
  EXPECT_FALSE(reply->host().has_load());
  EXPECT_EQ(reply->disks_size(), 0);
}

}  // namespace
}  // namespace ipcrpc::monitor

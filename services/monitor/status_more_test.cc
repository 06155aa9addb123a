// Rates, processes, cgroups and temperatures of the status.
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/monitor/parse_process.h"
#include "services/monitor/rates.h"
#include "services/monitor/system_reader.h"

namespace ipcrpc::monitor {
namespace {

using testing::HasSubstr;

v1::StatusReply At(uint64_t ms) {
  v1::StatusReply reply;
  reply.set_monotonic_ns(ms * 1'000'000);
  return reply;
}

TEST(RatesTest, AreOverTheTimeThatWasReallyBetween) {
  v1::StatusReply before = At(1000), now = At(3500);
  v1::NetCounters* a = before.add_networks();
  a->set_ifname("eth0");
  a->set_rx_bytes(1000);
  v1::NetCounters* b = now.add_networks();
  b->set_ifname("eth0");
  b->set_rx_bytes(6000);
  b->set_tx_packets(5);
  const v1::Rates rates = RatesBetween(before, now);
  EXPECT_DOUBLE_EQ(rates.seconds(), 2.5);
  ASSERT_EQ(rates.networks_size(), 1);
  EXPECT_DOUBLE_EQ(rates.networks(0).rx_bytes_per_second(), 2000);
  EXPECT_DOUBLE_EQ(rates.networks(0).tx_packets_per_second(), 2);
  EXPECT_FALSE(rates.has_cpu());
  // No time between: no rates.
  EXPECT_EQ(RatesBetween(now, now).ShortDebugString(), "");
}

TEST(RatesTest, WhatBeganAnewOrIsNewHasNone) {
  v1::StatusReply before = At(0), now = At(1000);
  const auto add = [](v1::StatusReply* reply, const char* name, uint64_t bytes) {
    reply->add_networks()->set_ifname(name);
    reply->mutable_networks()->rbegin()->set_tx_bytes(bytes);
    reply->add_disks()->set_name(name);
    reply->mutable_disks()->rbegin()->set_read_bytes(bytes);
  };
  add(&before, "made-anew", 500);
  add(&before, "gone", 500);
  add(&before, "there", 500);
  add(&now, "made-anew", 10);
  add(&now, "there", 1500);
  add(&now, "new", 10);
  const v1::Rates rates = RatesBetween(before, now);
  ASSERT_EQ(rates.networks_size(), 1);
  EXPECT_EQ(rates.networks(0).ifname(), "there");
  ASSERT_EQ(rates.disks_size(), 1);
  EXPECT_EQ(rates.disks(0).name(), "there");
  EXPECT_DOUBLE_EQ(rates.disks(0).read_bytes_per_second(), 1000);
}

TEST(RatesTest, OfProcessorsAreShares) {
  v1::StatusReply before = At(0), now = At(1000);
  const auto core = [](v1::StatusReply* reply, uint32_t number, uint64_t user, uint64_t idle, uint64_t iowait) {
    v1::CpuCore* added = reply->mutable_cpu()->add_cores();
    added->set_cpu(number);
    added->mutable_times()->set_user_ms(user);
    added->mutable_times()->set_idle_ms(idle);
    added->mutable_times()->set_iowait_ms(iowait);
  };
  core(&before, 0, 100, 100, 50);
  core(&before, 2, 0, 0, 0);
  core(&now, 0, 350, 800, 40);  // iowait may run backwards
  core(&now, 1, 1, 1, 1);       // came on line
  before.mutable_cpu()->set_context_switches(10);
  now.mutable_cpu()->set_context_switches(510);
  const v1::Rates rates = RatesBetween(before, now);
  ASSERT_EQ(rates.cores_size(), 1);
  EXPECT_EQ(rates.cores(0).cpu(), 0u);
  EXPECT_NEAR(rates.cores(0).busy(), 250.0 / 950, 1e-9);
  EXPECT_DOUBLE_EQ(rates.cores(0).iowait(), 0);
  EXPECT_FALSE(rates.cores(0).has_steal());
  EXPECT_DOUBLE_EQ(rates.context_switches_per_second(), 500);
}

TEST(ParseProcessTest, ANameMayHaveAnythingInIt) {
  v1::Process process;
  ASSERT_TRUE(ParseProcess("42 (a) R (b 7)) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 20 0 3 0 9000 4096 100 18446744073709551615",
                           100, 4096, &process));
  EXPECT_EQ(process.pid(), 42u);
  EXPECT_EQ(process.name(), "a) R (b 7)");
  EXPECT_EQ(process.state(), "S");
  EXPECT_EQ(process.parent_pid(), 1u);
  EXPECT_EQ(process.cpu_ms(), 3000u);
  EXPECT_EQ(process.threads(), 3u);
  EXPECT_EQ(process.start_ms(), 90'000u);
  EXPECT_EQ(process.resident_bytes(), 409'600u);
}

TEST(ParseProcessTest, WhatIsNoProcessIsRefused) {
  v1::Process process;
  for (const char* text : {"", "42", "42 (a", "42 (a)", ") (", "42 (a) S 1 2 3", "x (a) S 1 2 3 4 5 6 7 8 9 10 1 1 1 1 1 1 1 1 1 1 1 1"}) {
    EXPECT_FALSE(ParseProcess(text, 100, 4096, &process)) << text;
  }
}

// A /proc and a /sys of the test's own.
class StatusTreeTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "ipcrpc-status-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void Write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  v1::StatusReply Read(const v1::GetStatusRequest& request) const {
    auto reading = SystemReader(root_).Read(request);
    EXPECT_TRUE(reading.ok()) << reading.status();
    return reading.ok() ? reading->status() : v1::StatusReply();
  }
  std::string root_;
};

TEST_F(StatusTreeTest, ACgroupOfVersion2) {
  const std::string group = "/sys/fs/cgroup/system.slice/cron.service/";
  Write(group + "cgroup.procs", "");
  Write(group + "cpu.stat", "usage_usec 700\nuser_usec 500\nsystem_usec 200\nnr_throttled 3\n");
  Write(group + "memory.current", "4096\n");
  Write(group + "memory.max", "max\n");
  Write(group + "memory.events", "low 0\noom 2\noom_kill 1\n");
  Write(group + "io.stat", "8:0 rbytes=100 wbytes=200 rios=1\n8:16 rbytes=1 wbytes=2\n");
  Write(group + "cpu.pressure", "some avg10=1.50 avg60=0.00 avg300=0.00 total=77\n");
  v1::GetStatusRequest request;
  request.set_cgroup("/system.slice/cron.service");
  const v1::Cgroup cgroup = Read(request).cgroup();
  EXPECT_EQ(cgroup.path(), "/system.slice/cron.service");
  EXPECT_EQ(cgroup.cpu_usage_us(), 700u);
  EXPECT_EQ(cgroup.cpu_throttled_periods(), 3u);
  EXPECT_EQ(cgroup.memory_bytes(), 4096u);
  EXPECT_EQ(cgroup.oom_kills(), 1u);
  EXPECT_EQ(cgroup.read_bytes(), 101u);
  EXPECT_EQ(cgroup.written_bytes(), 202u);
  EXPECT_EQ(cgroup.pressure().cpu().some().total_us(), 77u);
  // Absent, not zero.
  EXPECT_FALSE(cgroup.has_memory_max_bytes());
  EXPECT_FALSE(cgroup.has_cpu_periods());
  EXPECT_FALSE(cgroup.has_tasks());
  EXPECT_FALSE(cgroup.pressure().has_memory());
}

TEST_F(StatusTreeTest, ACgroupOfVersion1) {
  Write("/sys/fs/cgroup/memory/app/cgroup.procs", "");
  Write("/sys/fs/cgroup/memory/app/memory.usage_in_bytes", "8192\n");
  Write("/sys/fs/cgroup/memory/app/memory.limit_in_bytes", "9223372036854771712\n");
  Write("/sys/fs/cgroup/cpuacct/app/cgroup.procs", "");
  Write("/sys/fs/cgroup/cpuacct/app/cpuacct.usage", "5000000\n");
  v1::GetStatusRequest request;
  request.set_cgroup("/app");
  const v1::Cgroup cgroup = Read(request).cgroup();
  EXPECT_EQ(cgroup.memory_bytes(), 8192u);
  EXPECT_FALSE(cgroup.has_memory_max_bytes());
  EXPECT_EQ(cgroup.cpu_usage_us(), 5000u);
}

TEST_F(StatusTreeTest, AWrongCgroupIsAClearError) {
  const auto refusal = [&](const std::string& path) {
    v1::GetStatusRequest request;
    request.set_cgroup(path);
    return SystemReader(root_).Read(request).status();
  };
  Write("/secret/cgroup.procs", "");
  EXPECT_EQ(refusal("/none").code(), absl::StatusCode::kNotFound);
  for (const char* path : {"/../../../secret", "relative", "/a/..", ".."}) {
    EXPECT_EQ(refusal(path).code(), absl::StatusCode::kInvalidArgument) << path;
    EXPECT_THAT(std::string(refusal(path).message()), HasSubstr("expected a path")) << path;
  }
}

TEST_F(StatusTreeTest, TemperaturesOfChipsAndOfZonesThatNoChipHas) {
  Write("/sys/class/hwmon/hwmon0/name", "coretemp\n");
  Write("/sys/class/hwmon/hwmon0/temp1_input", "45500\n");
  Write("/sys/class/hwmon/hwmon0/temp1_label", "Package id 0\n");
  Write("/sys/class/hwmon/hwmon0/temp1_crit", "100000\n");
  Write("/sys/class/hwmon/hwmon0/temp2_label", "does not answer\n");
  Write("/sys/class/thermal/thermal_zone0/type", "coretemp\n");
  Write("/sys/class/thermal/thermal_zone0/temp", "45000\n");
  Write("/sys/class/thermal/thermal_zone1/type", "acpitz\n");
  Write("/sys/class/thermal/thermal_zone1/temp", "-5000\n");
  v1::GetStatusRequest request;
  request.add_sections(v1::TEMPERATURES);
  const v1::StatusReply reply = Read(request);
  ASSERT_EQ(reply.temperatures_size(), 2);
  EXPECT_EQ(reply.temperatures(0).label(), "Package id 0");
  EXPECT_DOUBLE_EQ(reply.temperatures(0).celsius(), 45.5);
  EXPECT_DOUBLE_EQ(reply.temperatures(0).critical_celsius(), 100);
  EXPECT_FALSE(reply.temperatures(0).has_max_celsius());
  EXPECT_EQ(reply.temperatures(1).source(), "acpitz");
  EXPECT_DOUBLE_EQ(reply.temperatures(1).celsius(), -5);
}

// The kernel's own: a process that does nothing but compute is the first of all, with the time it really used.
TEST(SystemReaderMoreTest, TheProcessThatComputesIsTheFirst) {
  const pid_t busy = fork();
  if (busy == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (;;) asm volatile("");
  }
  ASSERT_GT(busy, 0);
  v1::GetStatusRequest request;
  request.add_sections(v1::CPU);
  request.set_top_processes(1000);
  const SystemReader reader;
  const auto before = reader.Read(request);
  ASSERT_TRUE(before.ok());
  EXPECT_FALSE(StatusOf(*before, nullptr, 0).has_rates());
  double cpu = 0, more = 0;
  for (int attempt = 0; attempt < 100 && cpu <= 0.05; ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    const auto reading = reader.Read(request);
    ASSERT_TRUE(reading.ok());
    const v1::StatusReply now = StatusOf(*reading, &*before, request.top_processes());
    EXPECT_GE(now.rates().seconds(), 0.1);
    EXPECT_GT(now.rates().cpu().busy(), 0);
    for (int i = 0; i + 1 < now.processes_size(); ++i) EXPECT_GE(now.processes(i).cpu(), now.processes(i + 1).cpu());
    for (const v1::Process& process : now.processes()) {
      if (process.pid() != static_cast<uint32_t>(busy)) continue;
      cpu = process.cpu();
      more = process.cpu() * now.rates().seconds() - static_cast<double>(process.cpu_ms()) / 1000;
      EXPECT_EQ(process.parent_pid(), static_cast<uint32_t>(getpid()));
      EXPECT_EQ(process.uid(), getuid());
    }
  }
  EXPECT_GT(cpu, 0.05);
  EXPECT_LE(more, 1e-6);  // no more than it has used at all
  EXPECT_LE(cpu, 1.3);    // one thread; the kernel counts in ticks
  kill(busy, SIGKILL);
  waitpid(busy, nullptr, 0);
  EXPECT_EQ(StatusOf(*before, nullptr, 3).processes_size(), 3);
}

}  // namespace
}  // namespace ipcrpc::monitor

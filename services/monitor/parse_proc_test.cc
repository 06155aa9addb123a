#include "services/monitor/parse_proc.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ipcrpc::monitor {
namespace {

// As read on Linux 6.18.
constexpr char kStat[] =
    "cpu  104748 39893 20280 313172 477 0 77 71 0 0\n"
    "cpu0 56445 26233 10750 145919 33 0 19 36 0 0\n"
    "cpu1 48302 13659 9529 167252 443 0 57 35 0 0\n"
    "intr 705826 0 0 0 0 0 0 0 0 1 1 15 0\n"
    "ctxt 684800\n"
    "btime 1795391158\n"
    "processes 19264\n"
    "procs_running 3\n"
    "procs_blocked 1\n"
    "softirq 326954 0 50498 68 850 94846 0 2 95684 0 85006\n";

TEST(ParseStatTest, TimesBecomeMilliseconds) {
  v1::Cpu cpu;
  int64_t boot_time = 0;
  ASSERT_TRUE(ParseStat(kStat, 100, &cpu, &boot_time));
  EXPECT_EQ(cpu.total().user_ms(), 1'047'480u);
  EXPECT_EQ(cpu.total().idle_ms(), 3'131'720u);
  EXPECT_EQ(cpu.total().steal_ms(), 710u);
  EXPECT_TRUE(cpu.total().has_guest_nice_ms());
  ASSERT_EQ(cpu.cores_size(), 2);
  EXPECT_EQ(cpu.cores(1).cpu(), 1u);
  EXPECT_EQ(cpu.cores(1).times().system_ms(), 95'290u);
  EXPECT_EQ(cpu.context_switches(), 684'800u);
  EXPECT_EQ(cpu.forks(), 19'264u);
  EXPECT_EQ(cpu.running(), 3u);
  EXPECT_EQ(cpu.blocked(), 1u);
  EXPECT_EQ(cpu.interrupts(), 705'826u);
  EXPECT_EQ(cpu.softirqs(), 326'954u);
  EXPECT_EQ(boot_time, 1'795'391'158);
}

TEST(ParseStatTest, WhatAnOldKernelLacksIsAbsent) {
  v1::Cpu cpu;
  int64_t boot_time = 0;
  ASSERT_TRUE(ParseStat("cpu  1 2 3 4\ncpu0 1 2 3 4\n", 100, &cpu, &boot_time));
  EXPECT_FALSE(cpu.total().has_iowait_ms());
  EXPECT_FALSE(cpu.has_interrupts());
  EXPECT_EQ(boot_time, 0);
}

TEST(ParseStatTest, WithoutTotalThereIsNothing) {
  v1::Cpu cpu;
  int64_t boot_time = 0;
  EXPECT_FALSE(ParseStat("", 100, &cpu, &boot_time));
  EXPECT_FALSE(ParseStat("cpu  1 2 x 4\n", 100, &cpu, &boot_time));
  EXPECT_FALSE(ParseStat("cpu  1 2 3\n", 100, &cpu, &boot_time));
}

TEST(ParseLoadTest, ReadsAveragesAndTasks) {
  v1::Load load;
  ASSERT_TRUE(ParseLoad("1.36 1.50 1.12 2/98 19261\n", &load));
  EXPECT_DOUBLE_EQ(load.avg1(), 1.36);
  EXPECT_DOUBLE_EQ(load.avg15(), 1.12);
  EXPECT_EQ(load.runnable(), 2u);
  EXPECT_EQ(load.tasks(), 98u);
  EXPECT_FALSE(ParseLoad("", &load));
  EXPECT_FALSE(ParseLoad("1.36 1.50 1.12 298 19261\n", &load));
  EXPECT_FALSE(ParseLoad("1.36 x 1.12 2/98 19261\n", &load));
}

TEST(ParseUptimeTest, ReadsTheFirstNumber) {
  double seconds = 0;
  ASSERT_TRUE(ParseUptime("4823.01 8033.55\n", &seconds));
  EXPECT_DOUBLE_EQ(seconds, 4823.01);
  EXPECT_FALSE(ParseUptime("\n", &seconds));
}

constexpr char kMeminfo[] =
    "MemTotal:       24684092 kB\nMemFree:        18000000 kB\nMemAvailable:   20000000 kB\n"
    "Buffers:            1000 kB\nCached:          2000000 kB\nSwapCached:           12 kB\n"
    "SwapTotal:       1048576 kB\nSwapFree:         524288 kB\nDirty:               100 kB\n"
    "HugePages_Total:       4\nHugePages_Free:        3\nHugepagesize:       2048 kB\n";

TEST(ParseMemoryTest, KilobytesBecomeBytes) {
  v1::Memory memory;
  memory.mutable_swap();
  ASSERT_TRUE(ParseMemory(kMeminfo, &memory));
  EXPECT_EQ(memory.total_bytes(), 24'684'092u * 1024ull);
  EXPECT_EQ(memory.available_bytes(), 20'000'000u * 1024ull);
  EXPECT_EQ(memory.swap().total_bytes(), 1ull << 30);
  EXPECT_EQ(memory.swap().free_bytes(), 1ull << 29);
  EXPECT_EQ(memory.swap().cached_bytes(), 12u * 1024);
  EXPECT_EQ(memory.hugepages_total(), 4u);
  EXPECT_EQ(memory.hugepage_size_bytes(), 2u << 20);
  EXPECT_FALSE(memory.has_shmem_bytes());
}

TEST(ParseMemoryTest, NoSwapWhereThereIsNone) {
  v1::Memory memory;
  ASSERT_TRUE(ParseMemory(kMeminfo, &memory));
  EXPECT_FALSE(memory.has_swap());
  EXPECT_FALSE(ParseMemory("MemFree: 1 kB\n", &memory));
}

TEST(ParseSwapsTest, HeadingIsNoArea) {
  v1::SwapSpace swap;
  ParseSwaps("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
             "/dev/sda2                               partition\t1048572\t\t524288\t\t-2\n"
             "/swap\\040file                           file\t\t8188\t\t0\t\t5\n",
             &swap);
  ASSERT_EQ(swap.areas_size(), 2);
  EXPECT_EQ(swap.areas(0).path(), "/dev/sda2");
  EXPECT_EQ(swap.areas(0).size_bytes(), 1'048'572u * 1024ull);
  EXPECT_EQ(swap.areas(0).priority(), -2);
  EXPECT_EQ(swap.areas(1).path(), "/swap file");
  EXPECT_EQ(swap.areas(1).type(), "file");
}

TEST(ParsePressureTest, SomeAndFull) {
  v1::PressureResource resource;
  ASSERT_TRUE(ParsePressure("some avg10=4.08 avg60=11.44 avg300=13.34 total=129812000\n"
                            "full avg10=0.00 avg60=0.00 avg300=0.25 total=7\n", &resource));
  EXPECT_DOUBLE_EQ(resource.some().avg60(), 11.44);
  EXPECT_EQ(resource.some().total_us(), 129'812'000u);
  EXPECT_DOUBLE_EQ(resource.full().avg300(), 0.25);
}

TEST(ParsePressureTest, ACpuFileOfLinux512HasNoFull) {
  v1::PressureResource resource;
  ASSERT_TRUE(ParsePressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n", &resource));
  EXPECT_FALSE(resource.has_full());
  v1::PressureResource none;
  EXPECT_FALSE(ParsePressure("", &none));
  EXPECT_FALSE(ParsePressure("some avg10=0.00 total=0\n", &none));
}

TEST(ParseDisksTest, SectorsBecomeBytesAndOldLinesAreShorter) {
  google::protobuf::RepeatedPtrField<v1::Disk> disks;
  ParseDisks(" 254       0 vda 100 2 3000 40 500 6 7000 80 9 10 11 12 13 14 15 16 17\n"
             "   8       0 sda 1 2 3 4 5 6 7 8 9 10 11\n"
             "   8       1 sda1 1 2 3\n"
             "broken\n", &disks);
  ASSERT_EQ(disks.size(), 2);
  EXPECT_EQ(disks[0].name(), "vda");
  EXPECT_EQ(disks[0].major(), 254u);
  EXPECT_EQ(disks[0].reads(), 100u);
  EXPECT_EQ(disks[0].read_bytes(), 3000u * 512);
  EXPECT_EQ(disks[0].written_bytes(), 7000u * 512);
  EXPECT_EQ(disks[0].in_flight(), 9u);
  EXPECT_EQ(disks[0].weighted_io_ms(), 11u);
  EXPECT_EQ(disks[0].discards(), 12u);
  EXPECT_EQ(disks[0].discarded_bytes(), 14u * 512);
  EXPECT_EQ(disks[0].discard_ms(), 15u);
  EXPECT_EQ(disks[0].flushes(), 16u);
  EXPECT_EQ(disks[0].flush_ms(), 17u);
  EXPECT_FALSE(disks[1].has_discards());
}

TEST(ParseMountsTest, TagsAreSkippedAndEscapesUndone) {
  google::protobuf::RepeatedPtrField<v1::Mount> mounts;
  std::vector<std::string> paths;
  ParseMounts("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n"
              "36 35 98:0 /mnt1 /a\\040b\\134c rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue\n"
              "40 27 0:5 / /x rw - tmpfs none\n"
              "41 27 0:5 / /y rw\n"
              "x y z\n", &mounts, &paths);
  ASSERT_EQ(mounts.size(), 3);
  EXPECT_EQ(mounts[0].mount_point(), "/");
  EXPECT_EQ(mounts[0].fs_type(), "ext4");
  EXPECT_EQ(mounts[0].source(), "/dev/vda");
  EXPECT_EQ(mounts[0].super_options(), "rw,discard");
  EXPECT_EQ(mounts[1].mount_point(), "/a b\\c");
  EXPECT_EQ(mounts[1].root(), "/mnt1");
  EXPECT_EQ(mounts[1].major(), 98u);
  EXPECT_EQ(mounts[2].super_options(), "");
  EXPECT_EQ(paths[1], "/a b\\c");
  ParseMounts("42 27 0:5 / /\xff rw - tmpfs none\n", &mounts, &paths);
  EXPECT_EQ(mounts[3].mount_point(), "/\\xff");
  EXPECT_EQ(paths[3], "/\xff");
}

TEST(ParseNetCountersTest, NamesMayHoldColons) {
  google::protobuf::RepeatedPtrField<v1::NetCounters> counters;
  ParseNetCounters("Inter-|   Receive                            |  Transmit\n"
                   " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
                   "fifo colls carrier compressed\n"
                   "    lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
                   "v0:x:100 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"
                   "  bad: 1 2 3\n", &counters);
  ASSERT_EQ(counters.size(), 2);
  EXPECT_EQ(counters[0].ifname(), "lo");
  EXPECT_EQ(counters[0].rx_multicast(), 8u);
  EXPECT_EQ(counters[0].tx_bytes(), 9u);
  EXPECT_EQ(counters[0].tx_compressed(), 16u);
  EXPECT_EQ(counters[1].ifname(), "v0:x");
  EXPECT_EQ(counters[1].rx_bytes(), 100u);
}

// Every cut and every changed byte of every file: nothing but absence may come of it.
TEST(ParseProcTest, BrokenTextDoesNoHarm) {
  const std::string texts[] = {kStat, kMeminfo, "1.36 1.50 1.12 2/98 19261\n",
                               "36 35 98:0 /m /a\\040b rw,x master:1 - ext3 /dev/r rw\n",
                               "254 0 vda 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17\n",
                               "lo: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n",
                               "some avg10=4.08 avg60=11.44 avg300=13.34 total=129812000\n"};
  auto parse_all = [](const std::string& text) {
    v1::StatusReply reply;
    int64_t boot_time;
    double uptime;
    ParseStat(text, 100, reply.mutable_cpu(), &boot_time);
    ParseLoad(text, reply.mutable_host()->mutable_load());
    ParseUptime(text, &uptime);
    reply.mutable_memory()->mutable_swap();
    ParseMemory(text, reply.mutable_memory());
    ParseSwaps(text, reply.mutable_memory()->mutable_swap());
    ParsePressure(text, reply.mutable_pressure()->mutable_cpu());
    ParseDisks(text, reply.mutable_disks());
    std::vector<std::string> paths;
    ParseMounts(text, reply.mutable_mounts(), &paths);
    ParseNetCounters(text, reply.mutable_networks());
    // Readable again: no string that is not UTF-8.
    v1::StatusReply copy;
    EXPECT_TRUE(copy.ParseFromString(reply.SerializeAsString()));
  };
  for (const std::string& text : texts) {
    for (size_t i = 0; i < text.size(); ++i) {
      parse_all(text.substr(0, i));
      for (char byte : {'\0', ' ', '\n', '9', '-', ':', '\\', '\xff'}) {
        std::string changed = text;
        changed[i] = byte;
        parse_all(changed);
      }
    }
  }
}

}  // namespace
}  // namespace ipcrpc::monitor

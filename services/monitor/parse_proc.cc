#include "services/monitor/parse_proc.h"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "services/monitor/text.h"

namespace ipcrpc::monitor {
namespace {

// Debian's Abseil has a string_view of its own.
absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

using Words = std::vector<absl::string_view>;

Words SplitWords(absl::string_view line) { return absl::StrSplit(line, absl::ByAnyChar(" \t"), absl::SkipEmpty()); }

std::vector<absl::string_view> Lines(std::string_view text) {
  return absl::StrSplit(Abseil(text), '\n', absl::SkipEmpty());
}

// All words from `first` on as numbers; false if one is none.
template <typename Number>
bool Numbers(const Words& words, size_t first, std::vector<Number>* out) {
  out->clear();
  for (size_t i = first; i < words.size(); ++i) {
    Number number;
    if (!absl::SimpleAtoi(words[i], &number)) return false;
    out->push_back(number);
  }
  return true;
}

// Setters for the numbers of a line, in their order; those that the line has not are not called.
template <typename Message>
using Setter = void (Message::*)(uint64_t);

template <typename Message, size_t N>
void SetInOrder(const std::vector<uint64_t>& numbers, const Setter<Message> (&setters)[N], Message* out) {
  for (size_t i = 0; i < N && i < numbers.size(); ++i) {
    // Through a copy: gcc 12's bounds check goes astray in (out->*setters[i])(…).
    Setter<Message> set = setters[i];
    (out->*set)(numbers[i]);
  }
}

bool ParseCpuTimes(const Words& words, long ticks_per_second, v1::CpuTimes* out) {
  static constexpr Setter<v1::CpuTimes> kSetters[] = {
      &v1::CpuTimes::set_user_ms,   &v1::CpuTimes::set_nice_ms,  &v1::CpuTimes::set_system_ms,
      &v1::CpuTimes::set_idle_ms,   &v1::CpuTimes::set_iowait_ms, &v1::CpuTimes::set_irq_ms,
      &v1::CpuTimes::set_softirq_ms, &v1::CpuTimes::set_steal_ms, &v1::CpuTimes::set_guest_ms,
      &v1::CpuTimes::set_guest_nice_ms};
  std::vector<uint64_t> times;
  if (ticks_per_second <= 0 || !Numbers(words, 1, &times) || times.size() < 4) return false;
  for (uint64_t& time : times) time = time * 1000 / static_cast<uint64_t>(ticks_per_second);
  SetInOrder(times, kSetters, out);
  return true;
}

// mountinfo writes blanks and backslashes in octal: "\040".
std::string Unescape(absl::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    auto digit = [&](size_t offset, char max) {
      return i + offset < text.size() && text[i + offset] >= '0' && text[i + offset] <= max;
    };
    if (text[i] == '\\' && digit(1, '3') && digit(2, '7') && digit(3, '7')) {
      out.push_back(static_cast<char>((text[i + 1] - '0') * 64 + (text[i + 2] - '0') * 8 + (text[i + 3] - '0')));
      i += 3;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

bool ParseDevice(absl::string_view text, uint32_t* major, uint32_t* minor) {
  std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  return absl::SimpleAtoi(parts.first, major) && absl::SimpleAtoi(parts.second, minor);
}

// A word of a file for a message.
std::string Text(absl::string_view word) { return ValidUtf8({word.data(), word.size()}); }

bool ParseMount(absl::string_view line, v1::Mount* out, std::string* path) {
  Words words = SplitWords(line);
  // ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAGS…] - TYPE SOURCE SUPER-OPTIONS
  size_t dash = 6;
  while (dash < words.size() && words[dash] != "-") ++dash;
  if (dash + 2 >= words.size()) return false;
  uint32_t id, parent, major, minor;
  if (!absl::SimpleAtoi(words[0], &id) || !absl::SimpleAtoi(words[1], &parent) ||
      !ParseDevice(words[2], &major, &minor)) {
    return false;
  }
  out->set_mount_id(id);
  out->set_parent_id(parent);
  out->set_major(major);
  out->set_minor(minor);
  *path = Unescape(words[4]);
  out->set_root(Text(Unescape(words[3])));
  out->set_mount_point(Text(*path));
  out->set_options(Text(words[5]));
  out->set_fs_type(Text(Unescape(words[dash + 1])));
  out->set_source(Text(Unescape(words[dash + 2])));
  if (dash + 3 < words.size()) out->set_super_options(Text(words[dash + 3]));
  return true;
}

// "avg10=1.23" and the like.
bool ParsePressureLine(const Words& words, v1::PressureLine* out) {
  int found = 0;
  for (size_t i = 1; i < words.size(); ++i) {
    std::pair<absl::string_view, absl::string_view> parts = absl::StrSplit(words[i], absl::MaxSplits('=', 1));
    double average;
    uint64_t total;
    if (parts.first == "total" && absl::SimpleAtoi(parts.second, &total)) {
      out->set_total_us(total);
      ++found;
    } else if (absl::SimpleAtod(parts.second, &average)) {
      if (parts.first == "avg10") out->set_avg10(average), ++found;
      if (parts.first == "avg60") out->set_avg60(average), ++found;
      if (parts.first == "avg300") out->set_avg300(average), ++found;
    }
  }
  return found == 4;
}

}  // namespace

bool ParseLoad(std::string_view text, v1::Load* out) {
  Words words = SplitWords(Abseil(text.substr(0, text.find('\n'))));
  double averages[3];
  if (words.size() < 4) return false;
  for (size_t i = 0; i < 3; ++i) {
    if (!absl::SimpleAtod(words[i], &averages[i])) return false;
  }
  std::pair<absl::string_view, absl::string_view> tasks = absl::StrSplit(words[3], absl::MaxSplits('/', 1));
  uint32_t runnable, all;
  if (!absl::SimpleAtoi(tasks.first, &runnable) || !absl::SimpleAtoi(tasks.second, &all)) return false;
  out->set_avg1(averages[0]);
  out->set_avg5(averages[1]);
  out->set_avg15(averages[2]);
  out->set_runnable(runnable);
  out->set_tasks(all);
  return true;
}

bool ParseUptime(std::string_view text, double* seconds) {
  Words words = SplitWords(Abseil(text.substr(0, text.find('\n'))));
  return !words.empty() && absl::SimpleAtod(words[0], seconds);
}

bool ParseStat(std::string_view text, long ticks_per_second, v1::Cpu* out, int64_t* boot_time) {
  bool total = false;
  for (absl::string_view line : Lines(text)) {
    // The line of interrupts has thousands of numbers, of which the first is the sum.
    Words words = absl::StrSplit(line.substr(0, 1024), absl::ByAnyChar(" \t"), absl::SkipEmpty());
    if (words.size() < 2) continue;
    absl::string_view key = words[0];
    uint64_t number = 0;
    uint32_t cpu;
    v1::CpuTimes times;
    bool numeric = absl::SimpleAtoi(words[1], &number);
    if (key == "cpu") {
      if (ParseCpuTimes(words, ticks_per_second, &times)) *out->mutable_total() = times, total = true;
    } else if (absl::ConsumePrefix(&key, "cpu")) {
      if (!absl::SimpleAtoi(key, &cpu) || !ParseCpuTimes(words, ticks_per_second, &times)) continue;
      out->add_cores()->set_cpu(cpu);
      *out->mutable_cores(out->cores_size() - 1)->mutable_times() = times;
    } else if (!numeric) {
      continue;
    } else if (key == "ctxt") {
      out->set_context_switches(number);
    } else if (key == "processes") {
      out->set_forks(number);
    } else if (key == "procs_running") {
      out->set_running(static_cast<uint32_t>(number));
    } else if (key == "procs_blocked") {
      out->set_blocked(static_cast<uint32_t>(number));
    } else if (key == "intr") {
      out->set_interrupts(number);
    } else if (key == "softirq") {
      out->set_softirqs(number);
    } else if (key == "btime") {
      *boot_time = static_cast<int64_t>(number);
    }
  }
  return total;
}

bool ParseMemory(std::string_view text, v1::Memory* out) {
  struct Field {
    absl::string_view key;
    Setter<v1::Memory> set;
  };
  static constexpr Field kFields[] = {{"MemTotal", &v1::Memory::set_total_bytes},
                                      {"MemFree", &v1::Memory::set_free_bytes},
                                      {"MemAvailable", &v1::Memory::set_available_bytes},
                                      {"Buffers", &v1::Memory::set_buffers_bytes},
                                      {"Cached", &v1::Memory::set_cached_bytes},
                                      {"Shmem", &v1::Memory::set_shmem_bytes},
                                      {"Slab", &v1::Memory::set_slab_bytes},
                                      {"SReclaimable", &v1::Memory::set_slab_reclaimable_bytes},
                                      {"Dirty", &v1::Memory::set_dirty_bytes},
                                      {"Writeback", &v1::Memory::set_writeback_bytes},
                                      {"AnonPages", &v1::Memory::set_anon_bytes},
                                      {"Mapped", &v1::Memory::set_mapped_bytes},
                                      {"Committed_AS", &v1::Memory::set_committed_bytes},
                                      {"CommitLimit", &v1::Memory::set_commit_limit_bytes},
                                      {"HugePages_Total", &v1::Memory::set_hugepages_total},
                                      {"HugePages_Free", &v1::Memory::set_hugepages_free},
                                      {"Hugepagesize", &v1::Memory::set_hugepage_size_bytes}};
  bool total = false;
  for (absl::string_view line : Lines(text)) {
    Words words = SplitWords(line);
    uint64_t number;
    if (words.size() < 2 || !absl::ConsumeSuffix(&words[0], ":") || !absl::SimpleAtoi(words[1], &number)) continue;
    if (words.size() > 2 && words[2] == "kB") number *= 1024;
    for (const Field& field : kFields) {
      if (words[0] == field.key) (out->*field.set)(number);
    }
    total |= words[0] == "MemTotal";
    if (!out->has_swap()) continue;
    if (words[0] == "SwapTotal") out->mutable_swap()->set_total_bytes(number);
    if (words[0] == "SwapFree") out->mutable_swap()->set_free_bytes(number);
    if (words[0] == "SwapCached") out->mutable_swap()->set_cached_bytes(number);
  }
  return total;
}

void ParseSwaps(std::string_view text, v1::SwapSpace* out) {
  for (absl::string_view line : Lines(text)) {
    Words words = SplitWords(line);
    uint64_t size, used;
    int32_t priority;
    // The first line has the headings.
    if (words.size() < 5 || !absl::SimpleAtoi(words[2], &size) || !absl::SimpleAtoi(words[3], &used) ||
        !absl::SimpleAtoi(words[4], &priority)) {
      continue;
    }
    v1::SwapArea* area = out->add_areas();
    area->set_path(Text(Unescape(words[0])));
    area->set_type(Text(words[1]));
    area->set_size_bytes(size * 1024);
    area->set_used_bytes(used * 1024);
    area->set_priority(priority);
  }
}

bool ParsePressure(std::string_view text, v1::PressureResource* out) {
  for (absl::string_view line : Lines(text)) {
    Words words = SplitWords(line);
    v1::PressureLine parsed;
    if (words.empty() || !ParsePressureLine(words, &parsed)) continue;
    if (words[0] == "some") *out->mutable_some() = parsed;
    if (words[0] == "full") *out->mutable_full() = parsed;
  }
  return out->has_some() || out->has_full();
}

void ParseDisks(std::string_view text, google::protobuf::RepeatedPtrField<v1::Disk>* out) {
  static constexpr Setter<v1::Disk> kSetters[] = {
      &v1::Disk::set_reads,     &v1::Disk::set_reads_merged,   &v1::Disk::set_read_bytes,
      &v1::Disk::set_read_ms,   &v1::Disk::set_writes,         &v1::Disk::set_writes_merged,
      &v1::Disk::set_written_bytes, &v1::Disk::set_write_ms,   &v1::Disk::set_in_flight,
      &v1::Disk::set_io_ms,     &v1::Disk::set_weighted_io_ms, &v1::Disk::set_discards,
      nullptr,                  &v1::Disk::set_discarded_bytes, &v1::Disk::set_discard_ms,
      &v1::Disk::set_flushes,   &v1::Disk::set_flush_ms};
  static constexpr size_t kReadSectors = 2, kWrittenSectors = 6, kDiscardedSectors = 13, kLeast = 11;
  for (absl::string_view line : Lines(text)) {
    Words words = SplitWords(line);
    uint32_t major, minor;
    std::vector<uint64_t> numbers;
    if (words.size() < 3 + kLeast || !absl::SimpleAtoi(words[0], &major) || !absl::SimpleAtoi(words[1], &minor) ||
        !Numbers(words, 3, &numbers)) {
      continue;
    }
    for (size_t sectors : {kReadSectors, kWrittenSectors, kDiscardedSectors}) {
      if (sectors < numbers.size()) numbers[sectors] *= 512;
    }
    v1::Disk* disk = out->Add();
    disk->set_name(Text(words[2]));
    disk->set_major(major);
    disk->set_minor(minor);
    for (size_t i = 0; i < std::size(kSetters) && i < numbers.size(); ++i) {
      Setter<v1::Disk> set = kSetters[i];
      if (set != nullptr) (disk->*set)(numbers[i]);
    }
  }
}

void ParseMounts(std::string_view text, google::protobuf::RepeatedPtrField<v1::Mount>* out,
                 std::vector<std::string>* paths) {
  for (absl::string_view line : Lines(text)) {
    v1::Mount mount;
    std::string path;
    if (!ParseMount(line, &mount, &path)) continue;
    *out->Add() = std::move(mount);
    paths->push_back(std::move(path));
  }
}

void ParseNetCounters(std::string_view text, google::protobuf::RepeatedPtrField<v1::NetCounters>* out) {
  using Counters = v1::NetCounters;
  static constexpr Setter<Counters> kSetters[] = {
      &Counters::set_rx_bytes,        &Counters::set_rx_packets,       &Counters::set_rx_errors,
      &Counters::set_rx_dropped,      &Counters::set_rx_fifo_errors,   &Counters::set_rx_frame_errors,
      &Counters::set_rx_compressed,   &Counters::set_rx_multicast,     &Counters::set_tx_bytes,
      &Counters::set_tx_packets,      &Counters::set_tx_errors,        &Counters::set_tx_dropped,
      &Counters::set_tx_fifo_errors,  &Counters::set_tx_collisions,    &Counters::set_tx_carrier_errors,
      &Counters::set_tx_compressed};
  for (absl::string_view line : Lines(text)) {
    // A name may contain anything but blanks and slashes, also colons: the last one ends it.
    size_t colon = line.rfind(':');
    if (colon == absl::string_view::npos) continue;
    Words words = SplitWords(line.substr(colon + 1));
    std::vector<uint64_t> numbers;
    if (!Numbers(words, 0, &numbers) || numbers.size() < std::size(kSetters)) continue;
    Counters* counters = out->Add();
    counters->set_ifname(Text(absl::StripAsciiWhitespace(line.substr(0, colon))));
    SetInOrder(numbers, kSetters, counters);
  }
}

}  // namespace ipcrpc::monitor

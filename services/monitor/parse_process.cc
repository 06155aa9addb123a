#include "services/monitor/parse_process.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "services/monitor/text.h"

namespace ipcrpc::monitor {
namespace {

absl::string_view Abseil(std::string_view text) { return {text.data(), text.size()}; }

using Words = std::vector<absl::string_view>;

// Lines of a name and a number.
template <typename Visit>
void ForEachNumber(std::string_view text, const Visit& visit) {
  for (absl::string_view line : absl::StrSplit(Abseil(text), '\n', absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> words = absl::StrSplit(line, absl::MaxSplits(' ', 1));
    uint64_t number;
    if (absl::SimpleAtoi(words.second, &number)) visit(words.first, number);
  }
}

}  // namespace

bool ParseNumber(std::string_view text, uint64_t* number) { return absl::SimpleAtoi(Abseil(text), number); }

bool ParseProcess(std::string_view text, long ticks_per_second, long page_bytes, v1::Process* out) {
  // pid (name) state ppid …: proc_pid_stat(5). The last parenthesis ends the name.
  const size_t open = text.find('('), close = text.rfind(')');
  if (ticks_per_second <= 0 || page_bytes <= 0 || open == std::string_view::npos || close == std::string_view::npos ||
      close < open) {
    return false;
  }
  const Words words = absl::StrSplit(Abseil(text.substr(close + 1)), absl::ByAnyChar(" \n"), absl::SkipEmpty());
  // By its number in the manual, where the state is 3.
  const auto field = [&](size_t number, uint64_t* value) {
    return number - 3 < words.size() && absl::SimpleAtoi(words[number - 3], value);
  };
  uint32_t pid;
  uint64_t parent, user, system, threads, start, pages;
  if (!absl::SimpleAtoi(absl::StripAsciiWhitespace(Abseil(text.substr(0, open))), &pid) || words.empty() ||
      !field(4, &parent) || !field(14, &user) || !field(15, &system) || !field(20, &threads) || !field(22, &start) ||
      !field(24, &pages)) {
    return false;
  }
  const auto ticks = static_cast<uint64_t>(ticks_per_second);
  out->set_pid(pid);
  out->set_parent_pid(static_cast<uint32_t>(parent));
  out->set_name(ValidUtf8(text.substr(open + 1, close - open - 1)));
  out->set_state(ValidUtf8({words[0].data(), words[0].size()}));
  out->set_threads(static_cast<uint32_t>(threads));
  out->set_resident_bytes(pages * static_cast<uint64_t>(page_bytes));
  out->set_cpu_ms((user + system) * 1000 / ticks);
  out->set_start_ms(start * 1000 / ticks);
  return true;
}

void ParseCgroupCpu(std::string_view text, v1::Cgroup* out) {
  ForEachNumber(text, [&](absl::string_view name, uint64_t number) {
    if (name == "usage_usec") out->set_cpu_usage_us(number);
    if (name == "user_usec") out->set_cpu_user_us(number);
    if (name == "system_usec") out->set_cpu_system_us(number);
    if (name == "nr_periods") out->set_cpu_periods(number);
    if (name == "nr_throttled") out->set_cpu_throttled_periods(number);
    if (name == "throttled_usec") out->set_cpu_throttled_us(number);
  });
}

void ParseCgroupMemoryEvents(std::string_view text, v1::Cgroup* out) {
  ForEachNumber(text, [&](absl::string_view name, uint64_t number) {
    if (name == "oom_kill") out->set_oom_kills(number);
  });
}

void ParseCgroupIo(std::string_view text, v1::Cgroup* out) {
  for (absl::string_view word : absl::StrSplit(Abseil(text), absl::ByAnyChar(" \n"), absl::SkipEmpty())) {
    const std::pair<absl::string_view, absl::string_view> pair = absl::StrSplit(word, absl::MaxSplits('=', 1));
    uint64_t number;
    if (!absl::SimpleAtoi(pair.second, &number)) continue;
    if (pair.first == "rbytes") out->set_read_bytes(out->read_bytes() + number);
    if (pair.first == "wbytes") out->set_written_bytes(out->written_bytes() + number);
  }
}

}  // namespace ipcrpc::monitor

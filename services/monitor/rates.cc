#include "services/monitor/rates.h"

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace ipcrpc::monitor {
namespace {

// Counters of one thing in two readings.
class Span {
 public:
  explicit Span(double seconds) : seconds_(seconds) {}
  double PerSecond(uint64_t before, uint64_t now) {
    if (now < before) began_anew_ = true;
    return began_anew_ ? 0 : static_cast<double>(now - before) / seconds_;
  }
  // A counter ran backwards: the thing is another than it was.
  bool began_anew() const { return began_anew_; }

 private:
  const double seconds_;
  bool began_anew_ = false;
};

// The kernel lets some of a processor's times run backwards a little.
double Grown(uint64_t before, uint64_t now) { return now > before ? static_cast<double>(now - before) : 0; }

void CpuRateBetween(const v1::CpuTimes& before, const v1::CpuTimes& now, v1::CpuRate* out) {
  // Guest time is within user and nice.
  const double user = Grown(before.user_ms(), now.user_ms()) + Grown(before.nice_ms(), now.nice_ms());
  const double system = Grown(before.system_ms(), now.system_ms()) + Grown(before.irq_ms(), now.irq_ms()) +
                        Grown(before.softirq_ms(), now.softirq_ms());
  const double steal = Grown(before.steal_ms(), now.steal_ms());
  const double iowait = Grown(before.iowait_ms(), now.iowait_ms());
  const double all = user + system + steal + iowait + Grown(before.idle_ms(), now.idle_ms());
  if (all <= 0) return;  // less than a tick: nothing is known
  out->set_busy((user + system + steal) / all);
  out->set_user(user / all);
  out->set_system(system / all);
  if (now.has_iowait_ms()) out->set_iowait(iowait / all);
  if (now.has_steal_ms()) out->set_steal(steal / all);
}

void CpuRates(const v1::Cpu& before, const v1::Cpu& now, double seconds, v1::Rates* out) {
  CpuRateBetween(before.total(), now.total(), out->mutable_cpu());
  std::map<uint32_t, const v1::CpuTimes*> cores;
  for (const v1::CpuCore& core : before.cores()) cores[core.cpu()] = &core.times();
  for (const v1::CpuCore& core : now.cores()) {
    auto known = cores.find(core.cpu());
    if (known == cores.end()) continue;
    v1::CpuRate* rate = out->add_cores();
    rate->set_cpu(core.cpu());
    CpuRateBetween(*known->second, core.times(), rate);
  }
  out->set_context_switches_per_second(Grown(before.context_switches(), now.context_switches()) / seconds);
  out->set_forks_per_second(Grown(before.forks(), now.forks()) / seconds);
}

void DiskRates(const v1::StatusReply& before, const v1::StatusReply& now, double seconds, v1::Rates* out) {
  std::map<std::string, const v1::Disk*> disks;
  for (const v1::Disk& disk : before.disks()) disks[disk.name()] = &disk;
  for (const v1::Disk& disk : now.disks()) {
    auto known = disks.find(disk.name());
    if (known == disks.end()) continue;
    const v1::Disk& old = *known->second;
    Span span(seconds);
    v1::DiskRate rate;
    rate.set_name(disk.name());
    rate.set_reads_per_second(span.PerSecond(old.reads(), disk.reads()));
    rate.set_writes_per_second(span.PerSecond(old.writes(), disk.writes()));
    rate.set_read_bytes_per_second(span.PerSecond(old.read_bytes(), disk.read_bytes()));
    rate.set_written_bytes_per_second(span.PerSecond(old.written_bytes(), disk.written_bytes()));
    rate.set_busy(std::min(1.0, span.PerSecond(old.io_ms(), disk.io_ms()) / 1000));
    if (!span.began_anew()) *out->add_disks() = std::move(rate);
  }
}

void NetRates(const v1::StatusReply& before, const v1::StatusReply& now, double seconds, v1::Rates* out) {
  std::map<std::string, const v1::NetCounters*> networks;
  for (const v1::NetCounters& network : before.networks()) networks[network.ifname()] = &network;
  for (const v1::NetCounters& network : now.networks()) {
    auto known = networks.find(network.ifname());
    if (known == networks.end()) continue;
    const v1::NetCounters& old = *known->second;
    Span span(seconds);
    v1::NetRate rate;
    rate.set_ifname(network.ifname());
    rate.set_rx_bytes_per_second(span.PerSecond(old.rx_bytes(), network.rx_bytes()));
    rate.set_rx_packets_per_second(span.PerSecond(old.rx_packets(), network.rx_packets()));
    rate.set_rx_errors_per_second(span.PerSecond(old.rx_errors(), network.rx_errors()));
    rate.set_rx_dropped_per_second(span.PerSecond(old.rx_dropped(), network.rx_dropped()));
    rate.set_tx_bytes_per_second(span.PerSecond(old.tx_bytes(), network.tx_bytes()));
    rate.set_tx_packets_per_second(span.PerSecond(old.tx_packets(), network.tx_packets()));
    rate.set_tx_errors_per_second(span.PerSecond(old.tx_errors(), network.tx_errors()));
    rate.set_tx_dropped_per_second(span.PerSecond(old.tx_dropped(), network.tx_dropped()));
    if (!span.began_anew()) *out->add_networks() = std::move(rate);
  }
}

// What tells a process from all others, also from a later one of the same number.
std::pair<uint32_t, uint64_t> IdentityOf(const v1::Process& process) { return {process.pid(), process.start_ms()}; }

// Fills in the processors used since, and picks the `count` that used most.
void PickTop(std::vector<v1::Process> processes, const v1::StatusReading* before, double seconds, size_t count,
             v1::StatusReply* out) {
  std::map<std::pair<uint32_t, uint64_t>, uint64_t> known;
  if (before != nullptr && seconds > 0) {
    for (const v1::Process& process : before->processes()) known[IdentityOf(process)] = process.cpu_ms();
    for (v1::Process& process : processes) {
      // What is new since has used all of it since.
      const auto was = known.find(IdentityOf(process));
      const uint64_t then = was == known.end() ? 0 : std::min(was->second, process.cpu_ms());
      process.set_cpu(static_cast<double>(process.cpu_ms() - then) / 1000 / seconds);
    }
  }
  const auto more = [](const v1::Process& a, const v1::Process& b) {
    return std::make_tuple(a.cpu(), a.cpu_ms(), b.pid()) > std::make_tuple(b.cpu(), b.cpu_ms(), a.pid());
  };
  count = std::min(count, processes.size());
  std::partial_sort(processes.begin(), processes.begin() + static_cast<long>(count), processes.end(), more);
  for (size_t i = 0; i < count; ++i) *out->add_processes() = std::move(processes[i]);
}

}  // namespace

v1::Rates RatesBetween(const v1::StatusReply& before, const v1::StatusReply& now) {
  v1::Rates rates;
  if (now.monotonic_ns() <= before.monotonic_ns()) return rates;
  const double seconds = static_cast<double>(now.monotonic_ns() - before.monotonic_ns()) / 1e9;
  rates.set_seconds(seconds);
  if (before.has_cpu() && now.has_cpu()) CpuRates(before.cpu(), now.cpu(), seconds, &rates);
  DiskRates(before, now, seconds, &rates);
  NetRates(before, now, seconds, &rates);
  const v1::Cgroup& was = before.cgroup();
  const v1::Cgroup& is = now.cgroup();
  if (was.has_cpu_usage_us() && is.has_cpu_usage_us() && is.cpu_usage_us() >= was.cpu_usage_us()) {
    rates.set_cgroup_cpu(static_cast<double>(is.cpu_usage_us() - was.cpu_usage_us()) / 1e6 / seconds);
  }
  return rates;
}

v1::StatusReply StatusOf(const v1::StatusReading& reading, const v1::StatusReading* before, uint32_t top_processes) {
  v1::StatusReply reply = reading.status();
  if (before != nullptr) *reply.mutable_rates() = RatesBetween(before->status(), reply);
  PickTop({reading.processes().begin(), reading.processes().end()}, before, reply.rates().seconds(), top_processes, &reply);
  return reply;
}

}  // namespace ipcrpc::monitor

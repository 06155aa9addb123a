#include "bench/sample.h"

#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <deque>
#include <fstream>
#include <latch>
#include <sstream>
#include <string>
#include <thread>
#include <utility>

#include "bench/syscalls.h"

namespace ipcrpc::bench {
namespace {

double Seconds(const timeval& time) { return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6; }

double OwnCpuSeconds() {
  double seconds = 0;
  for (const auto whose : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage usage = {};
    getrusage(whose, &usage);
    seconds += Seconds(usage.ru_utime) + Seconds(usage.ru_stime);
  }
  return seconds;
}

double CpuSecondsOf(pid_t pid) {
  if (pid == kSelf) return OwnCpuSeconds();
  clockid_t clock;
  timespec used = {};
  if (clock_getcpuclockid(pid, &clock) == 0) clock_gettime(clock, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

}  // namespace

Usage UsageOf(pid_t pid) {
  Usage usage = {};
  std::ifstream file("/proc/" + (pid == kSelf ? "self" : std::to_string(pid)) + "/stat");
  std::string text;
  std::getline(file, text);
  // After the name, which may hold anything: state ppid pgrp session tty tpgid flags minflt ... rss (the 24th).
  std::istringstream fields(text.substr(std::min(text.size(), text.rfind(')') + 1)));
  std::string field;
  for (int number = 3; number <= 24 && fields >> field; ++number) {
    if (number == 10) usage.faults = std::stoull(field);
    if (number == 24) usage.resident_kib = std::stod(field) * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1024;
  }
  usage.cpu_seconds = CpuSecondsOf(pid);
  return usage;
}

Meter::Meter(Sample& sample) : sample_(sample) {
  if (!sample.order.count) return;
  client_counters_ = OpenSyscallCounters(getpid());
  server_counters_ = OpenSyscallCounters(sample.server_pid);
}

Meter::~Meter() {
  for (int counter : client_counters_) close(counter);
  for (int counter : server_counters_) close(counter);
}

double Meter::CountedSyscalls(const std::vector<int>& counters) const {
  double sum = 0;
  for (int counter : counters) {
    uint64_t value = 0;
    if (read(counter, &value, sizeof(value)) == sizeof(value)) sum += static_cast<double>(value);
  }
  return counters.empty() ? -1 : sum;
}

void Meter::Start() {
  server_before_ = UsageOf(sample_.server_pid);
  server_allocations_before_ = sample_.server_allocations.count;
  // The client's last, or reading and keeping the server's would count.
  sample_.server_syscalls = CountedSyscalls(server_counters_);
  client_before_ = UsageOf(kSelf);
  client_allocations_before_ = sample_.client_allocations.count;
  sample_.client_syscalls = CountedSyscalls(client_counters_);
}

void Meter::Stop(uint64_t elapsed_ticks) {
  const double client_syscalls = CountedSyscalls(client_counters_), server_syscalls = CountedSyscalls(server_counters_);
  if (!client_counters_.empty()) sample_.client_syscalls = client_syscalls - sample_.client_syscalls;
  if (!server_counters_.empty()) sample_.server_syscalls = server_syscalls - sample_.server_syscalls;
  sample_.client_allocated = sample_.client_allocations.count - client_allocations_before_;
  sample_.server_allocated = sample_.server_allocations.count - server_allocations_before_;
  const double client_cpu_seconds = CpuSecondsOf(kSelf);  // before reading the rest costs some
  const Usage client = UsageOf(kSelf), server = UsageOf(sample_.server_pid);
  sample_.client.cpu_seconds = client_cpu_seconds - client_before_.cpu_seconds;
  sample_.server.cpu_seconds = server.cpu_seconds - server_before_.cpu_seconds;
  sample_.client.faults = client.faults - client_before_.faults;
  sample_.server.faults = server.faults - server_before_.faults;
  sample_.elapsed_ticks = elapsed_ticks;
  sample_.complete = true;
}

void MeasureThreads(Sample& sample, const std::vector<std::function<void()>>& calls) {
  Meter meter(sample);
  std::vector<Histogram> latencies(calls.size());
  std::vector<std::thread> threads;
  // Before the meter starts, and after.
  std::barrier<> warm(static_cast<std::ptrdiff_t>(calls.size()) + 1), started(static_cast<std::ptrdiff_t>(calls.size()) + 1);
  for (size_t i = 0; i < calls.size(); ++i) {
    threads.emplace_back([&, i] {
      const uint64_t warm_up_began = Now();
      do {
        calls[i]();
      } while (Now() - warm_up_began < sample.warmup_ticks);
      warm.arrive_and_wait();
      started.arrive_and_wait();
      const uint64_t began = Now();
      for (uint64_t before = began, after; before - began < sample.measure_ticks; before = after) {
        calls[i]();
        after = Now();
        latencies[i].Add(after - before);
      }
    });
  }
  warm.arrive_and_wait();
  meter.Start();
  const uint64_t began = Now();
  started.arrive_and_wait();
  for (std::thread& thread : threads) thread.join();
  const uint64_t elapsed = Now() - began;
  for (const Histogram& latency : latencies) sample.latency.Merge(latency);
  meter.Stop(elapsed);
}

namespace {

void SleepFor(uint64_t ticks, const Sample& sample) {
  usleep(static_cast<useconds_t>(static_cast<double>(ticks) / sample.ticks_per_us));
}

struct Flight;

// A thread that begins calls, and sleeps while most of its own are under way.
class Driver {
 public:
  explicit Driver(size_t flights) : enough_(static_cast<int64_t>((flights + 1) / 2)) {}

  // Any thread.
  void HandBack(Flight* flight);
  // Has it take what has been handed back, however little.
  void Look() { Wake(kBack); }
  void Stop() { Wake(kStop); }
  // Until Stop().
  void Run();

 private:
  static constexpr uint32_t kStop = 1, kBack = 2;  // and twice how many times something was handed back

  void Wake(uint32_t change) {
    word_.fetch_add(change, std::memory_order_release);
    word_.notify_one();
  }

  const int64_t enough_;  // to be woken for
  std::atomic<Flight*> back_{nullptr};
  std::atomic<int64_t> waiting_{0};  // in there
  std::atomic<uint32_t> word_{0};
};

// One of the calls that are under way. Its end begins the next, or has its driver do so.
struct Flight {
  enum class Phase { kWarmUp, kMeasured, kOver };

  void Begin() {
    began = Now();
    call([this] { End(); });
  }
  void End() {
    const Phase phase_now = phase->load(std::memory_order_relaxed);
    if (phase_now == Phase::kMeasured) latency.Add(Now() - began);
    if (phase_now == Phase::kOver) {
      landed->count_down();
    } else if (driver != nullptr) {
      driver->HandBack(this);
    } else {
      Begin();
    }
  }

  const BeginCall& call;
  const std::atomic<Phase>* phase;
  std::latch* landed;
  Driver* driver;
  Flight* next = nullptr;
  uint64_t began = 0;
  Histogram latency = {};
};

void Driver::HandBack(Flight* flight) {
  flight->next = back_.load(std::memory_order_relaxed);
  while (!back_.compare_exchange_weak(flight->next, flight, std::memory_order_release, std::memory_order_relaxed)) {
  }
  if (waiting_.fetch_add(1, std::memory_order_relaxed) + 1 == enough_) Wake(kBack);
}

void Driver::Run() {
  for (;;) {
    const uint32_t word = word_.load(std::memory_order_acquire);
    Flight* flight = back_.exchange(nullptr, std::memory_order_acquire);
    const bool stop = (word & kStop) != 0;
    if (flight == nullptr && stop) return;
    if (flight == nullptr) word_.wait(word, std::memory_order_acquire);
    for (; flight != nullptr; waiting_.fetch_sub(1, std::memory_order_relaxed)) std::exchange(flight, flight->next)->Begin();
  }
}

}  // namespace

void MeasureInFlight(Sample& sample, const std::vector<BeginCall>& calls) {
  Meter meter(sample);
  std::atomic<Flight::Phase> phase{Flight::Phase::kWarmUp};
  std::latch landed(static_cast<std::ptrdiff_t>(calls.size()));
  std::deque<Driver> drivers;
  for (uint32_t i = 0; i < sample.order.drivers; ++i) drivers.emplace_back(calls.size() / sample.order.drivers);
  std::deque<Flight> flights;
  for (const BeginCall& call : calls) {
    Driver* const driver = drivers.empty() ? nullptr : &drivers[flights.size() % drivers.size()];
    flights.push_back({.call = call, .phase = &phase, .landed = &landed, .driver = driver});
  }
  std::vector<std::thread> threads;
  for (Driver& driver : drivers) threads.emplace_back([&driver] { driver.Run(); });
  for (Flight& flight : flights) flight.driver != nullptr ? flight.driver->HandBack(&flight) : flight.Begin();
  SleepFor(sample.warmup_ticks, sample);
  meter.Start();
  const uint64_t began = Now();
  phase = Flight::Phase::kMeasured;
  SleepFor(sample.measure_ticks, sample);
  const uint64_t elapsed = Now() - began;
  phase = Flight::Phase::kOver;
  meter.Stop(elapsed);
  // What a driver has in hand it begins, and its end is the last.
  while (!landed.try_wait()) {
    for (Driver& driver : drivers) driver.Look();
    SleepFor(sample.warmup_ticks / 16, sample);
  }
  for (Driver& driver : drivers) driver.Stop();
  for (std::thread& thread : threads) thread.join();
  for (const Flight& flight : flights) sample.latency.Merge(flight.latency);
}

void MeasureIdle(Sample& sample) {
  Meter meter(sample);
  SleepFor(sample.warmup_ticks, sample);
  meter.Start();
  const uint64_t began = Now();
  SleepFor(sample.measure_ticks, sample);
  meter.Stop(Now() - began);
}

}  // namespace ipcrpc::bench

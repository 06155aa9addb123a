// Calls back to back over shm:, server and client each in a process, and how both waited: what bench/hot_calls.sh puts under
// strace.
//
//   hot_calls CALLS CLIENT_CPU SERVER_CPU     each on a processor of its own
//   hot_calls CALLS beside-blocked            not pinned; how long a call takes (p50) alone, and while another client calls a
//                                             method whose handler sleeps for 10 ms, by turns
//
// Prints a line for each that waits; what it `spent` are sleeps after a spin in vain, which are the machine's (a processor was
// taken away) and not the path's.
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "echo.ipcrpc.pb.h"
#include "ipcrpc/admin.h"
#include "ipcrpc/ipcrpc.h"

namespace ipcrpc::bench {
namespace {

constexpr int kWarmUp = 1000;

[[noreturn]] void Fail(const std::string& why) {
  fprintf(stderr, "hot_calls: %s\n", why.c_str());
  _exit(1);
}

class Service final : public EchoService::Service {
  Status Unary(ServerContext*, const Echo* request, Echo* response) override {
    *response = *request;
    return Status::OK;
  }
  Status Block(ServerContext*, const Echo*, Echo*) override {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return Status::OK;
  }
};

void RunOn(int cpu) {
  if (cpu < 0) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<size_t>(cpu), &set);
  if (sched_setaffinity(0, sizeof set, &set) != 0) Fail("cannot run on processor " + std::to_string(cpu));
}

long PageFaults() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

void PrintWaiters(const char* side) {
  for (const admin::Waiter& waiter : admin::Waiters()) {
    if (waiter.found + waiter.spent + waiter.not_tried == 0) continue;
    printf("%s %s: budget %.1f us, a wake takes %.1f us (%lu samples); waits: found %lu, spent %lu, not_tried %lu\n", side, waiter.who.c_str(),
           static_cast<double>(waiter.budget_ns) / 1e3, static_cast<double>(waiter.wake_ns) / 1e3, waiter.samples, waiter.found,
           waiter.spent, waiter.not_tried);
  }
  fflush(stdout);
}

void Serve(const std::string& address, int cpu) {
  RunOn(cpu);
  sigset_t term;
  sigemptyset(&term);
  sigaddset(&term, SIGTERM);
  sigprocmask(SIG_BLOCK, &term, nullptr);
  Service service;
  ServerBuilder builder;
  builder.AddListeningPort(address).RegisterService(&service);
  const std::unique_ptr<Server> server = builder.BuildAndStart();
  if (server == nullptr) Fail(builder.error());
  int signal = 0;
  sigwait(&term, &signal);
  PrintWaiters("server");
  _exit(0);
}

// Waits for the server.
std::unique_ptr<EchoService::Stub> Connect(const std::string& address) {
  const auto channel = CreateChannel(address);
  if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20))) Fail("no server");
  return EchoService::NewStub(channel);
}

void CallOnce(EchoService::Stub& stub, const Echo& request, Echo& response) {
  ClientContext context;
  if (const Status status = stub.Unary(&context, request, &response); !status.ok()) Fail(status.error_message());
}

Echo Request() {
  Echo request;
  request.set_payload(std::string(64, 'x'));
  return request;
}

// Returns the connection, without which the server's end would be gone before it can tell.
std::unique_ptr<EchoService::Stub> Call(const std::string& address, int cpu, long calls) {
  RunOn(cpu);
  auto stub = Connect(address);
  const Echo request = Request();
  Echo response;
  for (long i = 0; i < kWarmUp; ++i) CallOnce(*stub, request, response);
  const long faults = PageFaults();
  for (long i = 0; i < calls; ++i) CallOnce(*stub, request, response);
  printf("client page faults in %ld calls: %ld\n", calls, PageFaults() - faults);
  PrintWaiters("client");
  return stub;
}

double MedianUs(EchoService::Stub& stub, long calls) {
  const Echo request = Request();
  Echo response;
  std::vector<int64_t> ns;
  for (long i = 0; i < calls; ++i) {
    const auto start = std::chrono::steady_clock::now();
    CallOnce(stub, request, response);
    ns.push_back(std::chrono::nanoseconds(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(ns.begin(), ns.begin() + calls / 2, ns.end());
  return static_cast<double>(ns[static_cast<size_t>(calls / 2)]) / 1e3;
}

void CallBesideBlocked(const std::string& address, long calls) {
  const auto stub = Connect(address), blocked = Connect(address);
  MedianUs(*stub, kWarmUp);
  std::vector<double> ratios;
  for (int round = 0; round < 7; ++round) {
    const double alone = MedianUs(*stub, calls);
    std::atomic<bool> stop{false};
    std::atomic<long> slept{0};
    std::thread other([&] {
      const Echo request = Request();
      Echo response;
      for (; !stop; ++slept) {
        ClientContext context;
        if (const Status status = blocked->Block(&context, request, &response); !status.ok()) Fail(status.error_message());
      }
    });
    while (slept < 3) std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the server has learnt what the method is
    const double beside = MedianUs(*stub, calls);
    stop = true;
    other.join();
    printf("p50 alone %.2f us, beside %ld calls that blocked %.2f us: %.2f times\n", alone, slept.load(), beside, beside / alone);
    ratios.push_back(beside / alone);
  }
  std::sort(ratios.begin(), ratios.end());
  printf("median: %.2f times\n", ratios[ratios.size() / 2]);
}

int Main(int argc, char** argv) {
  const bool beside = argc == 3 && std::string_view(argv[2]) == "beside-blocked";
  if (argc != 4 && !beside) Fail("hot_calls CALLS CLIENT_CPU SERVER_CPU | hot_calls CALLS beside-blocked");
  const std::string address = "shm:@hot-calls-" + std::to_string(getpid());
  const pid_t server = fork();
  if (server == 0) Serve(address, beside ? -1 : atoi(argv[3]));
  std::unique_ptr<EchoService::Stub> connection;
  if (beside) {
    CallBesideBlocked(address, atol(argv[1]));
  } else {
    connection = Call(address, atoi(argv[2]), atol(argv[1]));
  }
  kill(server, SIGTERM);
  int status = 0;
  waitpid(server, &status, 0);
  return status == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) { return ipcrpc::bench::Main(argc, argv); }

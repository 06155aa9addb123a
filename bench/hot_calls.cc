// Calls back to back over shm:, server and client each in a process and on a processor of its own, and how both waited: what
// bench/hot_calls.sh puts under strace.
//
//   hot_calls CALLS CLIENT_CPU SERVER_CPU
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

#include <chrono>
#include <memory>
#include <string>

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
};

void RunOn(int cpu) {
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

void Call(const std::string& address, int cpu, long calls) {
  RunOn(cpu);
  const auto channel = CreateChannel(address);
  const auto stub = EchoService::NewStub(channel);
  Echo request, response;
  request.set_payload(std::string(64, 'x'));
  long faults = 0;
  for (long i = 0; i < kWarmUp + calls; ++i) {
    if (i == kWarmUp) faults = PageFaults();
    ClientContext context;
    if (i == 0) {
      context.set_wait_for_ready(true);
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    }
    if (const Status status = stub->Unary(&context, request, &response); !status.ok()) Fail(status.error_message());
  }
  printf("client page faults in %ld calls: %ld\n", calls, PageFaults() - faults);
  PrintWaiters("client");
}

int Main(int argc, char** argv) {
  if (argc != 4) Fail("hot_calls CALLS CLIENT_CPU SERVER_CPU");
  const std::string address = "shm:@hot-calls-" + std::to_string(getpid());
  const pid_t server = fork();
  if (server == 0) Serve(address, atoi(argv[3]));
  Call(address, atoi(argv[2]), atol(argv[1]));
  kill(server, SIGTERM);
  int status = 0;
  waitpid(server, &status, 0);
  return status == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) { return ipcrpc::bench::Main(argc, argv); }

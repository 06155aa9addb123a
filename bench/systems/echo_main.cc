#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "bench/allocations.h"
#include "bench/systems/echo_system.h"

namespace ipcrpc::bench {
namespace {

int Serve(EchoSystem& system, const std::string& address, int ready_fd, int sample_fd) {
  const SharedMemory memory(sample_fd, sizeof(Sample));
  Sample& sample = *memory.As<Sample>();
  if (sample.order.count) CountAllocations(&sample.server_allocations.count);
  system.Serve(address, ReadySignal(ready_fd));
  return 0;
}

int Drive(EchoSystem& system, const std::string& address, int sample_fd) {
  const SharedMemory memory(sample_fd, sizeof(Sample));
  Sample& sample = *memory.As<Sample>();
  if (sample.order.count) CountAllocations(&sample.client_allocations.count);
  DrivePattern(system, address, sample);
  CountAllocations(nullptr);
  return 0;
}

int Both(EchoSystem& system, const std::string& address, int sample_fd) {
  int served[2];
  if (pipe(served) != 0) Fail("pipe");
  const ReadySignal ready(served[1]);
  const Termination termination;
  std::thread([&] { system.Serve(address, ready); }).detach();
  char byte;
  if (read(served[0], &byte, 1) != 1) Fail("the server does not start");
  Drive(system, address, sample_fd);
  fflush(nullptr);
  _exit(0);  // the server never ends by itself
}

// A descriptor for each of many connections.
void RaiseDescriptorLimit() {
  rlimit limit = {};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

Termination::Termination() {
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &end, nullptr);
}

void Termination::Await() const {
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  int signal;
  sigwait(&end, &signal);
}

std::string Payload(size_t bytes) { return std::string(bytes, 'x'); }

void CheckAnswer(uint64_t id, uint64_t expected_id, std::string_view payload, size_t expected_bytes) {
  if (id != expected_id) Fail("an answer to another message");
  if (payload.size() != expected_bytes || (expected_bytes != 0 && (payload.front() != 'x' || payload.back() != 'x'))) {
    Fail("an answer with another payload");
  }
}

int EchoMain(int argc, char** argv, const std::function<std::unique_ptr<EchoSystem>(std::string_view variant)>& make) {
  const std::string_view role = argc > 2 ? argv[2] : "";
  if (role == "nothing") return 0;
  const std::unique_ptr<EchoSystem> system = argc > 3 ? make(argv[1]) : nullptr;
  RaiseDescriptorLimit();
  if (system != nullptr && role == "serve" && argc == 6) return Serve(*system, argv[3], atoi(argv[4]), atoi(argv[5]));
  if (system != nullptr && role == "drive" && argc == 5) return Drive(*system, argv[3], atoi(argv[4]));
  if (system != nullptr && role == "both" && argc == 5) return Both(*system, argv[3], atoi(argv[4]));
  if (system != nullptr && role == "once" && argc == 4) {
    system->Connect(argv[3], Order().bytes)->Echo(1);
    return 0;
  }
  fprintf(stderr, "%s is one of the systems that ipcrpc_bench measures, and is run by it (bench/systems/echo_system.h)\n", argv[0]);
  return 2;
}

}  // namespace ipcrpc::bench

// Whether who reads a daemon's log FIFO, and how, can be told from how long its calls take.
//
//   log_fifo_calls CALLS
//
// Two daemons that say a line every millisecond, one of them to a FIFO too. Calls to both by turns, while the FIFO has no reader,
// one that takes a line each 100 ms, and one that comes and goes every 5 ms. Medians of seven rounds.
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/scratch_directory.h"
#include "echo.ipcrpc.pb.h"
#include "ipcrpc/daemon.h"
#include "ipcrpc/ipcrpc.h"

namespace ipcrpc::bench {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr int kRounds = 7;

class Service final : public EchoService::Service {
  Status Unary(ServerContext*, const Echo* request, Echo* response) override {
    *response = *request;
    return Status::OK;
  }
};

[[noreturn]] void Serve(const std::string& name, const std::string& fifo) {
  const int nowhere = open("/dev/null", O_WRONLY);
  dup2(nowhere, STDERR_FILENO);
  Daemon daemon(name);
  if (!fifo.empty()) daemon.SetLogFifo(fifo);
  Service service;
  std::jthread talk([&](const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      std::this_thread::sleep_for(milliseconds(1));
      daemon.Log(LogSeverity::kInfo, "a line of the length that lines of a daemon's log may well have, and a few words more");
    }
  });
  _exit(daemon.Listen("shm:" + name).Register(&service).Run());
}

class Client {
 public:
  explicit Client(const std::string& name) {
    const auto channel = CreateChannel("shm:" + name);
    if (!channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20))) exit(1);
    stub_ = EchoService::NewStub(channel);
    request_.set_payload(std::string(64, 'x'));
  }
  // p50 and p99, in µs.
  std::pair<double, double> Call(long calls) {
    std::vector<int64_t> ns;
    for (long i = 0; i < calls; ++i) {
      ClientContext context;
      const auto start = steady_clock::now();
      if (!stub_->Unary(&context, request_, &response_).ok()) exit(1);
      ns.push_back(std::chrono::nanoseconds(steady_clock::now() - start).count());
    }
    std::sort(ns.begin(), ns.end());
    return {static_cast<double>(ns[ns.size() / 2]) / 1e3, static_cast<double>(ns[ns.size() * 99 / 100]) / 1e3};
  }

 private:
  std::unique_ptr<EchoService::Stub> stub_;
  Echo request_, response_;
};

void Measure(const char* what, Client& with, Client& without, long calls, const std::function<void(const std::atomic<bool>&)>& read) {
  std::atomic<bool> stop{false};
  std::thread reader([&] { read(stop); });
  std::vector<double> p50, p99;
  for (int round = 0; round < kRounds; ++round) {
    const auto plain = without.Call(calls), logged = with.Call(calls);
    p50.push_back(logged.first / plain.first);
    p99.push_back(logged.second / plain.second);
  }
  stop = true;
  reader.join();
  std::sort(p50.begin(), p50.end());
  std::sort(p99.begin(), p99.end());
  printf("%-40s p50 %.2f times (%.2f to %.2f), p99 %.2f times (%.2f to %.2f)\n", what, p50[kRounds / 2], p50.front(), p50.back(),
         p99[kRounds / 2], p99.front(), p99.back());
}

int Main(long calls) {
  const ScratchDirectory directory;
  setenv("IPCRPC_RUNTIME_DIR", directory.path().c_str(), 1);
  const std::string fifo = directory.path() + "/log";
  const pid_t plain = fork();
  if (plain == 0) Serve("plain", "");
  const pid_t logged = fork();
  if (logged == 0) Serve("logged", fifo);
  {
    Client without("plain"), with("logged");
    with.Call(calls);
    without.Call(calls);
    const auto open_fifo = [&] { return open(fifo.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC); };
    Measure("nobody reads", with, without, calls, [](const std::atomic<bool>&) {});
    Measure("a reader of a line each 100 ms", with, without, calls, [&](const std::atomic<bool>& stop) {
      const int fd = open_fifo();
      for (char line[100]; !stop; std::this_thread::sleep_for(milliseconds(100))) (void)!read(fd, line, sizeof line);
      close(fd);
    });
    Measure("a reader that comes and goes each 5 ms", with, without, calls, [&](const std::atomic<bool>& stop) {
      while (!stop) {
        const int fd = open_fifo();
        char some[4096];
        (void)!read(fd, some, sizeof some);
        std::this_thread::sleep_for(milliseconds(5));
        close(fd);
      }
    });
  }
  int result = 0;
  for (const pid_t daemon : {plain, logged}) {
    int status = 0;
    kill(daemon, SIGTERM);
    waitpid(daemon, &status, 0);
    if (status != 0) result = 1;
  }
  return result;
}

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) { return ipcrpc::bench::Main(argc > 1 ? atol(argv[1]) : 100'000); }

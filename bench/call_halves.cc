// One unary call, taken apart: what the client does, then what the server does, by hand and in one thread, over inproc:. So
// nobody spins and nobody sleeps, and what each half costs is the same every time. call_cost_test counts it.
//
//   call_halves HALF CALLS
//
// HALF is `client`, `server` or `guarded`, which is a server that has a rule of who may call. Prints what that half asked of
// malloc and how many page faults the whole process had, in all calls together; run by callgrind with --collect-atstart=no it is
// that half alone whose instructions are counted. With a third argument, `strict`, system calls are death but for those by which a
// runtime without threads is told that there is something: a write by the client, an epoll_wait and a read by the server.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <valgrind/callgrind.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "bench/allocations.h"
#include "echo.ipcrpc.pb.h"
#include "ipcrpc/internal/call.h"
#include "ipcrpc/internal/message_codec.h"
#include "ipcrpc/ipcrpc.h"
#include "ipcrpc/runtime.h"

namespace ipcrpc::bench {
namespace {

constexpr char kAddress[] = "inproc:call-halves";
constexpr size_t kPayloadBytes = 64;
// Until every buffer has its size.
constexpr int kWarmUp = 500;

class Service final : public EchoService::Service {
  Status Unary(ServerContext*, const Echo* request, Echo* response) override {
    *response = *request;
    return Status::OK;
  }
};

[[noreturn]] void Fail(const std::string& why) {
  std::fprintf(stderr, "call_halves: %s\n", why.c_str());
  std::exit(1);
}

// What is counted while it lives, when it is the half that was asked for.
class Counted {
 public:
  Counted(bool counted, std::atomic<uint64_t>* allocations) : counted_(counted) {
    if (!counted_) return;
    CountAllocations(allocations);
    CALLGRIND_TOGGLE_COLLECT;
  }
  ~Counted() {
    if (!counted_) return;
    CALLGRIND_TOGGLE_COLLECT;
    CountAllocations(nullptr);
  }

 private:
  const bool counted_;
};

class Halves {
 public:
  explicit Halves(bool guarded)
      : runtime_(Runtime::WithoutThreads()), method_("/ipcrpc.bench.EchoService/Unary", internal::RpcMethod::NORMAL_RPC) {
    ServerBuilder builder;
    builder.AddListeningPort(kAddress).RegisterService(&service_).SetRuntime(runtime_);
    if (guarded) {
      builder.SetAuthorizationPolicy(AuthorizationPolicy().SetRule(method_.name(), AuthorizationRule().AllowSameUser()));
    }
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) Fail(builder.error());
    channel_ = CreateChannel(kAddress);
    request_.set_payload(std::string(kPayloadBytes, 'x'));
    // To connect takes both at once.
    std::atomic<bool> connected{false};
    std::thread connect([&] { connected = channel_->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(60)); });
    while (!connected) runtime_->RunOnce();
    connect.join();
  }

  void Call(bool count_client, bool count_server) {
    const internal::OutgoingMessage out = internal::Outgoing(request_);
    const auto context = std::make_unique<ClientContext>();  // the caller's
    std::unique_ptr<internal::ClientCall> call;
    {
      const Counted counted(count_client, &allocations_);
      call = internal::ClientCall::Start(channel_.get(), method_, context.get(), &out, /*at_once=*/true);
    }
    Serve(count_server);
    const Counted counted(count_client, &allocations_);
    Conclude(*call);
    call.reset();
  }

  // The same with the client in another thread, which waits for nothing but memory.
  void CallStrictly(int calls) {
    std::atomic<int> begun{0}, served{0};
    std::thread client([&] {
      Forbid({SYS_write, SYS_exit_group});
      const internal::OutgoingMessage out = internal::Outgoing(request_);
      for (int i = 1; i <= calls; ++i) {
        ClientContext context;
        const auto call = internal::ClientCall::Start(channel_.get(), method_, &context, &out, /*at_once=*/true);
        begun.store(i, std::memory_order_release);
        while (served.load(std::memory_order_acquire) < i) {
        }
        Conclude(*call);
      }
      begun.store(calls + 1, std::memory_order_release);
      for (;;) {  // a thread ends with system calls
      }
    });
    Forbid({SYS_epoll_wait, SYS_read, SYS_write, SYS_exit_group});
    for (int i = 1; i <= calls; ++i) {
      while (begun.load(std::memory_order_acquire) < i) {
      }
      Serve(false);
      served.store(i, std::memory_order_release);
    }
    while (begun.load(std::memory_order_acquire) <= calls) {
    }
    _exit(0);
  }

  uint64_t allocations() const { return allocations_.load(); }

 private:
  void Serve(bool count) {
    const Counted counted(count, &allocations_);
    runtime_->RunOnce();
  }

  void Conclude(internal::ClientCall& call) {
    const internal::IncomingMessage in = internal::Incoming(&response_);
    const Status status = call.Finish(&in);
    if (!status.ok() || response_.payload().size() != kPayloadBytes) Fail("a call failed: " + status.error_message());
  }

  // All but these, from here on, for this thread.
  static void Forbid(std::initializer_list<long> but) {
    std::vector<sock_filter> program = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
    for (const long number : but) {
      program.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1));
      program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    }
    program.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS));
    const sock_fprog filter = {.len = static_cast<unsigned short>(program.size()), .filter = program.data()};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) Fail("seccomp");
  }

  const std::shared_ptr<Runtime> runtime_;
  const internal::RpcMethod method_;
  Service service_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<Channel> channel_;
  Echo request_, response_;
  std::atomic<uint64_t> allocations_{0};
};

long PageFaults() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt + usage.ru_majflt;
}

int Main(int argc, char** argv) {
  const std::string half = argc > 2 ? argv[1] : "";
  const int calls = argc > 2 ? std::atoi(argv[2]) : 0;
  const bool guarded = half == "guarded", server = guarded || half == "server";
  if ((half != "client" && !server) || calls <= 0) Fail("usage: call_halves client|server|guarded CALLS [strict]");
  Halves halves(guarded);
  for (int i = 0; i < kWarmUp; ++i) halves.Call(false, false);
  if (argc > 3) halves.CallStrictly(calls);
  const long faults = PageFaults();
  for (int i = 0; i < calls; ++i) halves.Call(!server, server);
  std::printf("allocations %llu faults %ld\n", static_cast<unsigned long long>(halves.allocations()), PageFaults() - faults);
  return 0;
}

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) { return ipcrpc::bench::Main(argc, argv); }

// Hot restart under load: servers in processes of their own take over from one another while clients in others call. No
// call fails, and each runs once.
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipcrpc/ipcrpc.h"
#include "tests/behaviour/behaviour.ipcrpc.pb.h"
#include "tests/faults/private_world.h"
#include "tests/faults/processes.h"

namespace takeover {
namespace {

using behaviour::Methods;
using behaviour::Msg;
using faults::Child;
using ipcrpc::ClientContext;
using ipcrpc::ServerContext;
using ipcrpc::Status;
using namespace std::chrono_literals;

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t kCalls = 10'000;
#else
constexpr uint64_t kCalls = 100'000;
#endif
constexpr int kRestarts = 12;
constexpr int kThreads = 3;
constexpr auto kHung = 30s;

// A name, a path and abstract names.
const std::vector<std::string>& Addresses() {
  static const auto* const addresses = new std::vector<std::string>{
      "shm:hot", "unix:hot", std::string("unix:") + getenv("IPCRPC_RUNTIME_DIR") + "/hot.socket", "shm:@ipcrpc-takeover-test",
      "unix:@ipcrpc-takeover-test"};
  return *addresses;
}

// What all processes of the test share.
struct Counts {
  std::atomic<uint64_t> runs, succeeded, failed, last_server;
  std::atomic<bool> enough;

  static Counts& Get() {
    static auto* const counts = new (mmap(nullptr, sizeof(Counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0)) Counts();
    return *counts;
  }
};

class CountingService final : public Methods::Service {
  Status Unary(ServerContext*, const Msg* request, Msg* response) override {
    Counts::Get().runs.fetch_add(1);
    *response = *request;
    return Status::OK;
  }
  Status Collect(ServerContext*, ipcrpc::ServerReader<Msg>* reader, Msg* response) override {
    Counts::Get().runs.fetch_add(1);
    int64_t sum = 0;
    for (Msg message; reader->Read(&message);) sum += message.number();
    response->set_number(sum);
    return Status::OK;
  }
  Status Emit(ServerContext*, const Msg* request, ipcrpc::ServerWriter<Msg>* writer) override {
    Counts::Get().runs.fetch_add(1);
    for (int64_t i = 0; i < request->number() && writer->Write(*request); ++i) {
    }
    return Status::OK;
  }
  Status Talk(ServerContext*, ipcrpc::ServerReaderWriter<Msg, Msg>* stream) override {
    Counts::Get().runs.fetch_add(1);
    for (Msg message; stream->Read(&message) && stream->Write(message);) {
    }
    return Status::OK;
  }
};

// Serves until a successor has taken over, or SIGTERM. Exit code 0: relieved; 3: terminated.
int Serve(const std::vector<std::string>& addresses, int ready) {
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigprocmask(SIG_BLOCK, &end, nullptr);
  CountingService service;
  ipcrpc::ServerBuilder builder;
  for (const std::string& address : addresses) builder.AddListeningPort(address);
  builder.RegisterService(&service).SetTakeOver(true);
  const std::unique_ptr<ipcrpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    fprintf(stderr, "%s\n", builder.error().c_str());
    return 1;
  }
  if (write(ready, "r", 1) != 1) return 1;
  close(ready);
  std::thread([&server, end] {
    int signal;
    sigwait(&end, &signal);
    server->Shutdown();
  }).detach();
  server->Wait();
  return server->relieved() ? 0 : 3;
}

class RunningServer {
 public:
  explicit RunningServer(const std::vector<std::string>& addresses) {
    int ready[2];
    EXPECT_EQ(pipe(ready), 0);
    child_ = std::make_unique<Child>([&] {
      close(ready[0]);
      return Serve(addresses, ready[1]);
    });
    close(ready[1]);
    char byte;
    started_ = read(ready[0], &byte, 1) == 1;
    close(ready[0]);
  }
  bool started() const { return started_; }
  Child& process() { return *child_; }
  int Stop() {
    child_->Signal(SIGTERM);
    return child_->Wait();
  }

 private:
  std::unique_ptr<Child> child_;
  bool started_ = false;
};

bool Check(const char* what, const Status& status, bool right) {
  if (status.ok() && right) return true;
  fprintf(stderr, "%s: code %d: %s%s\n", what, status.error_code(), status.error_message().c_str(), right ? "" : " (wrong answer)");
  return false;
}

bool CallOnce(Methods::Stub& stub, uint64_t kind) {
  ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kHung);
  Msg request, response;
  request.set_number(static_cast<int64_t>(kind % 50));
  switch (kind % 16) {
    case 3: {
      auto stream = stub.Talk(&context);
      bool right = true;
      for (int i = 0; i < 4 && right; ++i) right = stream->Write(request) && stream->Read(&response) && response.number() == request.number();
      stream->WritesDone();
      return Check("Talk", stream->Finish(), right);
    }
    case 6: {
      auto stream = stub.Collect(&context, &response);
      bool written = true;
      for (int i = 0; i < 4 && written; ++i) written = stream->Write(request);
      stream->WritesDone();
      const Status status = stream->Finish();
      return Check("Collect", status, written && response.number() == 4 * request.number());
    }
    case 9: {
      auto stream = stub.Emit(&context, request);
      int64_t messages = 0;
      while (stream->Read(&response)) ++messages;
      return Check("Emit", stream->Finish(), messages == request.number());
    }
    case 12: {
      request.set_data(std::string(200'000, 'x'));  // in pieces
      const Status status = stub.Unary(&context, request, &response);
      return Check("large Unary", status, response.data().size() == request.data().size());
    }
    default: {
      const Status status = stub.Unary(&context, request, &response);
      return Check("Unary", status, response.number() == request.number());
    }
  }
}

// Calls at one address from several threads, on one channel, until the test has enough; now and then on a new channel.
int CallForever(const std::string& address) {
  const auto shared = Methods::NewStub(ipcrpc::CreateChannel(address));
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (uint64_t kind = static_cast<uint64_t>(t) * 7; !Counts::Get().enough; ++kind) {
        const bool alone = kind % 64 == 20;
        const bool ok = alone ? CallOnce(*Methods::NewStub(ipcrpc::CreateChannel(address)), kind) : CallOnce(*shared, kind);
        (ok ? Counts::Get().succeeded : Counts::Get().failed).fetch_add(1);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return 0;
}

TEST(HotRestart, NoCallIsLostUnderLoad) {
  Counts& counts = Counts::Get();
  auto server = std::make_unique<RunningServer>(Addresses());
  ASSERT_TRUE(server->started());
  std::vector<std::unique_ptr<Child>> clients;
  for (const std::string& address : Addresses()) {
    clients.push_back(std::make_unique<Child>([&] { return CallForever(address); }));
  }
  std::vector<std::unique_ptr<RunningServer>> relieved;
  const auto await_calls = [&](uint64_t calls) {
    const auto limit = std::chrono::steady_clock::now() + 60s;
    while (counts.succeeded + counts.failed < calls && std::chrono::steady_clock::now() < limit) usleep(1000);
  };
  for (int restart = 0; restart < kRestarts; ++restart) {
    await_calls(kCalls * static_cast<uint64_t>(restart + 1) / (kRestarts + 1));
    auto successor = std::make_unique<RunningServer>(Addresses());
    ASSERT_TRUE(successor->started()) << "restart " << restart;
    relieved.push_back(std::exchange(server, std::move(successor)));
  }
  await_calls(kCalls);
  for (const auto& old : relieved) EXPECT_EQ(old->process().Wait(), 0);
  counts.enough = true;
  for (const auto& client : clients) EXPECT_EQ(client->Wait(), 0);
  EXPECT_EQ(server->Stop(), 3);
  EXPECT_GE(counts.succeeded, kCalls);
  EXPECT_EQ(counts.failed, 0u);
  EXPECT_EQ(counts.runs, counts.succeeded);
  printf("%lu calls, %d restarts, %lu failed, %lu handler runs\n", counts.succeeded.load(), kRestarts, counts.failed.load(), counts.runs.load());
  EXPECT_THAT(faults::LeftOvers(), ::testing::IsEmpty());
}

}  // namespace
}  // namespace takeover

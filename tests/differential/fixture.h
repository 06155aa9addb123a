// What the differential suite stands on. All of tests/differential is written for gRPC C++ and built twice: as it is, and with
// ipcrpc in gRPC's place by tools/from-grpc.sed alone. What both pass is what users of one may expect of the other.
//
// Environment: DIFFERENTIAL_ADDRESS, the address of every test's own server, where {dir} and {name} stand for a fresh directory
// and a fresh name: "unix:{dir}/{name}", "shm:{name}".
#pragma once

#include <grpcpp/grpcpp.h>
#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "differential.grpc.pb.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace differential {

using grpc::ClientContext;
using grpc::ServerContext;
using grpc::Status;
using grpc::StatusCode;
using namespace std::chrono_literals;
using ::testing::AnyOf;
using ::testing::ElementsAre;

using Collector = grpc::ServerReader<Msg>;
using Emitter = grpc::ServerWriter<Msg>;
using Talker = grpc::ServerReaderWriter<Msg, Msg>;
using Metadata = std::multimap<grpc::string_ref, grpc::string_ref>;

// Far more than anything takes that is not broken: what must be prompt is compared with it.
inline constexpr auto kLimit = 20s;
// What is prompt, on a busy machine too.
inline constexpr double kPromptMs = 5000;

// Something that another thread makes true; a test fails instead of hanging.
class Event {
 public:
  void Set() {
    std::lock_guard<std::mutex> lock(mu_);
    set_ = true;
    changed_.notify_all();
  }
  [[nodiscard]] bool Wait(std::chrono::milliseconds limit = kLimit) {
    std::unique_lock<std::mutex> lock(mu_);
    return changed_.wait_for(lock, limit, [this] { return set_; });
  }
  bool set() {
    std::lock_guard<std::mutex> lock(mu_);
    return set_;
  }

 private:
  std::mutex mu_;
  std::condition_variable changed_;
  bool set_ = false;
};

template <typename Condition>
[[nodiscard]] bool Eventually(Condition&& condition, std::chrono::milliseconds limit = kLimit) {
  const auto until = std::chrono::steady_clock::now() + limit;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

// The count stays the same for a while: whoever counts is blocked.
[[nodiscard]] bool Settles(const std::atomic<int>& count);

inline auto In(std::chrono::milliseconds time) { return std::chrono::system_clock::now() + time; }

class Stopwatch {
 public:
  double ms() const { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

Msg Number(int64_t number);
Msg Data(size_t bytes, char fill = 'x');
// Of exactly this many bytes when serialized; from 3 on.
Msg OfSize(size_t bytes);
// Its bytes do not parse.
Msg Broken();

std::string AllBytes();
std::vector<std::string> Values(const Metadata& metadata, const std::string& key);

// Without a lambda a handler does the plain thing: echo, count and sum, emit `number` messages, echo each.
class LambdaService : public Methods::Service {
 public:
  std::function<Status(ServerContext*, const Msg*, Msg*)> unary;
  std::function<Status(ServerContext*, Collector*, Msg*)> collect;
  std::function<Status(ServerContext*, const Msg*, Emitter*)> emit;
  std::function<Status(ServerContext*, Talker*)> talk;

  Status Unary(ServerContext* context, const Msg* request, Msg* response) override;
  Status Collect(ServerContext* context, Collector* reader, Msg* response) override;
  Status Emit(ServerContext* context, const Msg* request, Emitter* writer) override;
  Status Talk(ServerContext* context, Talker* stream) override;
};

// A fresh address of the scheme under test.
std::string FreshAddress();

// Connects again soon after failing.
grpc::ChannelArguments Impatient(grpc::ChannelArguments arguments = grpc::ChannelArguments());

using Configure = std::function<void(grpc::ServerBuilder&)>;

std::unique_ptr<grpc::Server> Serve(const std::string& address, grpc::Service* service, const Configure& configure = {});
std::shared_ptr<grpc::Channel> Connect(const std::string& address, const grpc::ChannelArguments& arguments = {});

class DifferentialTest : public ::testing::Test {
 protected:
  DifferentialTest() : address_(FreshAddress()) {}
  ~DifferentialTest() override { StopServer(); }

  const std::string& address() const { return address_; }
  // Serves service_ at address(), and connects to it.
  void Start(const Configure& configure = {}, const grpc::ChannelArguments& arguments = {});
  // Ends all calls and waits for their handlers; tests whose handlers use their locals end with it.
  void StopServer();

  Status Call(const Msg& request = Msg(), Msg* response = nullptr) { return CallOn(*stub_, request, response); }
  static Status CallOn(Methods::StubInterface& stub, const Msg& request = Msg(), Msg* response = nullptr);
  // The channel that the test used still works, and a new one does.
  void ExpectAlive();

  LambdaService service_;
  std::unique_ptr<grpc::Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<Methods::Stub> stub_;

 private:
  const std::string address_;
};

// The program differential_peer; killed, if need be, with the object.
class Peer {
 public:
  // Waits until it says "ready".
  explicit Peer(const std::vector<std::string>& arguments);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  void Stop();
  void Continue();
  void Kill();

 private:
  pid_t pid_ = -1;
};

}  // namespace differential

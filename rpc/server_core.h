// What the connections of one server share: its methods, its limits, who is connected, how many calls run.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <set>
#include <unordered_map>

#include "rpc/interception/server_interception.h"
#include "rpc/keepalive.h"
#include "rpc/method_table.h"
#include "transport/runtime/io_runtime.h"

namespace ipcrpc::rpc {

class ServerConnection;

struct ServerLimits {
  int64_t max_receive_bytes = 4 * 1024 * 1024;
  int64_t max_send_bytes = std::numeric_limits<int64_t>::max();
  uint32_t max_streams = 4096;  // calls in flight for each connection; RESOURCE_EXHAUSTED beyond
  int64_t greeting_ns = 10'000'000'000;  // for a client to say HELLO
  Keepalive keepalive;
};

// Thread-safe.
class ServerCore : public std::enable_shared_from_this<ServerCore> {
 public:
  ServerCore(MethodTable methods, ServerLimits limits, internal::ServerInterceptorFactories interceptors,
             std::shared_ptr<IoRuntime> runtime)
      : methods_(std::move(methods)), limits_(limits), interceptors_(std::move(interceptors)), intercepts_(!interceptors_.empty()),
        runtime_(std::move(runtime)) {}

  const MethodTable& methods() const { return methods_; }
  const ServerLimits& limits() const { return limits_; }
  bool intercepts() const { return intercepts_; }
  const internal::ServerInterceptorFactories& interceptors() const { return interceptors_; }
  IoRuntime& runtime() const { return *runtime_; }
  bool draining() const { return draining_.load(std::memory_order_acquire); }
  // New calls do not run any more.
  bool turns_away() const { return turns_away_.load(std::memory_order_acquire); }

  ~ServerCore();

  void AddLink(std::unique_ptr<Link> link);
  // The client has said HELLO.
  void Greeted(ServerConnection* connection);
  void Remove(ServerConnection* connection);

  // `on_deserted` runs once when nobody is connected and all of `listeners` have told that nobody will be. Not for none.
  // Under a lock of the core's: it must do little.
  void ExpectListeners(size_t listeners, std::function<void()> on_deserted);
  void ListenerExhausted();

  // False: the server turns calls away, this one must not run.
  bool BeginCall();
  void EndCall();
  // A connection has changed in what Drain() waits for.
  void NoteChange();

  // Every client is asked to go, and may still begin calls until it has heard of that, but for `patience_ns` at most. Then
  // no call begins any more; those that run may finish until the deadline, are then cancelled, and waited for. Then every
  // connection is closed. Once.
  void Drain(int64_t patience_ns);
  // Before Drain(), or meanwhile: the deadline is this one at the latest.
  void LimitDrain(int64_t deadline_ns);

 private:
  // A connection whose client has not said HELLO yet. One timer serves all, as all have the same time.
  struct Newcomer {
    ServerConnection* connection;  // one of connections_
    int64_t deadline_ns;
  };
  void DropSilent();
  void ForgetNewcomer(ServerConnection* connection);

  std::vector<std::shared_ptr<ServerConnection>> Connections();
  void TellIfDeserted();  // with mu_ held
  // Until `done()`, with mu_ held, or the drain deadline if that counts, or `at_most`. Drives a runtime without threads
  // meanwhile.
  bool Await(const std::function<bool()>& done, bool bounded, int64_t at_most_ns = std::numeric_limits<int64_t>::max());

  const MethodTable methods_;
  const ServerLimits limits_;
  const internal::ServerInterceptorFactories interceptors_;
  const bool intercepts_;
  const std::shared_ptr<IoRuntime> runtime_;
  std::atomic<bool> draining_{false};
  std::atomic<bool> turns_away_{false};
  std::atomic<int64_t> calls_{0};
  std::mutex mu_;
  std::condition_variable changed_;
  int64_t drain_deadline_ns_ = std::numeric_limits<int64_t>::max();
  std::set<std::shared_ptr<ServerConnection>> connections_;
  std::list<Newcomer> newcomers_;  // oldest first
  std::unordered_map<ServerConnection*, std::list<Newcomer>::iterator> newcomer_at_;
  uint64_t greeting_timer_ = 0;
  bool greeting_timer_set_ = false;
  size_t listeners_ = 0;  // that may still give links
  std::function<void()> on_deserted_;
};

}  // namespace ipcrpc::rpc

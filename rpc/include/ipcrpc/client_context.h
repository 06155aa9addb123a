// What a client says of one call, and what it learns of it beside the messages.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ipcrpc/export.h"
#include "ipcrpc/internal/mutex.h"
#include "ipcrpc/peer_credentials.h"
#include "ipcrpc/string_ref.h"
#include "ipcrpc/time_point.h"
#include "ipcrpc/unique_fd.h"

namespace ipcrpc {

class CallbackServerContext;
class ServerContext;
class ServerContextBase;
namespace rpc {
struct Peer;
}
namespace internal {
class ClientCallCore;
class ClientInterception;
class CancelTarget;
class RpcMethod;
class CoroutineCall;
}

// What a nested call takes over from the call it serves.
class PropagationOptions {
 public:
  PropagationOptions& enable_deadline_propagation() { deadline_ = true; return *this; }
  PropagationOptions& disable_deadline_propagation() { deadline_ = false; return *this; }
  PropagationOptions& enable_cancellation_propagation() { cancellation_ = true; return *this; }
  PropagationOptions& disable_cancellation_propagation() { cancellation_ = false; return *this; }
  // Taken for compatibility: nothing is traced across calls.
  PropagationOptions& enable_census_stats_propagation() { return *this; }
  PropagationOptions& disable_census_stats_propagation() { return *this; }
  PropagationOptions& enable_census_tracing_propagation() { return *this; }
  PropagationOptions& disable_census_tracing_propagation() { return *this; }
  bool deadline() const { return deadline_; }
  bool cancellation() const { return cancellation_; }

 private:
  bool deadline_ = true;
  bool cancellation_ = true;
};

// One for each call; a second use stops the process. Must outlive its call. Settings before the call by one thread;
// TryCancel() at any time by any thread.
class IPCRPC_EXPORT ClientContext {
 public:
  ClientContext();
  ~ClientContext();
  ClientContext(const ClientContext&) = delete;
  ClientContext& operator=(const ClientContext&) = delete;

  // A context for a call made while serving another: deadline and cancellation pass on, unless switched off.
  static std::unique_ptr<ClientContext> FromServerContext(const ServerContext& server_context,
                                                          PropagationOptions options = PropagationOptions());
  static std::unique_ptr<ClientContext> FromCallbackServerContext(const CallbackServerContext& server_context,
                                                                  PropagationOptions options = PropagationOptions());

  // Sends `key: value` with the call. Keys: lower-case letters, digits, '-', '_', '.'; those that end in "-bin"
  // carry any bytes, others printable ASCII. Repeatable; the order of values is kept.
  void AddMetadata(const std::string& key, const std::string& value);

  // Known after the first Read(), WaitForInitialMetadata() or the end of the call; valid as long as this object.
  const std::multimap<string_ref, string_ref>& GetServerInitialMetadata() const;
  // Known after the end of the call; valid as long as this object.
  const std::multimap<string_ref, string_ref>& GetServerTrailingMetadata() const;

  // The call ends with DEADLINE_EXCEEDED when it is not over by then. A time point of any clock.
  template <typename T>
  void set_deadline(const T& deadline) {
    deadline_ns_ = internal::ToMonotonicNs(deadline);
  }
  std::chrono::system_clock::time_point deadline() const { return internal::ToSystemTime(deadline_ns_); }

  // Without it a call to a server that cannot be reached fails with UNAVAILABLE; with it, it waits (until its deadline).
  void set_wait_for_ready(bool wait_for_ready) { wait_for_ready_ = wait_for_ready; }

  // The first write carries the begin of the call.
  void set_initial_metadata_corked(bool corked) { corked_ = corked; }

  // Taken for compatibility; sent as ":authority".
  void set_authority(const std::string& authority) { authority_ = authority; }

  // ---- file descriptors as arguments; not in gRPC ----

  // `fd` goes with the next message: the request, or what is written next to the stream. Any number of times before that
  // message, up to kMaxFdsPerMessage; by whoever writes, not while a write is under way. The server gets a descriptor of the
  // same open file; this one is closed once it is sent, that of a request that can still be made again (by a blocking call)
  // when the server begins to answer. FAILED_PRECONDITION, before the message is sent: the connected transport passes no
  // descriptors; RESOURCE_EXHAUSTED: too many; INVALID_ARGUMENT: it is not open. RESOURCE_EXHAUSTED may also come from the
  // server: it has no descriptor free, or the kernel refused to pass them.
  void AttachFd(UniqueFd fd) { send_fds_.push_back(std::move(fd)); }
  // Those that came with the response, or with the message that was read last, in the order in which they were attached;
  // close-on-exec. Once; what is not taken before the next message is read, or this object goes, is closed. By whoever reads.
  std::vector<UniqueFd> TakeFds() { return std::exchange(received_fds_, {}); }

  // Ends the call with CANCELLED; before the call: at its start. After it: nothing.
  void TryCancel();

  // "shm:/run/ipcrpc/monitor.shm" once connected; never empty.
  std::string peer() const;
  // Not in gRPC: who the server is, once connected; before, nobody (not vouched for).
  PeerCredentials peer_credentials() const;

 private:
  friend class internal::ClientCallCore;
  friend class internal::ClientInterception;
  friend class internal::CoroutineCall;

  // A call that may outlive this object has a context of its own, which takes over what was set here. `call` is what
  // TryCancel() reaches, until Part(). Descriptors go over with each message that is sent, behind those that wait there; and come
  // back with each that was received, in place of those of the one before. What is learnt comes back by LearnBegin() (after the
  // initial metadata) and LearnEnd().
  void Lend(ClientContext& own, internal::CancelTarget* call, const internal::RpcMethod& method);
  void LendFds(ClientContext& own);
  void LearnFds(ClientContext& own);
  void LearnBegin(const ClientContext& own);
  void LearnEnd(ClientContext& own);
  void Part();

  static std::unique_ptr<ClientContext> FromBase(const ServerContextBase& server_context, PropagationOptions options);

  std::multimap<std::string, std::string> send_metadata_;  // equal keys keep their order
  int64_t deadline_ns_ = internal::kNoDeadlineNs;
  bool wait_for_ready_ = false;
  bool corked_ = false;
  bool used_ = false;
  std::string authority_;

  // What stands in call_ when it is over.
  static internal::CancelTarget* Ended();
  // Null as long as there was no connection. With mu_ held.
  const rpc::Peer* PeerLocked() const;

  // The call comes and goes without the lock. It shows itself before it looks whether it is cancelled, and leaves before it looks
  // again; who cancels says so before looking for a call, which is used with the lock held: so one of the two sees the other.
  mutable internal::Mutex mu_;
  std::atomic<bool> cancelled_{false};                   // set under mu_
  std::atomic<internal::CancelTarget*> call_{nullptr};  // while it runs
  std::shared_ptr<const rpc::Peer> peer_;                // written while call_ is null, or under mu_

  // Received blocks and the views into them, made at the first look.
  std::string initial_block_, trailing_block_;
  mutable std::multimap<string_ref, string_ref> initial_metadata_, trailing_metadata_;
  mutable bool initial_parsed_ = false, trailing_parsed_ = false;

  std::vector<UniqueFd> send_fds_;      // with the next message
  std::vector<UniqueFd> received_fds_;  // with the last one

  std::shared_ptr<void> propagation_;  // keeps the link to the served call
  std::unique_ptr<internal::ClientInterception> interception_;  // of an intercepted call; set under mu_
};

}  // namespace ipcrpc

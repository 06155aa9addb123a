// What a handler knows of the call it serves, and what it says beside the messages.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "ipcrpc/export.h"
#include "ipcrpc/peer_credentials.h"
#include "ipcrpc/string_ref.h"
#include "ipcrpc/support/message_allocator.h"
#include "ipcrpc/support/server_callback.h"
#include "ipcrpc/time_point.h"
#include "ipcrpc/unique_fd.h"

namespace ipcrpc {

class CallbackGenericService;
class ClientContext;
namespace internal {
class ServerCallCore;
class ServerInterception;
template <class Request, class Response>
class CallbackUnaryHandler;
}

// What is known of the peer's identity, in gRPC's form: properties by name. Here "uid", "gid", "pid" and
// "transport_security_type" ("local" when the kernel vouches for them).
class IPCRPC_EXPORT AuthContext {
 public:
  explicit AuthContext(std::multimap<std::string, std::string> properties) : properties_(std::move(properties)) {}
  bool IsPeerAuthenticated() const { return properties_.count("uid") != 0; }
  std::vector<string_ref> GetPeerIdentity() const { return FindPropertyValues("uid"); }
  std::string GetPeerIdentityPropertyName() const { return IsPeerAuthenticated() ? "uid" : ""; }
  std::vector<string_ref> FindPropertyValues(const std::string& name) const {
    std::vector<string_ref> values;
    for (auto [it, end] = properties_.equal_range(name); it != end; ++it) values.push_back(it->second);
    return values;
  }

 private:
  std::multimap<std::string, std::string> properties_;
};

// What both kinds of handlers are given.
class IPCRPC_EXPORT ServerContextBase {
 public:
  ServerContextBase(const ServerContextBase&) = delete;
  ServerContextBase& operator=(const ServerContextBase&) = delete;

  const std::multimap<string_ref, string_ref>& client_metadata() const;

  // Goes with SendInitialMetadata(), else with the first message, else with the status.
  void AddInitialMetadata(const std::string& key, const std::string& value);
  // Goes with the status.
  void AddTrailingMetadata(const std::string& key, const std::string& value);

  // The client is gone, has cancelled, or its deadline has passed.
  bool IsCancelled() const;
  // Not in gRPC: a stop is requested when the client is gone or has cancelled, so that a handler which waits for something
  // else than its client can be woken. A passed deadline requests none: bound the wait by deadline(). By the handler's thread.
  std::stop_token stop_token() const;
  // The client gets CANCELLED whatever the handler says.
  void TryCancel() const;

  // ---- file descriptors as arguments; not in gRPC ----

  // Those that came with the request, or with the message that was read last, in the order in which they were attached;
  // close-on-exec. Once; what is not taken before the next message is read, or the call is over, is closed. Check what they are:
  // the client sends any file that it likes, also one on which reading or closing blocks. By whoever reads.
  std::vector<UniqueFd> TakeFds();
  // `fd` goes with the next message: the response, or what is written next to the stream; closed when it is sent, or when none
  // is. Any number of times before that message, up to kMaxFdsPerMessage; by whoever writes, not while a write is under way.
  // What cannot go ends the call, for the client too, instead of the message: FAILED_PRECONDITION, its transport passes no
  // descriptors; RESOURCE_EXHAUSTED, too many; INVALID_ARGUMENT, it is not open.
  void AttachFd(UniqueFd fd) { send_fds_.push_back(std::move(fd)); }

  // The client's; time_point::max() without one.
  std::chrono::system_clock::time_point deadline() const { return internal::ToSystemTime(deadline_ns_); }

  std::string peer() const;
  // Not in gRPC: who the client is; nobody (not vouched for) in a context that a test has made.
  PeerCredentials peer_credentials() const;
  std::shared_ptr<const AuthContext> auth_context() const;

 protected:
  ServerContextBase();
  ~ServerContextBase();

 private:
  friend class internal::ServerCallCore;
  friend class CallbackGenericService;
  friend class internal::ServerInterception;
  friend class ClientContext;

  int64_t deadline_ns_ = internal::kNoDeadlineNs;
  std::multimap<std::string, std::string> initial_metadata_, trailing_metadata_;
  bool initial_metadata_sent_ = false;
  std::vector<UniqueFd> send_fds_;  // with the next message
  std::string client_block_;
  mutable std::multimap<string_ref, string_ref> client_metadata_;
  mutable bool client_parsed_ = false;
  internal::ServerCallCore* call_ = nullptr;  // null when made by a test: nothing is ever cancelled
  internal::ServerInterception* interception_ = nullptr;  // of an intercepted call
};

// Of a handler that runs from the begin of its call to the end. Valid for its length. IsCancelled() and TryCancel() by any
// thread; the rest by the handler's.
class ServerContext : public ServerContextBase {};

// Of a callback handler. Valid until its reactor's OnDone() has returned. IsCancelled() and TryCancel() by any thread; the
// rest by one at a time, and initial metadata before they are sent.
class CallbackServerContext : public ServerContextBase {
 public:
  // For unary methods: a reactor that reacts to nothing, to be finished by the handler or later.
  ServerUnaryReactor* DefaultReactor() { return &default_reactor_; }

  // What holds the messages of a unary call; a MessageAllocator's holder where one is set.
  RpcAllocatorState* GetRpcAllocatorState() { return allocator_state_; }

 private:
  template <class Request, class Response>
  friend class internal::CallbackUnaryHandler;

  class Reactor final : public ServerUnaryReactor {
    void OnDone() override {}
  };

  Reactor default_reactor_;
  RpcAllocatorState* allocator_state_ = nullptr;
};

// As CallbackServerContext; and what the client called. See generic/callback_generic_service.h.
class IPCRPC_EXPORT GenericCallbackServerContext final : public CallbackServerContext {
 public:
  // "/package.Service/Method", as the client sent it: any bytes.
  const std::string& method() const { return method_; }
  // What the client set as its authority; else empty.
  const std::string& host() const { return host_; }

 private:
  friend class CallbackGenericService;

  std::string method_, host_;
};

}  // namespace ipcrpc

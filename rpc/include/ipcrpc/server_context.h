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
#include "ipcrpc/string_ref.h"
#include "ipcrpc/time_point.h"

namespace ipcrpc {

class ClientContext;
namespace internal {
class ServerCallImpl;
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

// Valid for the length of the handler. IsCancelled() and TryCancel() by any thread; the rest by the handler's.
class IPCRPC_EXPORT ServerContext {
 public:
  ServerContext();
  ~ServerContext();
  ServerContext(const ServerContext&) = delete;
  ServerContext& operator=(const ServerContext&) = delete;

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
  // The client gets CANCELLED whatever the handler returns.
  void TryCancel() const;

  // The client's; time_point::max() without one.
  std::chrono::system_clock::time_point deadline() const { return internal::ToSystemTime(deadline_ns_); }

  std::string peer() const;
  std::shared_ptr<const AuthContext> auth_context() const;

 private:
  friend class internal::ServerCallImpl;
  friend class ClientContext;

  int64_t deadline_ns_ = internal::kNoDeadlineNs;
  std::multimap<std::string, std::string> initial_metadata_, trailing_metadata_;
  bool initial_metadata_sent_ = false;
  std::string client_block_;
  mutable std::multimap<string_ref, string_ref> client_metadata_;
  mutable bool client_parsed_ = false;
  internal::ServerCallImpl* call_ = nullptr;  // null when made by a test: nothing is ever cancelled
};

}  // namespace ipcrpc

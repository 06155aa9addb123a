// Who may call which method: rules by the peer's uid, gid and pid, as the kernel tells them.
//
// A rule is looked up for each method by its name, and the first of these that there is counts:
//   1. the server's policy (ServerBuilder::SetAuthorizationPolicy) for the method, then for its service;
//   2. the .proto's options of the method, then of its service (ipcrpc/options.proto);
//   3. the policy's default.
// Without any the method is open to everybody who can connect. Health and reflection (grpc.health.v1, grpc.reflection.v1 and
// v1alpha) have no default: they are open unless a rule names them.
//
// Who matches no rule gets PERMISSION_DENIED; its request is not parsed and no handler runs.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ipcrpc/export.h"
#include "ipcrpc/peer_credentials.h"

namespace ipcrpc {

namespace rpc {
class AccessRule;
class AccessTable;
}

// Allows whom any of its lines allows; without one, nobody. A value. Ids are compared with those that the peer had when it
// connected, and decided once for each connection. A peer whose uid nobody knows (the overflow uid 65534) matches nothing but
// AllowAnyone(); nor does one that the kernel does not vouch for (pipe:, stdio:), unless the policy says AllowUnverified().
class IPCRPC_EXPORT AuthorizationRule {
 public:
  // Says whether `peer` may call `method` ("/package.Service/Method"). Asked at each call whom no other line allows, and so
  // may change its mind. On the thread that receives: it must not block, nor call this server. What it throws means no.
  // By many threads at once. The kernel vouches for `peer`, unless the policy says AllowUnverified().
  using Predicate = std::function<bool(const PeerCredentials& peer, std::string_view method)>;

  AuthorizationRule& AllowUid(uid_t uid);
  AuthorizationRule& AllowGid(gid_t gid);
  // By name, looked up when the server is built; one that does not exist is an error there.
  AuthorizationRule& AllowUser(std::string user);
  // The peer's primary group; over shm: and unix: also its supplementary ones (PeerCredentials::groups).
  AuthorizationRule& AllowGroup(std::string group);
  // Who has the server's effective uid at the time of the connection's first such call.
  AuthorizationRule& AllowSameUser();
  AuthorizationRule& AllowRoot() { return AllowUid(0); }
  // The process that connected. Pids are used again: good for a child that is still waited for.
  AuthorizationRule& AllowPid(pid_t pid);
  // `description` is for the message to those who are refused: "who has signed the visitors' book".
  AuthorizationRule& AllowIf(Predicate predicate, std::string description);
  // Also peers of whom nothing is known. For a method that is to be open in spite of a rule for its service, or a default.
  AuthorizationRule& AllowAnyone();

 private:
  friend class rpc::AccessRule;
  struct Condition {
    Predicate holds;
    std::string description;
  };

  std::vector<uid_t> uids_;
  std::vector<gid_t> gids_;
  std::vector<pid_t> pids_;
  std::vector<std::string> users_, groups_;
  std::vector<Condition> conditions_;
  bool same_user_ = false;
  bool anyone_ = false;
};

// Rules by name. A value.
class IPCRPC_EXPORT AuthorizationPolicy {
 public:
  // `name`: "/package.Service/Method", or "/package.Service/*" for all of a service that have no rule of their own. A second
  // rule for the same name takes the place of the first.
  AuthorizationPolicy& SetRule(std::string name, AuthorizationRule rule);
  // For methods that have no other rule.
  AuthorizationPolicy& SetDefault(AuthorizationRule rule);
  // A peer that the kernel does not vouch for is let through by each rule that allows anybody by uid, gid or pid, and is
  // shown to predicates: whoever gives out the ends of the server's pipes answers for them.
  AuthorizationPolicy& AllowUnverified(bool allowed = true);

 private:
  friend class rpc::AccessTable;

  std::map<std::string, AuthorizationRule, std::less<>> rules_;
  std::optional<AuthorizationRule> default_;
  bool allow_unverified_ = false;
};

}  // namespace ipcrpc

// A rule of an AuthorizationPolicy as this machine has it: names looked up.
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ipcrpc/authorization.h"

namespace ipcrpc::rpc {

// Constant; by any thread.
class AccessRule {
 public:
  // INVALID_ARGUMENT: a user or group that does not exist.
  static absl::StatusOr<AccessRule> Resolve(const AuthorizationRule& rule, bool allow_unverified);

  enum class Verdict {
    kAllowed,
    kDenied,
    kAsk,  // not by what the peer is: ask Holds(), at each call
  };
  Verdict Judge(const PeerCredentials& peer) const;
  bool Holds(const PeerCredentials& peer, std::string_view method) const;

  // "uid 0, group adm (gid 4)" or "nobody".
  const std::string& allowed() const { return allowed_; }

 private:
  void Describe(std::string what);
  bool Matches(const PeerCredentials& peer) const;  // one that is known

  std::vector<uid_t> uids_;
  std::vector<gid_t> gids_;
  std::vector<pid_t> pids_;
  std::vector<AuthorizationRule::Condition> conditions_;
  bool same_user_ = false;
  bool anyone_ = false;
  bool allow_unverified_ = false;
  std::string allowed_;
};

}  // namespace ipcrpc::rpc

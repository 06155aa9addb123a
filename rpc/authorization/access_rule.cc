#include "rpc/authorization/access_rule.h"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "transport/base/accounts.h"
#include "transport/base/strings.h"

namespace ipcrpc::rpc {
namespace {

// Of the description: it goes into a status, which has a limit.
constexpr size_t kMaxDescription = 1024;

template <typename T>
bool Contains(const std::vector<T>& values, const T& value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

}  // namespace

absl::StatusOr<AccessRule> AccessRule::Resolve(const AuthorizationRule& rule, bool allow_unverified) {
  AccessRule resolved;
  resolved.uids_ = rule.uids_;
  resolved.gids_ = rule.gids_;
  resolved.pids_ = rule.pids_;
  resolved.conditions_ = rule.conditions_;
  resolved.same_user_ = rule.same_user_;
  resolved.anyone_ = rule.anyone_;
  resolved.allow_unverified_ = allow_unverified;
  if (rule.anyone_) resolved.Describe("anyone");
  if (rule.same_user_) resolved.Describe("the server's user");
  for (const uid_t uid : rule.uids_) resolved.Describe(Cat("uid ", uid));
  for (const std::string& name : rule.users_) {
    const std::optional<uid_t> uid = FindUser(name);
    if (!uid.has_value()) return absl::InvalidArgumentError(Cat("there is no user '", name, "'"));
    resolved.uids_.push_back(*uid);
    resolved.Describe(Cat("user ", name, " (uid ", *uid, ")"));
  }
  for (const gid_t gid : rule.gids_) resolved.Describe(Cat("gid ", gid));
  for (const std::string& name : rule.groups_) {
    const std::optional<gid_t> gid = FindGroup(name);
    if (!gid.has_value()) return absl::InvalidArgumentError(Cat("there is no group '", name, "'"));
    resolved.gids_.push_back(*gid);
    resolved.Describe(Cat("group ", name, " (gid ", *gid, ")"));
  }
  for (const pid_t pid : rule.pids_) resolved.Describe(Cat("pid ", pid));
  for (const AuthorizationRule::Condition& condition : rule.conditions_) {
    if (condition.holds == nullptr) return absl::InvalidArgumentError("AllowIf() was given no predicate");
    resolved.Describe(condition.description);
  }
  if (resolved.allowed_.empty()) resolved.allowed_ = "nobody";
  return resolved;
}

void AccessRule::Describe(std::string what) {
  if (allowed_.size() > kMaxDescription) return;
  if (!allowed_.empty()) allowed_ += ", ";
  allowed_ += what;
  if (allowed_.size() <= kMaxDescription) return;
  allowed_.resize(kMaxDescription);
  allowed_ += " …";
}

AccessRule::Verdict AccessRule::Judge(const PeerCredentials& peer) const {
  if (anyone_) return Verdict::kAllowed;
  if (peer.vouched ? peer.uid == PeerCredentials::kUnknownUid : !allow_unverified_) return Verdict::kDenied;
  if (peer.vouched ? Matches(peer) : same_user_ || !uids_.empty() || !gids_.empty() || !pids_.empty()) return Verdict::kAllowed;
  return conditions_.empty() ? Verdict::kDenied : Verdict::kAsk;
}

bool AccessRule::Matches(const PeerCredentials& peer) const {
  if (Contains(uids_, peer.uid) || (same_user_ && peer.uid == geteuid())) return true;
  if (peer.pid != 0 && Contains(pids_, peer.pid)) return true;
  const auto allowed = [this](gid_t gid) { return gid != PeerCredentials::kUnknownGid && Contains(gids_, gid); };
  return allowed(peer.gid) || std::any_of(peer.groups.begin(), peer.groups.end(), allowed);
}

bool AccessRule::Holds(const PeerCredentials& peer, std::string_view method) const {
  try {
    return std::any_of(conditions_.begin(), conditions_.end(), [&](const auto& condition) { return condition.holds(peer, method); });
  } catch (...) {
    return false;
  }
}

}  // namespace ipcrpc::rpc

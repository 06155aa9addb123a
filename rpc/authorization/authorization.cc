#include "ipcrpc/authorization.h"

namespace ipcrpc {

AuthorizationRule& AuthorizationRule::AllowUid(uid_t uid) {
  uids_.push_back(uid);
  return *this;
}

AuthorizationRule& AuthorizationRule::AllowGid(gid_t gid) {
  gids_.push_back(gid);
  return *this;
}

AuthorizationRule& AuthorizationRule::AllowUser(std::string user) {
  users_.push_back(std::move(user));
  return *this;
}

AuthorizationRule& AuthorizationRule::AllowGroup(std::string group) {
  groups_.push_back(std::move(group));
  return *this;
}

AuthorizationRule& AuthorizationRule::AllowSameUser() {
  same_user_ = true;
  return *this;
}

AuthorizationRule& AuthorizationRule::AllowPid(pid_t pid) {
  pids_.push_back(pid);
  return *this;
}

AuthorizationRule& AuthorizationRule::AllowIf(Predicate predicate, std::string description) {
  conditions_.push_back({std::move(predicate), std::move(description)});
  return *this;
}

AuthorizationRule& AuthorizationRule::AllowAnyone() {
  anyone_ = true;
  return *this;
}

AuthorizationPolicy& AuthorizationPolicy::SetRule(std::string name, AuthorizationRule rule) {
  rules_.insert_or_assign(std::move(name), std::move(rule));
  return *this;
}

AuthorizationPolicy& AuthorizationPolicy::SetDefault(AuthorizationRule rule) {
  default_ = std::move(rule);
  return *this;
}

AuthorizationPolicy& AuthorizationPolicy::AllowUnverified(bool allowed) {
  allow_unverified_ = allowed;
  return *this;
}

}  // namespace ipcrpc

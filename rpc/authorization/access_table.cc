#include "rpc/authorization/access_table.h"

#include <algorithm>
#include <utility>

#include "ipcrpc/server.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"

namespace ipcrpc::rpc {
namespace {

// Which a server need not have for a rule to name them.
constexpr std::string_view kOpenServices[] = {"/grpc.health.v1.Health/", "/grpc.reflection.v1.ServerReflection/",
                                              "/grpc.reflection.v1alpha.ServerReflection/"};

bool OpenByDefault(std::string_view method) {
  return std::any_of(std::begin(kOpenServices), std::end(kOpenServices),
                     [&](std::string_view service) { return method.starts_with(service); });
}

// "/pkg.Svc/" of "/pkg.Svc/Method".
std::string_view ServicePart(std::string_view method) { return method.substr(0, method.rfind('/') + 1); }

bool IsIdentifier(std::string_view text) {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; };
  return !text.empty() && letter(text.front()) &&
         std::all_of(text.begin(), text.end(), [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

bool IsRuleName(std::string_view name) {
  if (!name.starts_with('/')) return false;
  const size_t slash = name.find('/', 1);
  if (slash == name.npos) return false;
  const std::string_view method = name.substr(slash + 1);
  if (method != "*" && !IsIdentifier(method)) return false;
  for (std::string_view service = name.substr(1, slash - 1);;) {
    const size_t dot = service.find('.');
    if (!IsIdentifier(service.substr(0, dot))) return false;
    if (dot == service.npos) return true;
    service.remove_prefix(dot + 1);
  }
}

absl::Status Wrong(std::string_view name, std::string_view why) {
  return absl::InvalidArgumentError(Cat("the authorization rule for '", name, "': ", why));
}

}  // namespace

absl::StatusOr<AccessTable> AccessTable::Make(const AuthorizationPolicy& policy, std::span<Service* const> services, bool generic) {
  AccessTable table;
  RETURN_IF_ERROR(table.AddNamed(policy, policy.allow_unverified_, table.chosen_));
  std::set<std::string, std::less<>> known;  // methods, and "/pkg.Svc/*"
  for (const Service* service : services) {
    RETURN_IF_ERROR(table.AddNamed(service->authorization(), policy.allow_unverified_, table.declared_));
    for (const auto& method : service->methods()) {
      known.insert(method->name());
      known.insert(Cat(ServicePart(method->name()), "*"));
    }
  }
  for (const auto& [name, rule] : table.chosen_) {
    // A misspelt name would leave the method open that was meant.
    if (generic || known.contains(name) || OpenByDefault(name)) continue;
    return Wrong(name, name.ends_with("/*") ? "the server has no such service" : "the server has no such method");
  }
  if (policy.default_.has_value()) {
    absl::StatusOr<const Rule*> rule = table.Add(*policy.default_, policy.allow_unverified_);
    if (!rule.ok()) return absl::InvalidArgumentError(Cat("the authorization policy's default: ", MessageOf(rule.status())));
    table.default_ = *rule;
  }
  return table;
}

absl::Status AccessTable::AddNamed(const AuthorizationPolicy& policy, bool allow_unverified, Names& names) {
  for (const auto& [name, rule] : policy.rules_) {
    if (!IsRuleName(name)) return Wrong(name, "expected \"/package.Service/Method\" or \"/package.Service/*\"");
    absl::StatusOr<const Rule*> added = Add(rule, allow_unverified);
    if (!added.ok()) return Wrong(name, MessageOf(added.status()));
    names[name] = *added;
  }
  return absl::OkStatus();
}

absl::StatusOr<const AccessTable::Rule*> AccessTable::Add(const AuthorizationRule& rule, bool allow_unverified) {
  ASSIGN_OR_RETURN(AccessRule access, AccessRule::Resolve(rule, allow_unverified));
  return &rules_.emplace_back(Rule{std::move(access), rules_.size()});
}

const AccessTable::Rule* AccessTable::FindIn(const Names& names, std::string_view method) {
  if (const auto it = names.find(method); it != names.end()) return it->second;
  const auto it = names.find(Cat(ServicePart(method), "*"));
  return it == names.end() ? nullptr : it->second;
}

const AccessTable::Rule* AccessTable::FindOther(std::string_view method) const {
  const Rule* const chosen = FindIn(chosen_, method);
  return chosen != nullptr ? chosen : default_;
}

const AccessTable::Rule* AccessTable::Find(std::string_view method) const {
  if (const Rule* const chosen = FindIn(chosen_, method)) return chosen;
  if (const Rule* const declared = FindIn(declared_, method)) return declared;
  return OpenByDefault(method) ? nullptr : default_;
}

bool Admission::Admits(const AccessTable::Rule& rule, const PeerCredentials& peer, std::string_view method) {
  if (decided_.size() <= rule.number) decided_.resize(rule.number + 1);
  uint8_t& decided = decided_[rule.number];
  if (decided == 0) decided = static_cast<uint8_t>(1 + static_cast<int>(rule.access.Judge(peer)));
  const auto verdict = static_cast<AccessRule::Verdict>(decided - 1);
  return verdict == AccessRule::Verdict::kAsk ? rule.access.Holds(peer, method) : verdict == AccessRule::Verdict::kAllowed;
}

}  // namespace ipcrpc::rpc

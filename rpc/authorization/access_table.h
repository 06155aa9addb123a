// The rules of one server by method, and what they come to for one of its peers.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "ipcrpc/authorization.h"
#include "rpc/authorization/access_rule.h"

namespace ipcrpc {
class Service;
}

namespace ipcrpc::rpc {

// Constant; by any thread. At a rule's place it never changes.
class AccessTable {
 public:
  AccessTable() = default;
  // INVALID_ARGUMENT says which rule is wrong, and why: a user, group, method or service that does not exist. Where a
  // `generic` service takes them, methods may have any name.
  static absl::StatusOr<AccessTable> Make(const AuthorizationPolicy& policy, std::span<Service* const> services, bool generic);

  // By its number, for Admission. The table's.
  struct Rule {
    AccessRule access;
    size_t number;
  };
  // Of a method of one of the services; null: it is open.
  const Rule* Find(std::string_view method) const;
  // Of one that the generic service takes.
  const Rule* FindOther(std::string_view method) const;
  bool empty() const { return rules_.empty(); }

 private:
  using Names = std::map<std::string, const Rule*, std::less<>>;

  absl::StatusOr<const Rule*> Add(const AuthorizationRule& rule, bool allow_unverified);
  absl::Status AddNamed(const AuthorizationPolicy& policy, bool allow_unverified, Names& names);
  static const Rule* FindIn(const Names& names, std::string_view method);

  std::deque<Rule> rules_;
  Names chosen_;    // by the policy
  Names declared_;  // by the .proto
  const Rule* default_ = nullptr;
};

// What the rules say of one peer. What depends on nothing but who it is is decided once. By one thread at a time.
class Admission {
 public:
  bool Admits(const AccessTable::Rule& rule, const PeerCredentials& peer, std::string_view method);

 private:
  std::vector<uint8_t> decided_;  // by a rule's number: 1 + its verdict, 0: not yet
};

}  // namespace ipcrpc::rpc

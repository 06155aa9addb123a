#include "rpc/authorization/access_table.h"

#include <memory>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipcrpc/server.h"

namespace ipcrpc::rpc {
namespace {

using ::testing::HasSubstr;

AuthorizationRule Uid(uid_t uid) { return AuthorizationRule().AllowUid(uid); }

// Two methods, and rules of a .proto.
class Valves final : public Service {
 public:
  Valves() {
    for (const char* name : {"/site.Valves/State", "/site.Valves/Open"}) {
      AddMethod(std::make_unique<internal::RpcServiceMethod>(name, internal::RpcMethod::NORMAL_RPC, nullptr));
    }
  }
  void Declare(const char* name, uid_t uid) { SetRule(name, Uid(uid)); }
};

class AccessTableTest : public ::testing::Test {
 protected:
  AccessTable Table(const AuthorizationPolicy& policy, bool generic = false) {
    Service* const services[] = {&valves_};
    absl::StatusOr<AccessTable> table = AccessTable::Make(policy, services, generic);
    EXPECT_TRUE(table.ok()) << table.status();
    return *std::move(table);
  }
  std::string Error(const AuthorizationPolicy& policy, bool generic = false) {
    Service* const services[] = {&valves_};
    const absl::Status status = AccessTable::Make(policy, services, generic).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    return std::string(status.message());
  }
  // Whom the rule of the method allows; "anybody" where there is none.
  static std::string Of(const AccessTable& table, std::string_view method) {
    const AccessTable::Rule* const rule = table.Find(method);
    return rule == nullptr ? "anybody" : rule->access.allowed();
  }

  Valves valves_;
};

TEST_F(AccessTableTest, OfNoPolicyIsEmpty) {
  const AccessTable table = Table({});
  EXPECT_TRUE(table.empty());
  EXPECT_EQ(table.Find("/site.Valves/Open"), nullptr);
  EXPECT_EQ(table.FindOther("/other.Service/Method"), nullptr);
}

TEST_F(AccessTableTest, FindsThePolicysRuleThenTheProtosThenTheDefault) {
  AuthorizationPolicy policy;
  policy.SetDefault(Uid(1));
  EXPECT_EQ(Of(Table(policy), "/site.Valves/Open"), "uid 1");
  valves_.Declare("/site.Valves/*", 2);
  EXPECT_EQ(Of(Table(policy), "/site.Valves/Open"), "uid 2");
  valves_.Declare("/site.Valves/Open", 3);
  EXPECT_EQ(Of(Table(policy), "/site.Valves/Open"), "uid 3");
  EXPECT_EQ(Of(Table(policy), "/site.Valves/State"), "uid 2");
  policy.SetRule("/site.Valves/*", Uid(4));
  EXPECT_EQ(Of(Table(policy), "/site.Valves/Open"), "uid 4") << "the policy's for the service stands above the .proto's for the method";
  policy.SetRule("/site.Valves/Open", Uid(5));
  EXPECT_EQ(Of(Table(policy), "/site.Valves/Open"), "uid 5");
  EXPECT_EQ(Of(Table(policy), "/site.Valves/State"), "uid 4");
  policy.SetRule("/site.Valves/Open", Uid(6));
  EXPECT_EQ(Of(Table(policy), "/site.Valves/Open"), "uid 6") << "the second takes the place of the first";
}

TEST_F(AccessTableTest, HealthAndReflectionHaveNoDefault) {
  const std::string health = "/grpc.health.v1.Health/Check";
  AuthorizationPolicy policy;
  policy.SetDefault({});
  for (const std::string& open : {health, std::string("/grpc.health.v1.Health/Watch"),
                                  std::string("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
                                  std::string("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo")}) {
    EXPECT_EQ(Of(Table(policy), open), "anybody");
  }
  EXPECT_EQ(Of(Table(policy), "/grpc.health.v1.HealthOfOthers/Check"), "nobody");
  policy.SetRule("/grpc.health.v1.Health/*", Uid(1));
  EXPECT_EQ(Of(Table(policy), health), "uid 1");
}

TEST_F(AccessTableTest, NamesAreThoseOfTheServer) {
  const auto named = [](const std::string& name) { return AuthorizationPolicy().SetRule(name, Uid(1)); };
  EXPECT_THAT(Error(named("/site.Valves/Opem")), HasSubstr("'/site.Valves/Opem': the server has no such method"));
  EXPECT_THAT(Error(named("/site.Valve/*")), HasSubstr("'/site.Valve/*': the server has no such service"));
  EXPECT_THAT(Error(named("site.Valves")), HasSubstr("'site.Valves': expected"));
  EXPECT_THAT(Error(named("site.Valves"), true), HasSubstr("expected"));
  valves_.Declare("/site.Valves", 1);
  EXPECT_THAT(Error({}), HasSubstr("'/site.Valves': expected"));
}

TEST_F(AccessTableTest, AGenericServicesMethodsHaveAnyNameAndNoProto) {
  valves_.Declare("/site.Valves/*", 2);
  const AccessTable table =
      Table(AuthorizationPolicy().SetRule("/other.Service/Method", Uid(3)).SetRule("/other.Service/*", Uid(4)).SetDefault(Uid(5)), true);
  const auto other = [&](std::string_view method) { return table.FindOther(method)->access.allowed(); };
  EXPECT_EQ(other("/other.Service/Method"), "uid 3");
  EXPECT_EQ(other("/other.Service/Methods"), "uid 4");
  EXPECT_EQ(other("/other.Service/deeper/Method"), "uid 5") << "it is not of that service";
  for (const std::string_view odd : {"", "/", "*", "/*", "other.Service/Method", "//"}) EXPECT_EQ(other(odd), "uid 5") << odd;
}

TEST_F(AccessTableTest, WhatDependsOnThePeerAloneIsDecidedOnce) {
  int asked = 0;
  bool answer = true;
  const auto predicate = [&](const PeerCredentials&, std::string_view) { return ++asked, answer; };
  const AccessTable table = Table(AuthorizationPolicy()
                                      .SetRule("/site.Valves/State", Uid(1))
                                      .SetRule("/site.Valves/Open", AuthorizationRule().AllowUid(1).AllowIf(predicate, "whoever")));
  const AccessTable::Rule &state = *table.Find("/site.Valves/State"), &open = *table.Find("/site.Valves/Open");
  PeerCredentials peer = {.pid = 9, .uid = 1, .gid = 1, .vouched = true};
  Admission of_one;
  EXPECT_TRUE(of_one.Admits(open, peer, "/site.Valves/Open"));
  EXPECT_TRUE(of_one.Admits(state, peer, "/site.Valves/State"));
  EXPECT_EQ(asked, 0);
  peer.uid = 2;
  EXPECT_TRUE(of_one.Admits(state, peer, "/site.Valves/State"));
  Admission of_two;
  EXPECT_FALSE(of_two.Admits(state, peer, "/site.Valves/State"));
  EXPECT_TRUE(of_two.Admits(open, peer, "/site.Valves/Open"));
  answer = false;
  EXPECT_FALSE(of_two.Admits(open, peer, "/site.Valves/Open"));
  EXPECT_EQ(asked, 2) << "at each call";
}

}  // namespace
}  // namespace ipcrpc::rpc

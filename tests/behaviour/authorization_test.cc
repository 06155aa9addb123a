// Who may call what, over every transport: those on which the kernel vouches for the peer, and the pipe, on which it does not.
// Clients of other users are in authorization_process_test.cc.
#include <grp.h>
#include <ipcrpc/ext/proto_server_reflection_plugin.h>
#include <ipcrpc/health_check_service_interface.h>
#include <ipcrpc/support/server_interceptor.h>
#include <pwd.h>
#include <unistd.h>

#include <stdexcept>

#include "tests/behaviour/authorization.ipcrpc.pb.h"
#include "tests/behaviour/callback_kit.h"
#include "tests/behaviour/generic_kit.h"

namespace behaviour {
namespace {

using ipcrpc::AuthorizationPolicy;
using ipcrpc::AuthorizationRule;
using ipcrpc::PeerCredentials;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;

constexpr uid_t kStranger = 4242;
const std::string kUnary = "/behaviour.Methods/Unary", kAll = "/behaviour.Methods/*";

AuthorizationRule Nobody() { return {}; }
AuthorizationRule Anyone() { return AuthorizationRule().AllowAnyone(); }
AuthorizationRule SameUser() { return AuthorizationRule().AllowSameUser(); }
AuthorizationRule Stranger() { return AuthorizationRule().AllowUid(kStranger); }

class Authorization : public BehaviourTest {
 protected:
  Authorization() {
    service_.unary = [this](ServerContext*, const Msg* request, Msg* response) {
      ++ran_;
      *response = *request;
      return Status::OK;
    };
  }
  ~Authorization() override { StopServer(); }

  static bool vouched() { return scheme() != "pipe"; }

  void StartWith(const AuthorizationPolicy& policy) {
    Start([&](ipcrpc::ServerBuilder& builder) { builder.SetAuthorizationPolicy(policy); });
  }
  Status CallOf(Methods::Stub& stub) {
    ClientContext context;
    context.set_deadline(In(20s));
    Msg response;
    return stub.Unary(&context, Number(1), &response);
  }
  // Of a server of its own that has this rule.
  Status CallUnder(const AuthorizationRule& rule, bool allow_unverified = false) {
    const auto place = NewPlace();
    const auto server = Serve(service_, place->server(), [&](ipcrpc::ServerBuilder& builder) {
      builder.SetAuthorizationPolicy(AuthorizationPolicy().SetRule(kUnary, rule).AllowUnverified(allow_unverified));
    });
    return CallOf(*Methods::NewStub(ipcrpc::CreateChannel(place->client())));
  }
  // Each of the four kinds is refused, however much the client has to say.
  void ExpectAllRefused();

  std::atomic<int> ran_{0};
};
BEHAVIOUR_SUITE(Authorization);

StatusCode CodeOf(const Status& status) { return status.error_code(); }

TEST_P(Authorization, IsByWhoThePeerIs) {
  const passwd* const user = getpwuid(geteuid());
  const group* const group = getgrgid(getegid());
  ASSERT_TRUE(user != nullptr && group != nullptr);
  const struct {
    const char* what;
    AuthorizationRule rule;
    bool allowed;
  } cases[] = {
      {"our uid", AuthorizationRule().AllowUid(geteuid()), true},
      {"our uid among others", AuthorizationRule().AllowUid(kStranger).AllowUid(geteuid()).AllowGid(kStranger), true},
      {"another uid", Stranger(), false},
      {"our user", AuthorizationRule().AllowUser(user->pw_name), true},
      {"the server's user", SameUser(), true},
      {"root", AuthorizationRule().AllowRoot(), geteuid() == 0},
      {"our gid", AuthorizationRule().AllowGid(getegid()), true},
      {"another gid", AuthorizationRule().AllowGid(kStranger), false},
      {"our group", AuthorizationRule().AllowGroup(group->gr_name), true},
      {"our pid", AuthorizationRule().AllowPid(getpid()), true},
      {"another pid", AuthorizationRule().AllowPid(getppid()), false},
      {"the unknown uid", AuthorizationRule().AllowUid(PeerCredentials::kUnknownUid).AllowGid(PeerCredentials::kUnknownGid), false},
      {"nobody", Nobody(), false},
  };
  for (const auto& [what, rule, allowed] : cases) {
    ran_ = 0;
    const bool goes = allowed && vouched();
    const Status status = CallUnder(rule);
    EXPECT_EQ(CodeOf(status), goes ? StatusCode::OK : StatusCode::PERMISSION_DENIED) << what << ": " << status.error_message();
    EXPECT_EQ(ran_, goes ? 1 : 0) << what;
  }
  EXPECT_TRUE(CallUnder(Anyone()).ok());
}

// Whoever gives out the ends of a pipe answers for them. Where the kernel tells, it is asked all the same.
TEST_P(Authorization, UnverifiedPeersAreLetInByThePolicyAlone) {
  const StatusCode of_others = vouched() ? StatusCode::PERMISSION_DENIED : StatusCode::OK;
  EXPECT_EQ(CodeOf(CallUnder(Stranger(), true)), of_others);
  EXPECT_EQ(CodeOf(CallUnder(AuthorizationRule().AllowGid(kStranger), true)), of_others);
  EXPECT_EQ(CodeOf(CallUnder(AuthorizationRule().AllowPid(1'000'000'000), true)), of_others);
  EXPECT_EQ(CodeOf(CallUnder(SameUser(), true)), StatusCode::OK);
  EXPECT_EQ(CodeOf(CallUnder(Nobody(), true)), StatusCode::PERMISSION_DENIED);
  int asked = 0;
  const AuthorizationRule of_known = AuthorizationRule().AllowIf(
      [&](const PeerCredentials& peer, std::string_view) { return ++asked, peer.vouched == vouched(); }, "who is as expected");
  EXPECT_EQ(CodeOf(CallUnder(of_known)), vouched() ? StatusCode::OK : StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(asked, vouched() ? 1 : 0);
  EXPECT_EQ(CodeOf(CallUnder(of_known, true)), StatusCode::OK);
}

TEST_P(Authorization, TheMessageTellsWhatWasRefusedToWhomAndWhoMay) {
  const Status status = CallUnder(
      Stranger().AllowGid(4343).AllowPid(1'000'000'000).AllowIf([](const auto&, auto) { return false; }, "who has signed the book"));
  EXPECT_EQ(CodeOf(status), StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(),
              AllOf(HasSubstr(kUnary + " may not be called by "), HasSubstr("pid "), HasSubstr(", uid "), HasSubstr(", gid "),
                    EndsWith("; allowed: uid 4242, gid 4343, pid 1000000000, who has signed the book")));
  const std::string known = vouched() ? "uid " + std::to_string(geteuid()) + ", gid " : "(not vouched for)";
  EXPECT_THAT(status.error_message(), HasSubstr(known));
  EXPECT_EQ(status.error_message().find("not vouched for") == std::string::npos, vouched());
  EXPECT_THAT(CallUnder(Nobody()).error_message(), EndsWith("; allowed: nobody"));
}

TEST_P(Authorization, APredicateIsAskedAtEachCall) {
  std::atomic<int> asked{0};
  std::atomic<bool> open{false}, fails{false};
  const AuthorizationRule rule = AuthorizationRule().AllowIf(
      [&](const PeerCredentials& peer, std::string_view method) {
        ++asked;
        EXPECT_EQ(method, kUnary);
        EXPECT_EQ(peer.uid == geteuid(), vouched());
        if (fails) throw std::runtime_error("no book");
        return open.load();
      },
      "while it is open");
  StartWith(AuthorizationPolicy().SetRule(kUnary, rule).AllowUnverified());
  EXPECT_EQ(CodeOf(CallOf(*stub_)), StatusCode::PERMISSION_DENIED);
  open = true;
  EXPECT_EQ(CodeOf(CallOf(*stub_)), StatusCode::OK);
  fails = true;
  EXPECT_EQ(CodeOf(CallOf(*stub_)), StatusCode::PERMISSION_DENIED) << "what throws means no";
  EXPECT_EQ(asked, 3);
  EXPECT_EQ(ran_, 1);
  if (!vouched()) return;
  asked = 0;
  EXPECT_TRUE(CallUnder(AuthorizationRule(rule).AllowSameUser()).ok());
  EXPECT_EQ(asked, 0) << "whom another line allows";
}

// The method's rule stands over the service's, and that over the default.
TEST_P(Authorization, TheNearestRuleCounts) {
  StartWith(AuthorizationPolicy().SetRule(kUnary, Anyone()).SetRule(kAll, Nobody()).SetDefault(Anyone()));
  EXPECT_EQ(CodeOf(CallOf(*stub_)), StatusCode::OK);
  ClientContext context;
  Msg response;
  EXPECT_EQ(CodeOf(stub_->Missing(&context, Msg(), &response)), StatusCode::PERMISSION_DENIED) << "though nothing handles it";

  const auto place = NewPlace();
  const auto server = Serve(service_, place->server(), [](ipcrpc::ServerBuilder& builder) {
    builder.SetAuthorizationPolicy(AuthorizationPolicy().SetRule("/behaviour.Methods/Missing", Anyone()).SetDefault(Nobody()));
  });
  const auto stub = Methods::NewStub(ipcrpc::CreateChannel(place->client()));
  EXPECT_EQ(CodeOf(CallOf(*stub)), StatusCode::PERMISSION_DENIED);
  ClientContext again;
  EXPECT_EQ(CodeOf(stub->Missing(&again, Msg(), &response)), StatusCode::UNIMPLEMENTED);
}

TEST_P(Authorization, WithoutARuleAMethodIsOpen) {
  StartWith(AuthorizationPolicy().SetRule("/behaviour.Methods/Collect", Nobody()));
  EXPECT_TRUE(CallOf(*stub_).ok());
  ExpectAlive();
}

void Authorization::ExpectAllRefused() {
  EXPECT_EQ(CodeOf(CallOf(*stub_)), StatusCode::PERMISSION_DENIED);
  const Msg large = Data(60'000);
  {
    ClientContext context;
    context.set_deadline(In(20s));
    Msg response;
    const auto stream = stub_->Collect(&context, &response);
    // More than its window would let through, were nobody to read it.
    for (int i = 0; i < 1000 && stream->Write(large); ++i) {
    }
    EXPECT_EQ(CodeOf(stream->Finish()), StatusCode::PERMISSION_DENIED);
  }
  {
    ClientContext context;
    context.set_deadline(In(20s));
    Msg response;
    const auto stream = stub_->Emit(&context, Number(3));
    EXPECT_FALSE(stream->Read(&response));
    const Status status = stream->Finish();
    EXPECT_EQ(CodeOf(status), StatusCode::PERMISSION_DENIED);
    EXPECT_THAT(status.error_message(), HasSubstr("/behaviour.Methods/Emit may not be called by "));
  }
  ClientContext context;
  context.set_deadline(In(20s));
  Msg response;
  const auto stream = stub_->Talk(&context);
  while (stream->Write(large)) {
  }
  EXPECT_FALSE(stream->Read(&response));
  EXPECT_EQ(CodeOf(stream->Finish()), StatusCode::PERMISSION_DENIED);
}

// Counts the calls that get as far as to interceptors.
class CountingFactory final : public ipcrpc::experimental::ServerInterceptorFactoryInterface {
 public:
  explicit CountingFactory(std::atomic<int>* calls) : calls_(calls) {}
  ipcrpc::experimental::Interceptor* CreateServerInterceptor(ipcrpc::experimental::ServerRpcInfo*) override {
    ++*calls_;
    return nullptr;
  }

 private:
  std::atomic<int>* const calls_;
};

TEST_P(Authorization, IsAskedOfStreamsToo) {
  service_.collect = [this](ServerContext*, ServerCollector*, Msg*) { return ++ran_, Status::OK; };
  service_.emit = [this](ServerContext*, const Msg*, ServerEmitter*) { return ++ran_, Status::OK; };
  service_.talk = [this](ServerContext*, ServerTalk*) { return ++ran_, Status::OK; };
  std::atomic<int> intercepted{0};
  Start([&](ipcrpc::ServerBuilder& builder) {
    builder.SetAuthorizationPolicy(AuthorizationPolicy().SetRule(kAll, Nobody()).SetRule("/behaviour.Methods/Missing", Anyone()));
    ipcrpc::ServerBuilder::ServerInterceptorFactories factories;
    factories.push_back(std::make_unique<CountingFactory>(&intercepted));
    builder.experimental().SetInterceptorCreators(std::move(factories));
  });
  ExpectAllRefused();
  EXPECT_EQ(ran_, 0);
  EXPECT_EQ(intercepted, 0);
  ExpectAlive();
  EXPECT_GT(intercepted, 0);
}

TEST_P(Authorization, IsAskedOfCallbackServicesToo) {
  CallbackLambdaService service;
  service.unary = [this](CallbackServerContext* context, const Msg*, Msg*) {
    ++ran_;
    context->DefaultReactor()->Finish(Status::OK);
    return context->DefaultReactor();
  };
  service.collect = [this](CallbackServerContext*, Msg* response) { return ++ran_, NewSummer(response); };
  service.emit = [this](CallbackServerContext*, const Msg*) { return ++ran_, NewEmitter(3); };
  service.talk = [this](CallbackServerContext*) { return ++ran_, NewEcho(); };
  bool open = false;
  server_ = Serve(service, address(), [&](ipcrpc::ServerBuilder& builder) {
    builder.SetAuthorizationPolicy(
        AuthorizationPolicy().SetRule(kAll, AuthorizationRule().AllowIf([&](const auto&, auto) { return open; }, "")).AllowUnverified());
  });
  Start();
  ExpectAllRefused();
  EXPECT_EQ(ran_, 0);
  open = true;
  EXPECT_TRUE(CallOf(*stub_).ok());
  EXPECT_EQ(ran_, 1);
  StopServer();
}

// The refusal comes before anything that the request could be wrong with, and before anything is spent on it.
TEST_P(Authorization, IsAskedBeforeTheRequestIsLookedAt) {
  bool open = false;
  Start([&](ipcrpc::ServerBuilder& builder) {
    builder.SetMaxReceiveMessageSize(1000);
    builder.SetAuthorizationPolicy(
        AuthorizationPolicy().SetRule(kAll, AuthorizationRule().AllowIf([&](const auto&, auto) { return open; }, "")).AllowUnverified());
  });
  const std::string not_a_message = "\xff\xff\xff";
  ByteBuffer response;
  const auto ask = [&](const std::string& bytes) { return CodeOf(CallByName(channel_, kUnary, Bytes(bytes), &response)); };
  EXPECT_EQ(ask(not_a_message), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ask(std::string(2000, 'x')), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(ask(std::string(1'000'000, 'x')), StatusCode::PERMISSION_DENIED);
  open = true;
  EXPECT_EQ(ask(not_a_message), StatusCode::INTERNAL);
  EXPECT_EQ(ask(std::string(2000, 'x')), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ask(std::string(1'000'000, 'x')), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(ran_, 0);
  EXPECT_TRUE(CallOf(*stub_).ok());
}

// A stream's handler has a thread; a refusal has none.
TEST_P(Authorization, RefusedStreamsTakeNoThreads) {
  StartWith(AuthorizationPolicy().SetRule("/behaviour.Methods/Talk", Nobody()));
  ASSERT_TRUE(CallOf(*stub_).ok());
  const size_t before = Holdings::Now().threads;
  struct Call {
    ClientContext context;
    std::unique_ptr<ipcrpc::ClientReaderWriter<Msg, Msg>> stream;
  };
  std::vector<Call> calls(50);
  for (Call& call : calls) call.stream = stub_->Talk(&call.context);
  size_t most = 0;
  for (Call& call : calls) {
    Msg message;
    EXPECT_FALSE(call.stream->Read(&message));
    most = std::max(most, Holdings::Now().threads);
    EXPECT_EQ(CodeOf(call.stream->Finish()), StatusCode::PERMISSION_DENIED);
  }
  EXPECT_EQ(most, before);
}

TEST_P(Authorization, OfAGenericServiceIsByTheNameOfEachCall) {
  Echoes echoes;
  server_ = Serve(service_, address(), [&](ipcrpc::ServerBuilder& builder) {
    builder.RegisterCallbackGenericService(&echoes);
    builder.SetAuthorizationPolicy(AuthorizationPolicy()
                                       .SetRule("/generic.Names/Closed", Nobody())
                                       .SetRule("/generic.Names/*", Anyone())
                                       .SetRule(kUnary, Anyone())
                                       .SetDefault(Nobody()));
  });
  Start();
  ByteBuffer response;
  const auto ask = [&](const std::string& method) { return CodeOf(CallByName(channel_, method, Bytes("x"), &response)); };
  const std::string long_name(2000, 'n');  // longer than is remembered
  for (int i = 0; i < 3; ++i) {            // the second time the client leaves out a name that the server has learnt
    EXPECT_EQ(ask("/generic.Names/Open"), StatusCode::OK);
    EXPECT_EQ(ask("/generic.Names/" + long_name), StatusCode::OK);
    EXPECT_EQ(ask("/generic.Names/Closed"), StatusCode::PERMISSION_DENIED);
    EXPECT_EQ(ask("/generic.Others/Open"), StatusCode::PERMISSION_DENIED);
    EXPECT_EQ(ask("/generic.Others/" + long_name), StatusCode::PERMISSION_DENIED);
    EXPECT_EQ(ask("/behaviour.Methods/NoSuch"), StatusCode::PERMISSION_DENIED);
    EXPECT_EQ(ask("no name at all"), StatusCode::PERMISSION_DENIED);
    EXPECT_TRUE(CallOf(*stub_).ok());
  }
  StopServer();
}

// By the default; a rule that names them counts for them too.
TEST_P(Authorization, HealthAndReflectionStayOpen) {
  ipcrpc::reflection::InitProtoReflectionServerBuilderPlugin();
  const std::string kCheck = "/grpc.health.v1.Health/Check", kReflection = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
  const std::string kListServices = std::string("\x3a\x00", 2);
  for (const bool named : {false, true}) {
    ipcrpc::EnableDefaultHealthCheckService(true);
    const auto place = NewPlace();
    const auto server = Serve(service_, place->server(), [&](ipcrpc::ServerBuilder& builder) {
      AuthorizationPolicy policy = AuthorizationPolicy().SetDefault(Nobody());
      if (named) policy.SetRule("/grpc.health.v1.Health/*", Nobody()).SetRule("/grpc.reflection.v1.ServerReflection/*", Nobody());
      builder.SetAuthorizationPolicy(policy);
    });
    ipcrpc::EnableDefaultHealthCheckService(false);
    ASSERT_NE(server, nullptr);
    const auto channel = ipcrpc::CreateChannel(place->client());
    ByteBuffer response;
    const StatusCode expected = named ? StatusCode::PERMISSION_DENIED : StatusCode::OK;
    EXPECT_EQ(CodeOf(CallByName(channel, kCheck, Bytes(""), &response)), expected);
    EXPECT_EQ(CodeOf(CallByName(channel, kReflection, Bytes(kListServices), &response)), expected);
    if (!named) {
      EXPECT_THAT(Text(response), HasSubstr("behaviour.Methods"));
    }
    EXPECT_EQ(CodeOf(CallByName(channel, kUnary, Bytes(""), &response)), StatusCode::PERMISSION_DENIED);
  }
}

class GuardedService final : public Guarded::Service {
 public:
  Status ForTheServersUser(ServerContext*, const Msg*, Msg*) override { return Status::OK; }
  Status ForNobody(ServerContext*, const Msg*, Msg*) override { return Status::OK; }
  Status ForAnyone(ServerContext*, const Msg*, Msg*) override { return Status::OK; }
  Status ForAStranger(ServerContext*, const Msg*, Msg*) override { return Status::OK; }
};

TEST_P(Authorization, OptionsOfTheProtoCountBetweenTheServersRulesAndItsDefault) {
  GuardedService service;
  const auto codes = [&](const AuthorizationPolicy& policy) {
    const auto place = NewPlace();
    const auto server = Serve(service, place->server(), [&](auto& builder) { builder.SetAuthorizationPolicy(policy); });
    const auto stub = Guarded::NewStub(ipcrpc::CreateChannel(place->client()));
    std::vector<StatusCode> result;
    const auto call = [&](Status (Guarded::Stub::*method)(ClientContext*, const Msg&, Msg*)) {
      ClientContext context;
      context.set_deadline(In(20s));
      Msg response;
      result.push_back(((*stub).*method)(&context, Msg(), &response).error_code());
    };
    call(&Guarded::Stub::ForTheServersUser);
    call(&Guarded::Stub::ForNobody);
    call(&Guarded::Stub::ForAnyone);
    call(&Guarded::Stub::ForAStranger);
    return result;
  };
  constexpr StatusCode kYes = StatusCode::OK, kNo = StatusCode::PERMISSION_DENIED;
  const StatusCode known = vouched() ? kYes : kNo, unknown = vouched() ? kNo : kYes;
  using Codes = std::vector<StatusCode>;
  EXPECT_EQ(codes(AuthorizationPolicy()), (Codes{known, kNo, kYes, kNo}));
  EXPECT_EQ(codes(AuthorizationPolicy().SetDefault(Anyone())), (Codes{known, kNo, kYes, kNo}));
  EXPECT_EQ(codes(AuthorizationPolicy().AllowUnverified()), (Codes{kYes, kNo, kYes, unknown}));
  EXPECT_EQ(codes(AuthorizationPolicy().SetRule("/behaviour.Guarded/*", Anyone())), (Codes{kYes, kYes, kYes, kYes}));
  EXPECT_EQ(codes(AuthorizationPolicy().SetRule("/behaviour.Guarded/ForNobody", Anyone())), (Codes{known, kYes, kYes, kNo}));
}

TEST_P(Authorization, ContextsKnowThePeer) {
  PeerCredentials client;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    client = context->peer_credentials();
    return Status::OK;
  };
  Start();
  ClientContext context;
  EXPECT_FALSE(context.peer_credentials().vouched);
  Msg response;
  ASSERT_TRUE(stub_->Unary(&context, Msg(), &response).ok());
  const PeerCredentials server = context.peer_credentials();
  StopServer();
  for (const PeerCredentials& peer : {client, server}) {
    EXPECT_EQ(peer.vouched, vouched());
    if (!vouched()) continue;
    EXPECT_EQ(peer.pid, getpid());
    EXPECT_EQ(peer.uid, geteuid());
    EXPECT_EQ(peer.gid, getegid());
  }
  if (scheme() != "unix" && scheme() != "shm") return;
  std::vector<gid_t> groups(static_cast<size_t>(getgroups(0, nullptr)));
  ASSERT_EQ(getgroups(static_cast<int>(groups.size()), groups.data()), static_cast<int>(groups.size()));
  EXPECT_THAT(client.groups, ::testing::UnorderedElementsAreArray(groups));
}

// ---- building --------------------------------------------------------------------------------

// What the builder says of the policy; "" when the server starts.
std::string ErrorOf(const AuthorizationPolicy& policy) {
  LambdaService service;
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort("unix:" + FreshName(), ipcrpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  builder.SetAuthorizationPolicy(policy);
  const std::unique_ptr<ipcrpc::Server> server = builder.BuildAndStart();
  EXPECT_EQ(server == nullptr, !builder.error().empty());
  return builder.error();
}

TEST(AuthorizationOfAServer, ThatNamesWhatThereIsNotDoesNotStart) {
  const auto named = [](const std::string& name) { return ErrorOf(AuthorizationPolicy().SetRule(name, Anyone())); };
  EXPECT_EQ(named(kUnary), "");
  EXPECT_EQ(named(kAll), "");
  EXPECT_EQ(named("/grpc.health.v1.Health/Check"), "") << "which a server need not have";
  EXPECT_EQ(named("/behaviour.Methods/Unari"),
            "the authorization rule for '/behaviour.Methods/Unari': the server has no such method");
  EXPECT_EQ(named("/behaviour.Method/*"), "the authorization rule for '/behaviour.Method/*': the server has no such service");
  for (const std::string name : {"", "behaviour.Methods/Unary", "/behaviour.Methods", "/behaviour.Methods/", "/*", "*", "/a..b/C",
                                 "/behaviour.Methods/Unary ", "/behaviour.Methods/Un*", "//Unary", "/1a/B"}) {
    EXPECT_EQ(named(name), "the authorization rule for '" + name + "': expected \"/package.Service/Method\" or \"/package.Service/*\"");
  }
  const auto ruled = [](const AuthorizationRule& rule) { return ErrorOf(AuthorizationPolicy().SetRule(kUnary, rule)); };
  EXPECT_EQ(ruled(AuthorizationRule().AllowUser("no-such-user")),
            "the authorization rule for '" + kUnary + "': there is no user 'no-such-user'");
  EXPECT_EQ(ruled(AuthorizationRule().AllowGroup("no-such-group")),
            "the authorization rule for '" + kUnary + "': there is no group 'no-such-group'");
  EXPECT_EQ(ruled(AuthorizationRule().AllowIf(nullptr, "nothing")),
            "the authorization rule for '" + kUnary + "': AllowIf() was given no predicate");
  EXPECT_EQ(ErrorOf(AuthorizationPolicy().SetDefault(AuthorizationRule().AllowUser("no-such-user"))),
            "the authorization policy's default: there is no user 'no-such-user'");
}

}  // namespace
}  // namespace behaviour

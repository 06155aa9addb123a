// What interceptors see of calls without generated classes, and of the health that a server offers by itself.
#include <ipcrpc/health_check_service_interface.h>

#include <set>

#include "tests/behaviour/generic_kit.h"
#include "tests/behaviour/interceptor_kit.h"

namespace behaviour {
namespace {

using ipcrpc::experimental::ClientRpcInfo;
using ipcrpc::experimental::Interceptor;
using ipcrpc::experimental::ServerRpcInfo;

// What the interceptors of one side have seen of each kind of call, "unary /package.Service/Method".
class Seen {
 public:
  template <class Info>
  static std::string NameOf(Info* info) {
    static constexpr const char* kTypes[] = {"unary", "collect", "emit", "talk"};
    return std::string(kTypes[static_cast<int>(info->type())]) + " " + info->method();
  }
  Counts& Of(const std::string& call) {
    std::lock_guard lock(mu_);
    return counts_[call];
  }
  void NoteGone(const std::string& call) {
    std::lock_guard lock(mu_);
    gone_.insert(call);
  }
  // The interceptors are gone, and had the same name to the last.
  bool Gone(const std::string& call) {
    std::lock_guard lock(mu_);
    return gone_.contains(call);
  }

 private:
  std::mutex mu_;
  std::map<std::string, Counts> counts_;
  std::set<std::string> gone_;
};

// Asks its information each time, which is to stay valid.
template <class Info>
class Seeing final : public Interceptor {
 public:
  Seeing(Seen& seen, const std::function<void(Batch*)>& action, Info* info) : seen_(seen), action_(action), info_(info) {}
  ~Seeing() override { seen_.NoteGone(Seen::NameOf(info_)); }
  void Intercept(Batch* batch) override {
    seen_.Of(Seen::NameOf(info_)).Note(batch);
    if (action_) action_(batch);
    batch->Proceed();
  }

 private:
  Seen& seen_;
  const std::function<void(Batch*)>& action_;
  Info* const info_;
};

class MakesSeeing final : public ipcrpc::experimental::ClientInterceptorFactoryInterface,
                          public ipcrpc::experimental::ServerInterceptorFactoryInterface {
 public:
  MakesSeeing(Seen& seen, const std::function<void(Batch*)>& action) : seen_(seen), action_(action) {}
  Interceptor* CreateClientInterceptor(ClientRpcInfo* info) override { return new Seeing<ClientRpcInfo>(seen_, action_, info); }
  Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override { return new Seeing<ServerRpcInfo>(seen_, action_, info); }

 private:
  Seen& seen_;
  const std::function<void(Batch*)>& action_;
};

// A call of any kind by name, with a message for each reaction to the one before.
class Talking final : public ClientSide<ipcrpc::ClientBidiReactor<ByteBuffer, ByteBuffer>> {
 public:
  Talking(const std::shared_ptr<Channel>& channel, const std::string& method) {
    ipcrpc::GenericStub(channel).PrepareBidiStreamingCall(&context, method, ipcrpc::StubOptions(), this);
  }
  void OnReadDone(bool ok) override {
    {
      std::lock_guard lock(mu_);
      came_.push_back(ok ? Text(in_) : "end");
    }
    if (ok) StartRead(&in_);
  }
  void Begin() {
    StartRead(&in_);
    StartCall();
  }
  bool Came(const std::vector<std::string>& what) {
    return Eventually([&] {
      std::lock_guard lock(mu_);
      return came_ == what;
    });
  }

 private:
  std::mutex mu_;
  std::vector<std::string> came_;
  ByteBuffer in_;
};

class GenericSights : public BehaviourTest {
 protected:
  ~GenericSights() override { StopServer(); }

  void StartSeen() {
    ipcrpc::EnableDefaultHealthCheckService(true);
    server_ = Serve(service_, address(), [&](ipcrpc::ServerBuilder& builder) {
      builder.RegisterCallbackGenericService(&echoes_);
      ServerFactories factories;
      factories.push_back(std::make_unique<MakesSeeing>(at_server_, server_action_));
      builder.experimental().SetInterceptorCreators(std::move(factories));
    });
    ipcrpc::EnableDefaultHealthCheckService(false);
    ASSERT_NE(server_, nullptr);
    ClientFactories factories;
    factories.push_back(std::make_unique<MakesSeeing>(at_client_, client_action_));
    channel_ = ipcrpc::experimental::CreateCustomChannelWithInterceptors(client_address(), nullptr, {}, std::move(factories));
  }

  Seen at_client_, at_server_;
  std::function<void(Batch*)> client_action_, server_action_;
  Echoes echoes_;
};

const std::string kUnaryAtClient =
    "send metadata 1, send message 1, sent message 1, send close 1, received metadata 1, received message 1, received status 1";
const std::string kUnaryAtServer =
    "send metadata 1, send message 1, sent message 1, send status 1, received metadata 1, received message 1, received close 1";

TEST_P(GenericSights, OfACallByNameToATypedHandlerAreThoseOfATypedCall) {
  StartSeen();
  const std::string method = "/behaviour.Methods/Unary";
  ByteBuffer response;
  ASSERT_TRUE(CallByName(channel_, method, Bytes(Number(7).SerializeAsString()), &response).ok());
  EXPECT_EQ(Text(response), Number(7).SerializeAsString());
  ASSERT_TRUE(Eventually([&] { return at_client_.Gone("unary " + method) && at_server_.Gone("unary " + method); }));
  EXPECT_EQ(at_client_.Of("unary " + method).Text(), kUnaryAtClient);
  EXPECT_EQ(at_server_.Of("unary " + method).Text(), kUnaryAtServer);
}

// Bytes at the client, the typed message at the server; either may be changed.
TEST_P(GenericSights, MessagesAreOfTheTypeThatTheSideHas) {
  client_action_ = [](Batch* batch) {
    if (Sees(batch, Hook::PRE_SEND_MESSAGE)) {
      EXPECT_EQ(Text(*static_cast<const ByteBuffer*>(batch->GetSendMessage())), Number(7).SerializeAsString());
      *batch->GetSerializedSendMessage() = Bytes(Number(8).SerializeAsString());
    }
    if (Sees(batch, Hook::POST_RECV_MESSAGE) && batch->GetRecvMessage() != nullptr) {
      auto* const bytes = static_cast<ByteBuffer*>(batch->GetRecvMessage());
      EXPECT_EQ(Text(*bytes), Number(80).SerializeAsString());
      *bytes = Bytes("changed");
    }
  };
  server_action_ = [](Batch* batch) {
    if (!Sees(batch, Hook::POST_RECV_MESSAGE) || Received(batch) == nullptr) return;
    EXPECT_EQ(Received(batch)->number(), 8);
    Received(batch)->set_number(80);
  };
  StartSeen();
  ByteBuffer response;
  ASSERT_TRUE(CallByName(channel_, "/behaviour.Methods/Unary", Bytes(Number(7).SerializeAsString()), &response).ok());
  EXPECT_EQ(Text(response), "changed");
}

// More names than are remembered, and one that is too long to be.
TEST_P(GenericSights, OfAGenericServiceHaveTheNameThatWasCalled) {
  StartSeen();
  std::vector<std::string> methods = {"/a.B/" + std::string(1000, 'c')};
  for (int i = 0; i < 1200; ++i) methods.push_back("/generic.Sights/Number" + std::to_string(i));
  for (const std::string& method : methods) {
    ByteBuffer response;
    const Status status = CallByName(channel_, method, Bytes("hello"), &response);
    ASSERT_TRUE(status.ok()) << method << ": " << status.error_message();
    ASSERT_EQ(Text(response), method + " hello");
    // The generic service has no types: it reads and writes, whatever that is to the client.
    ASSERT_TRUE(Eventually([&] { return at_client_.Gone("unary " + method) && at_server_.Gone("talk " + method); })) << method;
    ASSERT_EQ(at_client_.Of("unary " + method).Text(), kUnaryAtClient);
    ASSERT_EQ(at_server_.Of("talk " + method).Text(), kUnaryAtServer);
  }
}

TEST_P(GenericSights, OfAStreamByNameShowEachMessage) {
  StartSeen();
  const std::string method = "talk /behaviour.Methods/Talk";
  {
    Talking talk(channel_, "/behaviour.Methods/Talk");
    const ByteBuffer first = Bytes(Number(1).SerializeAsString()), second = Bytes(Number(2).SerializeAsString());
    talk.AddHold();
    talk.Begin();
    talk.StartWrite(&first);
    EXPECT_TRUE(talk.Came({Number(1).SerializeAsString()}));
    talk.StartWriteLast(&second, ipcrpc::WriteOptions());
    talk.RemoveHold();
    EXPECT_EQ(talk.Code(), StatusCode::OK);
    EXPECT_TRUE(talk.Came({Number(1).SerializeAsString(), Number(2).SerializeAsString(), "end"}));
  }
  EXPECT_TRUE(at_client_.Gone(method));
  EXPECT_EQ(at_client_.Of(method).Text(),
            "send metadata 1, send message 2, sent message 2, send close 1, received metadata 1, received message 3, received status 1");
  ASSERT_TRUE(Eventually([&] { return at_server_.Gone(method); }));
  EXPECT_EQ(at_server_.Of(method).Text(),
            "send metadata 1, send message 2, sent message 2, send status 1, received metadata 1, received message 3, received close 1");
}

// Messages by hand: field 1 of the request is the service's name, of the response the status.
const std::string kServing = "\x08\x01", kNotServing = "\x08\x02";

TEST_P(GenericSights, OfAServersHealthAreThoseOfAService) {
  StartSeen();
  const std::string check = "unary /grpc.health.v1.Health/Check", watch = "emit /grpc.health.v1.Health/Watch";
  ByteBuffer response;
  ASSERT_TRUE(CallByName(channel_, "/grpc.health.v1.Health/Check", Bytes(""), &response).ok());
  EXPECT_EQ(Text(response), kServing);
  ASSERT_TRUE(Eventually([&] { return at_server_.Gone(check); }));
  EXPECT_EQ(at_server_.Of(check).Text(), kUnaryAtServer);
  EXPECT_EQ(at_client_.Of(check).Text(), kUnaryAtClient);

  Talking watching(channel_, "/grpc.health.v1.Health/Watch");
  const ByteBuffer request = Bytes("");
  watching.AddHold();
  watching.Begin();
  watching.StartWriteLast(&request, ipcrpc::WriteOptions());
  watching.RemoveHold();
  EXPECT_TRUE(watching.Came({kServing}));
  server_->GetHealthCheckService()->SetServingStatus(false);
  EXPECT_TRUE(watching.Came({kServing, kNotServing}));
  EXPECT_FALSE(at_server_.Gone(watch));
  watching.context.TryCancel();
  EXPECT_EQ(watching.Code(), StatusCode::CANCELLED);
  ASSERT_TRUE(Eventually([&] { return at_server_.Gone(watch); }));
  EXPECT_EQ(at_server_.Of(watch).Text(),
            "send metadata 1, send message 2, sent message 2, send status 1, received metadata 1, received message 1, received close 1");
}

// As a gate would that lets nobody ask for the health.
TEST_P(GenericSights, ByThemHealthCanBeTurnedDown) {
  server_action_ = [](Batch* batch) {
    if (Sees(batch, Hook::PRE_SEND_STATUS)) batch->ModifySendStatus(Status(StatusCode::PERMISSION_DENIED, "not for you"));
  };
  StartSeen();
  ByteBuffer response;
  const Status status = CallByName(channel_, "/grpc.health.v1.Health/Check", Bytes(""), &response);
  EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(status.error_message(), "not for you");
  EXPECT_FALSE(response.Valid());
}

BEHAVIOUR_SUITE(GenericSights);

}  // namespace
}  // namespace behaviour

// Interceptors: which hooks they see in which order, what they may change, and hijacking.
#include <grpcpp/support/client_interceptor.h>
#include <grpcpp/support/interceptor.h>
#include <grpcpp/support/server_interceptor.h>

#include <algorithm>

#include "fixture.h"

namespace differential {
namespace {

using grpc::experimental::ClientInterceptorFactoryInterface;
using grpc::experimental::ClientRpcInfo;
using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerInterceptorFactoryInterface;
using grpc::experimental::ServerRpcInfo;

constexpr std::pair<InterceptionHookPoints, const char*> kHooks[] = {
    {InterceptionHookPoints::PRE_SEND_INITIAL_METADATA, "send metadata"},
    {InterceptionHookPoints::PRE_SEND_MESSAGE, "send message"},
    {InterceptionHookPoints::PRE_SEND_STATUS, "send status"},
    {InterceptionHookPoints::PRE_SEND_CLOSE, "send close"},
    {InterceptionHookPoints::PRE_RECV_INITIAL_METADATA, "pre-receive metadata"},
    {InterceptionHookPoints::PRE_RECV_MESSAGE, "pre-receive message"},
    {InterceptionHookPoints::PRE_RECV_STATUS, "pre-receive status"},
    {InterceptionHookPoints::POST_RECV_INITIAL_METADATA, "received metadata"},
    {InterceptionHookPoints::POST_RECV_MESSAGE, "received message"},
    {InterceptionHookPoints::POST_RECV_STATUS, "received status"},
    {InterceptionHookPoints::POST_RECV_CLOSE, "received close"},
    {InterceptionHookPoints::PRE_SEND_CANCEL, "cancel"},
};

// What was seen, by whom; of several calls at once.
class Log {
 public:
  void Add(const std::string& line) {
    std::lock_guard<std::mutex> lock(mu_);
    lines_.push_back(line);
  }
  std::vector<std::string> lines() {
    std::lock_guard<std::mutex> lock(mu_);
    return lines_;
  }
  // Those of one name, without it.
  std::vector<std::string> Of(const std::string& name) {
    std::vector<std::string> found;
    for (const std::string& line : lines()) {
      if (line.starts_with(name + ": ")) found.push_back(line.substr(name.size() + 2));
    }
    return found;
  }
  bool Has(const std::string& line) {
    const std::vector<std::string> all = lines();
    return std::find(all.begin(), all.end(), line) != all.end();
  }
  // Where it is, which it must be once.
  size_t At(const std::string& line) {
    const std::vector<std::string> all = lines();
    EXPECT_EQ(std::count(all.begin(), all.end(), line), 1) << line;
    return static_cast<size_t>(std::find(all.begin(), all.end(), line) - all.begin());
  }

 private:
  std::mutex mu_;
  std::vector<std::string> lines_;
};

using Action = std::function<void(InterceptorBatchMethods*)>;

// Notes the hooks, does what it was told to, and goes on, unless that has.
class Noting final : public Interceptor {
 public:
  Noting(std::string name, Log* log, Action action) : name_(std::move(name)), log_(log), action_(std::move(action)) {}
  ~Noting() override { log_->Add(name_ + ": gone"); }
  void Intercept(InterceptorBatchMethods* methods) override {
    for (const auto& [hook, what] : kHooks) {
      if (methods->QueryInterceptionHookPoint(hook)) log_->Add(name_ + ": " + what);
    }
    if (action_) return action_(methods);
    methods->Proceed();
  }

 private:
  const std::string name_;
  Log* const log_;
  const Action action_;
};

class ClientFactory final : public ClientInterceptorFactoryInterface {
 public:
  using Wanted = std::function<bool(ClientRpcInfo*)>;
  ClientFactory(std::string name, Log* log, Action action = {}, Wanted wanted = {})
      : name_(std::move(name)), log_(log), action_(std::move(action)), wanted_(std::move(wanted)) {}
  Interceptor* CreateClientInterceptor(ClientRpcInfo* info) override {
    if (wanted_ && !wanted_(info)) return nullptr;
    return new Noting(name_, log_, action_);
  }

 private:
  const std::string name_;
  Log* const log_;
  const Action action_;
  const Wanted wanted_;
};

class ServerFactory final : public ServerInterceptorFactoryInterface {
 public:
  using Wanted = std::function<bool(ServerRpcInfo*)>;
  ServerFactory(std::string name, Log* log, Action action = {}, Wanted wanted = {})
      : name_(std::move(name)), log_(log), action_(std::move(action)), wanted_(std::move(wanted)) {}
  Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    if (wanted_ && !wanted_(info)) return nullptr;
    return new Noting(name_, log_, action_);
  }

 private:
  const std::string name_;
  Log* const log_;
  const Action action_;
  const Wanted wanted_;
};

bool Sees(InterceptorBatchMethods* methods, InterceptionHookPoints hook) { return methods->QueryInterceptionHookPoint(hook); }

class InterceptorTest : public DifferentialTest {
 protected:
  ~InterceptorTest() override { StopServer(); }

  using ClientFactories = std::vector<std::unique_ptr<ClientInterceptorFactoryInterface>>;
  using ServerFactories = std::vector<std::unique_ptr<ServerInterceptorFactoryInterface>>;

  void StartWith(ClientFactories clients, ServerFactories servers) {
    server_ = Serve(address(), &service_, [&](grpc::ServerBuilder& builder) {
      if (!servers.empty()) builder.experimental().SetInterceptorCreators(std::move(servers));
    });
    ASSERT_NE(server_, nullptr);
    channel_ = grpc::experimental::CreateCustomChannelWithInterceptors(address(), grpc::InsecureChannelCredentials(), Impatient(),
                                                                       std::move(clients));
    stub_ = Methods::NewStub(channel_);
  }
  ClientFactories Client(Action action, ClientFactory::Wanted wanted = {}) {
    ClientFactories factories;
    factories.push_back(std::make_unique<ClientFactory>("c", &log_, std::move(action), std::move(wanted)));
    return factories;
  }
  ServerFactories Server(Action action, ServerFactory::Wanted wanted = {}) {
    ServerFactories factories;
    factories.push_back(std::make_unique<ServerFactory>("s", &log_, std::move(action), std::move(wanted)));
    return factories;
  }

  Log log_;
  std::atomic<bool> fail_{false};
};

TEST_F(InterceptorTest, AUnaryCallShowsEachHookOnce) {
  StartWith(Client({}), Server({}));
  EXPECT_TRUE(Call(Number(1)).ok());
  EXPECT_THAT(log_.Of("c"), ::testing::UnorderedElementsAre("send metadata", "send message", "send close", "received metadata",
                                                            "received message", "received status", "gone"));
  EXPECT_LT(log_.At("c: send metadata"), log_.At("c: received status"));
  EXPECT_TRUE(Eventually([&] { return log_.Has("s: gone"); }));
  EXPECT_THAT(log_.Of("s"), ::testing::UnorderedElementsAre("received metadata", "received message", "received close", "send metadata",
                                                            "send message", "send status", "gone"));
  EXPECT_LT(log_.At("s: received metadata"), log_.At("s: send message"));
  EXPECT_LT(log_.At("s: received message"), log_.At("s: send message"));
}

TEST_F(InterceptorTest, PreHooksRunInOrderAndPostHooksInReverse) {
  ClientFactories clients;
  ServerFactories servers;
  for (const char* name : {"1", "2", "3"}) {
    clients.push_back(std::make_unique<ClientFactory>(std::string("c") + name, &log_));
    servers.push_back(std::make_unique<ServerFactory>(std::string("s") + name, &log_));
  }
  StartWith(std::move(clients), std::move(servers));
  EXPECT_TRUE(Call().ok());
  EXPECT_LT(log_.At("c1: send message"), log_.At("c2: send message"));
  EXPECT_LT(log_.At("c2: send message"), log_.At("c3: send message"));
  EXPECT_LT(log_.At("c3: received status"), log_.At("c2: received status"));
  EXPECT_LT(log_.At("c2: received status"), log_.At("c1: received status"));
  EXPECT_TRUE(Eventually([&] { return log_.Has("s1: gone") && log_.Has("s3: gone"); }));
  EXPECT_LT(log_.At("s3: received message"), log_.At("s1: received message"));
  EXPECT_LT(log_.At("s1: send status"), log_.At("s3: send status"));
}

TEST_F(InterceptorTest, StreamsShowEveryMessage) {
  StartWith(Client({}), Server({}));
  {
    ClientContext context;
    const auto stream = stub_->Talk(&context);
    Msg message;
    for (int i = 0; i < 3; ++i) EXPECT_TRUE(stream->Write(Number(i)) && stream->Read(&message));
    EXPECT_TRUE(stream->WritesDone());
    EXPECT_FALSE(stream->Read(&message));
    EXPECT_TRUE(stream->Finish().ok());
  }
  const auto count = [&](const std::string& name, const std::string& what) {
    const std::vector<std::string> seen = log_.Of(name);
    return std::count(seen.begin(), seen.end(), what);
  };
  EXPECT_EQ(count("c", "send metadata"), 1);
  EXPECT_EQ(count("c", "send message"), 3);
  EXPECT_EQ(count("c", "send close"), 1);
  EXPECT_EQ(count("c", "received metadata"), 1);
  EXPECT_GE(count("c", "received message"), 3);
  EXPECT_EQ(count("c", "received status"), 1);
  EXPECT_TRUE(Eventually([&] { return log_.Has("s: gone"); }));
  EXPECT_EQ(count("s", "send message"), 3);
  EXPECT_GE(count("s", "received message"), 3);
  EXPECT_EQ(count("s", "send status"), 1);
}

TEST_F(InterceptorTest, TheRpcInfoSaysWhatCallItIs) {
  std::string client_method, server_method;
  ClientRpcInfo::Type client_type{};
  ServerRpcInfo::Type server_type{};
  bool contexts = false;
  StartWith(Client({}, [&](ClientRpcInfo* info) {
              client_method = info->method();
              client_type = info->type();
              contexts = info->client_context() != nullptr && info->channel() != nullptr;
              return true;
            }),
            Server({}, [&](ServerRpcInfo* info) {
              server_method = info->method();
              server_type = info->type();
              contexts = contexts && info->server_context() != nullptr;
              return true;
            }));
  ClientContext context;
  EXPECT_TRUE(stub_->Emit(&context, Msg())->Finish().ok());
  EXPECT_EQ(client_method, "/differential.Methods/Emit");
  EXPECT_EQ(server_method, "/differential.Methods/Emit");
  EXPECT_EQ(client_type, ClientRpcInfo::Type::SERVER_STREAMING);
  EXPECT_EQ(server_type, ServerRpcInfo::Type::SERVER_STREAMING);
  EXPECT_TRUE(contexts);
  StopServer();
}

TEST_F(InterceptorTest, AFactoryMayLeaveACallAlone) {
  StartWith(Client({}, [](ClientRpcInfo*) { return false; }), Server({}, [](ServerRpcInfo*) { return false; }));
  EXPECT_TRUE(Call().ok());
  EXPECT_TRUE(log_.lines().empty());
}

TEST_F(InterceptorTest, TheClientsMayChangeWhatIsSentAndReceived) {
  const Msg other = Number(77);
  StartWith(Client([&](InterceptorBatchMethods* methods) {
              if (Sees(methods, InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
                methods->GetSendInitialMetadata()->emplace("added", "by the interceptor");
              }
              if (Sees(methods, InterceptionHookPoints::PRE_SEND_MESSAGE)) {
                EXPECT_EQ(static_cast<const Msg*>(methods->GetSendMessage())->number(), 1);
                methods->ModifySendMessage(&other);
              }
              if (Sees(methods, InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
                EXPECT_THAT(Values(*methods->GetRecvInitialMetadata(), "i"), ElementsAre("1"));
              }
              if (Sees(methods, InterceptionHookPoints::POST_RECV_MESSAGE) && methods->GetRecvMessage() != nullptr) {
                auto* const message = static_cast<Msg*>(methods->GetRecvMessage());
                message->set_number(message->number() + 1);
              }
              if (Sees(methods, InterceptionHookPoints::POST_RECV_STATUS)) {
                EXPECT_THAT(Values(*methods->GetRecvTrailingMetadata(), "t"), ElementsAre("2"));
                EXPECT_TRUE(methods->GetRecvStatus()->ok());
                *methods->GetRecvStatus() = Status(StatusCode::ABORTED, "decided otherwise");
              }
              methods->Proceed();
            }),
            {});
  std::vector<std::string> added;
  service_.unary = [&](ServerContext* context, const Msg* request, Msg* response) {
    added = Values(context->client_metadata(), "added");
    context->AddInitialMetadata("i", "1");
    context->AddTrailingMetadata("t", "2");
    *response = *request;
    return Status::OK;
  };
  Msg response;
  const Status status = Call(Number(1), &response);
  EXPECT_EQ(status.error_code(), StatusCode::ABORTED);
  EXPECT_EQ(status.error_message(), "decided otherwise");
  EXPECT_EQ(response.number(), 78);
  EXPECT_THAT(added, ElementsAre("by the interceptor"));
  StopServer();
}

TEST_F(InterceptorTest, TheServersMayChangeWhatIsReceivedAndSent) {
  StartWith({}, Server([&](InterceptorBatchMethods* methods) {
              if (Sees(methods, InterceptionHookPoints::POST_RECV_INITIAL_METADATA)) {
                EXPECT_THAT(Values(*methods->GetRecvInitialMetadata(), "k"), ElementsAre("v"));
              }
              if (Sees(methods, InterceptionHookPoints::POST_RECV_MESSAGE) && methods->GetRecvMessage() != nullptr) {
                static_cast<Msg*>(methods->GetRecvMessage())->set_number(100);
              }
              if (Sees(methods, InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) methods->GetSendInitialMetadata()->emplace("i", "1");
              if (Sees(methods, InterceptionHookPoints::PRE_SEND_STATUS)) {
                EXPECT_TRUE(methods->GetSendStatus().ok());
                methods->GetSendTrailingMetadata()->emplace("t", "2");
                if (fail_) methods->ModifySendStatus(Status(StatusCode::PERMISSION_DENIED, "no"));
              }
              methods->Proceed();
            }));
  Msg response;
  {
    ClientContext context;
    context.AddMetadata("k", "v");
    EXPECT_TRUE(stub_->Unary(&context, Number(1), &response).ok());
    EXPECT_EQ(response.number(), 100);
    EXPECT_THAT(Values(context.GetServerInitialMetadata(), "i"), ElementsAre("1"));
    EXPECT_THAT(Values(context.GetServerTrailingMetadata(), "t"), ElementsAre("2"));
  }
  fail_ = true;
  ClientContext context;
  context.AddMetadata("k", "v");
  EXPECT_EQ(stub_->Unary(&context, Number(1), &response).error_code(), StatusCode::PERMISSION_DENIED);
  StopServer();
}

TEST_F(InterceptorTest, TheSerializedMessageCanBeReadAndReplaced) {
  size_t length = 0;
  StartWith(Client([&](InterceptorBatchMethods* methods) {
              if (Sees(methods, InterceptionHookPoints::PRE_SEND_MESSAGE)) {
                grpc::ByteBuffer* const bytes = methods->GetSerializedSendMessage();
                length = bytes->Length();
                const grpc::Slice slice(Number(5).SerializeAsString());
                grpc::ByteBuffer replacement(&slice, 1);
                bytes->Swap(&replacement);
              }
              methods->Proceed();
            }),
            {});
  Msg response;
  EXPECT_TRUE(Call(Data(1000), &response).ok());
  EXPECT_EQ(length, Data(1000).ByteSizeLong());
  EXPECT_EQ(response.number(), 5);
}

TEST_F(InterceptorTest, ProceedMayComeLaterFromAnotherThread) {
  std::mutex mu;
  std::vector<std::jthread> threads;
  const Action later = [&](InterceptorBatchMethods* methods) {
    std::lock_guard<std::mutex> lock(mu);
    threads.emplace_back([methods] {
      std::this_thread::sleep_for(10ms);
      methods->Proceed();
    });
  };
  StartWith(Client(later), Server(later));
  Msg response;
  EXPECT_TRUE(Call(Number(6), &response).ok());
  EXPECT_EQ(response.number(), 6);
  StopServer();
}

TEST_F(InterceptorTest, CancellationIsShown) {
  StartWith(Client([](InterceptorBatchMethods* methods) {
              if (!Sees(methods, InterceptionHookPoints::PRE_SEND_CANCEL)) methods->Proceed();
            }),
            {});
  Event running;
  service_.unary = [&](ServerContext* context, const Msg*, Msg*) {
    running.Set();
    EXPECT_TRUE(Eventually([&] { return context->IsCancelled(); }));
    return Status::OK;
  };
  ClientContext context;
  std::jthread canceller([&] {
    EXPECT_TRUE(running.Wait());
    context.TryCancel();
  });
  Msg response;
  EXPECT_EQ(stub_->Unary(&context, Msg(), &response).error_code(), StatusCode::CANCELLED);
  canceller.join();
  EXPECT_TRUE(log_.Has("c: cancel"));
  StopServer();
}

TEST_F(InterceptorTest, AHijackerAnswersInTheServersPlace) {
  std::atomic<int> runs{0};
  service_.unary = [&](ServerContext*, const Msg*, Msg*) { return ++runs, Status::OK; };
  ClientFactories clients;
  clients.push_back(std::make_unique<ClientFactory>("before", &log_));
  clients.push_back(std::make_unique<ClientFactory>("hijacker", &log_, [](InterceptorBatchMethods* methods) {
    const bool hijack = Sees(methods, InterceptionHookPoints::PRE_SEND_INITIAL_METADATA);
    if (Sees(methods, InterceptionHookPoints::PRE_RECV_INITIAL_METADATA)) methods->GetRecvInitialMetadata()->emplace("i", "forged");
    if (Sees(methods, InterceptionHookPoints::PRE_RECV_MESSAGE)) static_cast<Msg*>(methods->GetRecvMessage())->set_number(42);
    if (Sees(methods, InterceptionHookPoints::PRE_RECV_STATUS)) *methods->GetRecvStatus() = Status(StatusCode::OK, "");
    if (hijack) {
      methods->Hijack();
    } else {
      methods->Proceed();
    }
  }));
  clients.push_back(std::make_unique<ClientFactory>("after", &log_));
  StartWith(std::move(clients), {});
  ClientContext context;
  Msg response;
  EXPECT_TRUE(stub_->Unary(&context, Number(1), &response).ok());
  EXPECT_EQ(response.number(), 42);
  EXPECT_THAT(Values(context.GetServerInitialMetadata(), "i"), ElementsAre("forged"));
  EXPECT_EQ(runs, 0);
  EXPECT_TRUE(log_.Has("before: received message"));
  EXPECT_TRUE(log_.Has("before: received status"));
  EXPECT_FALSE(log_.Has("after: send metadata"));
  StopServer();
}

TEST_F(InterceptorTest, AHijackerEndsAStreamByFailingAReceive) {
  int left = 3;
  StartWith(Client([&](InterceptorBatchMethods* methods) {
              const bool hijack = Sees(methods, InterceptionHookPoints::PRE_SEND_INITIAL_METADATA);
              if (Sees(methods, InterceptionHookPoints::PRE_RECV_MESSAGE)) {
                if (left-- > 0) {
                  static_cast<Msg*>(methods->GetRecvMessage())->set_number(left);
                } else {
                  methods->FailHijackedRecvMessage();
                }
              }
              if (Sees(methods, InterceptionHookPoints::PRE_RECV_STATUS)) *methods->GetRecvStatus() = Status(StatusCode::DATA_LOSS, "forged");
              if (hijack) {
                methods->Hijack();
              } else {
                methods->Proceed();
              }
            }),
            {});
  ClientContext context;
  const auto reader = stub_->Emit(&context, Msg());
  Msg message;
  int count = 0;
  while (reader->Read(&message)) ++count;
  EXPECT_EQ(count, 3);
  EXPECT_EQ(reader->Finish().error_code(), StatusCode::DATA_LOSS);
}

TEST_F(InterceptorTest, AnInterceptedChannelPassesOnlyLaterInterceptors) {
  Status inner;
  ClientFactories clients;
  clients.push_back(std::make_unique<ClientFactory>("caller", &log_, [&](InterceptorBatchMethods* methods) {
    if (Sees(methods, InterceptionHookPoints::PRE_SEND_INITIAL_METADATA)) {
      const auto stub = Methods::NewStub(std::shared_ptr<grpc::ChannelInterface>(methods->GetInterceptedChannel()));
      inner = CallOn(*stub, Number(1));
    }
    methods->Proceed();
  }));
  clients.push_back(std::make_unique<ClientFactory>("later", &log_));
  StartWith(std::move(clients), {});
  EXPECT_TRUE(Call().ok());
  EXPECT_TRUE(inner.ok());
  EXPECT_EQ(log_.Of("caller").size(), 7u);
  EXPECT_EQ(log_.Of("later").size(), 14u);
}

}  // namespace
}  // namespace differential

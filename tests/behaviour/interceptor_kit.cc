#include "tests/behaviour/interceptor_kit.h"

namespace behaviour {
namespace {

constexpr std::pair<Hook, const char*> kNames[] = {
    {Hook::PRE_SEND_INITIAL_METADATA, "send metadata"},
    {Hook::PRE_SEND_MESSAGE, "send message"},
    {Hook::POST_SEND_MESSAGE, "sent message"},
    {Hook::PRE_SEND_STATUS, "send status"},
    {Hook::PRE_SEND_CLOSE, "send close"},
    {Hook::PRE_RECV_INITIAL_METADATA, "asked metadata"},
    {Hook::PRE_RECV_MESSAGE, "asked message"},
    {Hook::PRE_RECV_STATUS, "asked status"},
    {Hook::POST_RECV_INITIAL_METADATA, "received metadata"},
    {Hook::POST_RECV_MESSAGE, "received message"},
    {Hook::POST_RECV_STATUS, "received status"},
    {Hook::POST_RECV_CLOSE, "received close"},
    {Hook::PRE_SEND_CANCEL, "cancel"},
};

class Counted : public ipcrpc::experimental::Interceptor {
 public:
  Counted(std::function<void(Batch*)> action, std::atomic<int>* alive) : action_(std::move(action)), alive_(alive) { ++*alive_; }
  ~Counted() override { --*alive_; }
  void Intercept(Batch* batch) override { action_(batch); }

 private:
  const std::function<void(Batch*)> action_;
  std::atomic<int>* const alive_;
};

// For either side.
class Maker final : public ipcrpc::experimental::ClientInterceptorFactoryInterface,
                    public ipcrpc::experimental::ServerInterceptorFactoryInterface {
 public:
  Maker(std::function<void(Batch*)> action, std::atomic<int>* alive) : action_(std::move(action)), alive_(alive) {}
  ipcrpc::experimental::Interceptor* CreateClientInterceptor(ipcrpc::experimental::ClientRpcInfo*) override { return Make(); }
  ipcrpc::experimental::Interceptor* CreateServerInterceptor(ipcrpc::experimental::ServerRpcInfo*) override { return Make(); }

 private:
  ipcrpc::experimental::Interceptor* Make() const { return new Counted(action_, alive_); }

  const std::function<void(Batch*)> action_;
  std::atomic<int>* const alive_;
};

}  // namespace

// ---- Later -----------------------------------------------------------------------------------

Later::~Later() {
  {
    std::lock_guard lock(mu_);
    stop_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void Later::operator()(Batch* batch) {
  if (Sees(batch, Hook::PRE_SEND_CANCEL)) return;
  std::lock_guard lock(mu_);
  waiting_.push_back(batch);
  changed_.notify_all();
}

void Later::Run() {
  std::unique_lock lock(mu_);
  for (;;) {
    changed_.wait(lock, [this] { return stop_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    Batch* const batch = waiting_.front();
    waiting_.pop_front();
    lock.unlock();
    batch->Proceed();
    lock.lock();
  }
}

// ---- Counts ----------------------------------------------------------------------------------

void Counts::Note(Batch* batch) {
  std::lock_guard lock(mu_);
  for (const auto& [hook, name] : kNames) {
    if (Sees(batch, hook)) ++counts_[hook];
  }
}

int Counts::Of(Hook hook) {
  std::lock_guard lock(mu_);
  return counts_[hook];
}

std::string Counts::Text() {
  std::lock_guard lock(mu_);
  std::string text;
  for (const auto& [hook, name] : kNames) {
    if (counts_[hook] == 0) continue;
    text += (text.empty() ? "" : ", ") + std::string(name) + " " + std::to_string(counts_[hook]);
  }
  return text;
}

void Counts::Clear() {
  std::lock_guard lock(mu_);
  counts_.clear();
}

// ---- InterceptorTest -------------------------------------------------------------------------

ClientFactories InterceptorTest::Client(std::vector<Action> actions) {
  ClientFactories factories;
  for (Action& action : actions) factories.push_back(std::make_unique<Maker>(std::move(action), &alive_));
  return factories;
}

ServerFactories InterceptorTest::Server(std::vector<Action> actions) {
  ServerFactories factories;
  for (Action& action : actions) factories.push_back(std::make_unique<Maker>(std::move(action), &alive_));
  return factories;
}

void InterceptorTest::StartWith(ClientFactories clients, ServerFactories servers, bool callback) {
  const auto configure = [&](ipcrpc::ServerBuilder& builder) {
    if (!servers.empty()) builder.experimental().SetInterceptorCreators(std::move(servers));
  };
  server_ = callback ? Serve(callback_service_, address(), configure) : Serve(service_, address(), configure);
  channel_ = ipcrpc::experimental::CreateCustomChannelWithInterceptors(client_address(), nullptr, {}, std::move(clients));
  stub_ = Methods::NewStub(channel_);
}

void InterceptorTest::CallUnary() {
  ClientContext context;
  Msg response;
  EXPECT_TRUE(stub_->Unary(&context, Number(7), &response).ok());
  EXPECT_EQ(response.number(), 7);
}

void InterceptorTest::CallCollect() {
  ClientContext context;
  Msg response;
  const auto writer = stub_->Collect(&context, &response);
  EXPECT_TRUE(writer->Write(Number(1)));
  writer->WriteLast(Number(2), ipcrpc::WriteOptions());
  EXPECT_TRUE(writer->Finish().ok());
  EXPECT_EQ(response.number(), 3);
}

void InterceptorTest::CallEmit() {
  ClientContext context;
  const auto reader = stub_->Emit(&context, Number(2));
  Msg message;
  for (int i = 0; i < 2; ++i) EXPECT_TRUE(reader->Read(&message) && message.number() == i);
  EXPECT_FALSE(reader->Read(&message));
  EXPECT_TRUE(reader->Finish().ok());
}

void InterceptorTest::CallTalk() {
  ClientContext context;
  const auto stream = stub_->Talk(&context);
  Msg message;
  for (int i = 1; i <= 2; ++i) {
    EXPECT_TRUE(stream->Write(Number(i)));
    EXPECT_TRUE(stream->Read(&message) && message.number() == i);
  }
  EXPECT_TRUE(stream->WritesDone());
  EXPECT_FALSE(stream->Read(&message));
  EXPECT_TRUE(stream->Finish().ok());
}

void InterceptorTest::AskUnary() {
  ClientContext context;
  const Msg request = Number(7);
  Msg response;
  Status status(StatusCode::DO_NOT_USE, "");
  Event done;
  stub_->async()->Unary(&context, &request, &response, [&](Status end) {
    status = end;
    done.Set();
  });
  EXPECT_TRUE(done.Wait());
  EXPECT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.number(), 7);
}

void InterceptorTest::AskCollect() {
  ClientWrites writes;
  Msg response;
  const Msg one = Number(1), two = Number(2);
  stub_->async()->Collect(&writes.context, &response, &writes);
  bool last = false;
  writes.on_write = [&](bool ok) {
    EXPECT_TRUE(ok);
    if (!std::exchange(last, true)) writes.StartWriteLast(&two, ipcrpc::WriteOptions());
  };
  writes.StartWrite(&one);
  writes.StartCall();
  EXPECT_EQ(writes.Code(), StatusCode::OK);
  EXPECT_EQ(response.number(), 3);
}

void InterceptorTest::AskEmit() {
  ClientReads reads;
  const Msg request = Number(2);
  Msg message;
  int64_t sum = 0, count = 0;
  reads.on_read = [&](bool ok) {
    if (!ok) return;
    sum += message.number();
    ++count;
    reads.StartRead(&message);
  };
  stub_->async()->Emit(&reads.context, &request, &reads);
  reads.StartRead(&message);
  reads.StartCall();
  EXPECT_EQ(reads.Code(), StatusCode::OK);
  EXPECT_EQ(count, 2);
  EXPECT_EQ(sum, 1);
}

void InterceptorTest::AskTalk() {
  PingPong talk(*stub_, 2);
  EXPECT_EQ(talk.Code(), StatusCode::OK);
  EXPECT_EQ(talk.answered, 2);
}

void InterceptorTest::CallAll() {
  CallUnary();
  CallCollect();
  CallEmit();
  CallTalk();
  AskUnary();
  AskCollect();
  AskEmit();
  AskTalk();
}

}  // namespace behaviour

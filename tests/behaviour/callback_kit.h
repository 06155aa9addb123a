// The callback API with lambdas: reactors for both sides that say what happens to them, and a service of them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/behaviour/fixture.h"

namespace behaviour {

using ipcrpc::CallbackServerContext;

// ---- client ----------------------------------------------------------------------------------

// Any reactor of a client: without a lambda a reaction does nothing. `done` comes last, and then the status stays.
template <class Base>
class ClientSide : public Base {
 public:
  void OnReadInitialMetadataDone(bool ok) override {
    if (on_initial) on_initial(ok);
  }
  void OnDone(const Status& end) override {
    status = end;
    if (on_done) on_done(end);
    done.Set();
  }
  // Waits for the end of the call.
  StatusCode Code() { return done.Wait() ? status.error_code() : StatusCode::DO_NOT_USE; }

  ClientContext context;
  std::function<void(bool)> on_initial;
  std::function<void(const Status&)> on_done;
  Status status;
  Event done;
};

template <class Base>
class Reading : public Base {
 public:
  void OnReadDone(bool ok) override {
    if (on_read) on_read(ok);
  }
  std::function<void(bool)> on_read;
};

template <class Base>
class Writing : public Base {
 public:
  void OnWriteDone(bool ok) override {
    if (on_write) on_write(ok);
  }
  void OnWritesDoneDone(bool ok) override {
    if (on_writes_done) on_writes_done(ok);
  }
  std::function<void(bool)> on_write, on_writes_done;
};

using ClientAsker = ClientSide<ipcrpc::ClientUnaryReactor>;
using ClientReads = Reading<ClientSide<ipcrpc::ClientReadReactor<Msg>>>;
using ClientWrites = Writing<ClientSide<ipcrpc::ClientWriteReactor<Msg>>>;
using ClientTalks = Reading<Writing<ClientSide<ipcrpc::ClientBidiReactor<Msg, Msg>>>>;

// ---- server ----------------------------------------------------------------------------------

// Any reactor of a server; deletes itself in the end.
template <class Base>
class ServerSide : public Base {
 public:
  void OnSendInitialMetadataDone(bool ok) override {
    if (on_initial) on_initial(ok);
  }
  void OnCancel() override {
    if (on_cancel) on_cancel();
  }
  void OnDone() override {
    if (on_done) on_done();
    delete this;
  }
  std::function<void(bool)> on_initial;
  std::function<void()> on_cancel, on_done;
};

template <class Base>
class ServerWriting : public Base {
 public:
  void OnWriteDone(bool ok) override {
    if (on_write) on_write(ok);
  }
  std::function<void(bool)> on_write;
};

using ServerAnswers = ServerSide<ipcrpc::ServerUnaryReactor>;
using ServerReads = Reading<ServerSide<ipcrpc::ServerReadReactor<Msg>>>;
using ServerWrites = ServerWriting<ServerSide<ipcrpc::ServerWriteReactor<Msg>>>;
using ServerTalks = Reading<ServerWriting<ServerSide<ipcrpc::ServerBidiReactor<Msg, Msg>>>>;

// As LambdaService: without a lambda the plain thing.
class CallbackLambdaService : public Methods::CallbackService {
 public:
  std::function<ipcrpc::ServerUnaryReactor*(CallbackServerContext*, const Msg*, Msg*)> unary;
  std::function<ipcrpc::ServerReadReactor<Msg>*(CallbackServerContext*, Msg*)> collect;
  std::function<ipcrpc::ServerWriteReactor<Msg>*(CallbackServerContext*, const Msg*)> emit;
  std::function<ipcrpc::ServerBidiReactor<Msg, Msg>*(CallbackServerContext*)> talk;

  ipcrpc::ServerUnaryReactor* Unary(CallbackServerContext* context, const Msg* request, Msg* response) override;
  ipcrpc::ServerReadReactor<Msg>* Collect(CallbackServerContext* context, Msg* response) override;
  ipcrpc::ServerWriteReactor<Msg>* Emit(CallbackServerContext* context, const Msg* request) override;
  ipcrpc::ServerBidiReactor<Msg, Msg>* Talk(CallbackServerContext* context) override;
};

// What the service does without lambdas.
ipcrpc::ServerReadReactor<Msg>* NewSummer(Msg* response);
ipcrpc::ServerWriteReactor<Msg>* NewEmitter(int64_t count);
ipcrpc::ServerBidiReactor<Msg, Msg>* NewEcho();

// Talks to an echo: sends `count` numbers one after the other, each after the answer to the one before, and half-closes.
class PingPong final : public ClientTalks {
 public:
  PingPong(Methods::Stub& stub, int64_t count);
  int64_t answered = 0;

 private:
  void Next();
  const int64_t count_;
  int awaited_ = 0;
  Msg ping_, pong_;
};

class CallbackTest : public BehaviourTest {
 protected:
  // With callback_service_ instead of service_.
  void StartCallback(const std::function<void(ipcrpc::ServerBuilder&)>& configure = {}, const ipcrpc::ChannelArguments& arguments = {}) {
    server_ = Serve(callback_service_, address(), configure);
    Start({}, arguments);
  }
  ~CallbackTest() override { StopServer(); }  // before the service goes

  CallbackLambdaService callback_service_;
};

}  // namespace behaviour

#include "tests/behaviour/callback_kit.h"

namespace behaviour {

ipcrpc::ServerUnaryReactor* CallbackLambdaService::Unary(CallbackServerContext* context, const Msg* request, Msg* response) {
  if (unary) return unary(context, request, response);
  *response = *request;
  ipcrpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(Status::OK);
  return reactor;
}

ipcrpc::ServerReadReactor<Msg>* CallbackLambdaService::Collect(CallbackServerContext* context, Msg* response) {
  return collect ? collect(context, response) : NewSummer(response);
}

ipcrpc::ServerWriteReactor<Msg>* CallbackLambdaService::Emit(CallbackServerContext* context, const Msg* request) {
  return emit ? emit(context, request) : NewEmitter(request->number());
}

ipcrpc::ServerBidiReactor<Msg, Msg>* CallbackLambdaService::Talk(CallbackServerContext* context) {
  return talk ? talk(context) : NewEcho();
}

ipcrpc::ServerReadReactor<Msg>* NewSummer(Msg* response) {
  class Summer final : public ipcrpc::ServerReadReactor<Msg> {
   public:
    explicit Summer(Msg* response) : response_(response) { StartRead(&message_); }
    void OnReadDone(bool ok) override {
      if (!ok) {
        response_->set_text(std::to_string(count_));
        return Finish(Status::OK);
      }
      response_->set_number(response_->number() + message_.number());
      ++count_;
      StartRead(&message_);
    }
    void OnDone() override { delete this; }

   private:
    Msg* const response_;
    Msg message_;
    int count_ = 0;
  };
  return new Summer(response);
}

ipcrpc::ServerWriteReactor<Msg>* NewEmitter(int64_t count) {
  class Emitter final : public ipcrpc::ServerWriteReactor<Msg> {
   public:
    explicit Emitter(int64_t count) : count_(count) { Next(); }
    void OnWriteDone(bool ok) override { ok ? Next() : Finish(Status(StatusCode::ABORTED, "a write failed")); }
    void OnDone() override { delete this; }

   private:
    void Next() {
      if (sent_ == count_) return Finish(Status::OK);
      message_ = Number(sent_++);
      StartWrite(&message_);
    }
    const int64_t count_;
    int64_t sent_ = 0;
    Msg message_;
  };
  return new Emitter(count);
}

ipcrpc::ServerBidiReactor<Msg, Msg>* NewEcho() {
  class Echo final : public ipcrpc::ServerBidiReactor<Msg, Msg> {
   public:
    Echo() { StartRead(&message_); }
    void OnReadDone(bool ok) override { ok ? StartWrite(&message_) : Finish(Status::OK); }
    void OnWriteDone(bool ok) override { ok ? StartRead(&message_) : Finish(Status(StatusCode::ABORTED, "a write failed")); }
    void OnDone() override { delete this; }

   private:
    Msg message_;
  };
  return new Echo();
}

PingPong::PingPong(Methods::Stub& stub, int64_t count) : count_(count) {
  on_write = [this](bool ok) {
    if (ok && --awaited_ == 0) Next();
  };
  on_read = [this](bool ok) {
    if (!ok) return;
    EXPECT_EQ(pong_.number(), answered);
    ++answered;
    if (--awaited_ == 0) Next();
  };
  stub.async()->Talk(&context, this);
  Next();
  StartCall();
}

void PingPong::Next() {
  if (answered == count_) return StartWritesDone();
  awaited_ = 2;  // either may come first
  ping_ = Number(answered);
  StartWrite(&ping_);
  StartRead(&pong_);
}

}  // namespace behaviour

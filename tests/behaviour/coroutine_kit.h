// The coroutine API with lambdas: a service of them, and an executor of one thread.
#pragma once

#include <ipcrpc/coroutine.h>

#include <deque>
#include <functional>
#include <string>
#include <utility>

#include "tests/behaviour/fixture.h"

namespace behaviour {

using ipcrpc::CallbackServerContext;
using ipcrpc::SyncWait;
using ipcrpc::Task;

using CoroutineCollector = ipcrpc::co::ServerReader<Msg>;
using CoroutineEmitter = ipcrpc::co::ServerWriter<Msg>;
using CoroutineTalk = ipcrpc::co::ServerReaderWriter<Msg, Msg>;

// As LambdaService: without a lambda the plain thing. A lambda with captures must live as long as its task: these do.
class CoroutineLambdaService : public Methods::CoroutineService {
 public:
  std::function<Task<Status>(CallbackServerContext*, const Msg*, Msg*)> unary;
  std::function<Task<Status>(CallbackServerContext*, CoroutineCollector*, Msg*)> collect;
  std::function<Task<Status>(CallbackServerContext*, const Msg*, CoroutineEmitter*)> emit;
  std::function<Task<Status>(CallbackServerContext*, CoroutineTalk*)> talk;

  Task<Status> Unary(CallbackServerContext* context, const Msg* request, Msg* response) override {
    if (unary) co_return co_await unary(context, request, response);
    *response = *request;
    co_return Status::OK;
  }
  Task<Status> Collect(CallbackServerContext* context, CoroutineCollector* reader, Msg* response) override {
    if (collect) co_return co_await collect(context, reader, response);
    Msg message;
    int count = 0;
    while (co_await reader->Read(&message)) {
      response->set_number(response->number() + message.number());
      ++count;
    }
    response->set_text(std::to_string(count));
    co_return Status::OK;
  }
  Task<Status> Emit(CallbackServerContext* context, const Msg* request, CoroutineEmitter* writer) override {
    if (emit) co_return co_await emit(context, request, writer);
    for (int64_t i = 0; i < request->number(); ++i) {
      const Msg message = Number(i);
      if (!co_await writer->Write(message)) co_return Status(StatusCode::ABORTED, "a write failed");
    }
    co_return Status::OK;
  }
  Task<Status> Talk(CallbackServerContext* context, CoroutineTalk* stream) override {
    if (talk) co_return co_await talk(context, stream);
    Msg message;
    while (co_await stream->Read(&message)) {
      if (!co_await stream->Write(message)) co_return Status(StatusCode::ABORTED, "a write failed");
    }
    co_return Status::OK;
  }
};

// Resumes everything on one thread of its own.
class OneThread final : public ipcrpc::Executor {
 public:
  OneThread() : thread_([this] { Loop(); }) {}
  ~OneThread() override {
    Post({});
    thread_.join();
  }
  void Schedule(std::coroutine_handle<> coroutine) override {
    ++scheduled;
    Post(coroutine);
  }
  bool here() const { return std::this_thread::get_id() == thread_.get_id(); }

  std::atomic<int> scheduled{0};

 private:
  void Post(std::coroutine_handle<> coroutine) {
    std::lock_guard lock(mu_);
    queue_.push_back(coroutine);
    changed_.notify_one();
  }
  void Loop() {
    for (;;) {
      std::unique_lock lock(mu_);
      changed_.wait(lock, [this] { return !queue_.empty(); });
      const std::coroutine_handle<> next = queue_.front();
      queue_.pop_front();
      lock.unlock();
      if (!next) return;
      next.resume();
    }
  }

  std::mutex mu_;
  std::condition_variable changed_;
  std::deque<std::coroutine_handle<>> queue_;
  std::thread thread_;
};

// Stays suspended until somebody resumes `handle`.
struct Suspended {
  std::atomic<std::coroutine_handle<>>* handle;
  bool await_ready() noexcept { return false; }
  void await_suspend(std::coroutine_handle<> coroutine) noexcept { handle->store(coroutine); }
  void await_resume() noexcept {}
};

class CoroutineTest : public BehaviourTest {
 protected:
  // With coroutine_service_ instead of service_.
  void StartCoroutines(const std::function<void(ipcrpc::ServerBuilder&)>& configure = {}) {
    server_ = Serve(coroutine_service_, address(), configure);
    Start();
  }
  ~CoroutineTest() override { StopServer(); }  // before the service goes

  // Each awaits the plain thing, and checks its answer.
  Task<StatusCode> Echo(int64_t number);
  Task<StatusCode> Sum(int64_t count);
  Task<StatusCode> Count(int64_t count);
  Task<StatusCode> PingPong(int64_t count);

  CoroutineLambdaService coroutine_service_;
};

}  // namespace behaviour

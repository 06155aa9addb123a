// Interceptors made of lambdas, what they have seen, and calls of every kind past them.
#pragma once

#include <condition_variable>
#include <deque>
#include <map>
#include <utility>

#include "tests/behaviour/callback_kit.h"

namespace behaviour {

using Hook = ipcrpc::experimental::InterceptionHookPoints;
using Batch = ipcrpc::experimental::InterceptorBatchMethods;
using ClientFactories = std::vector<std::unique_ptr<ipcrpc::experimental::ClientInterceptorFactoryInterface>>;
using ServerFactories = std::vector<std::unique_ptr<ipcrpc::experimental::ServerInterceptorFactoryInterface>>;

inline bool Sees(Batch* batch, Hook hook) { return batch->QueryInterceptionHookPoint(hook); }
// The message sent, or received, if the batch is about one.
inline const Msg* Sent(Batch* batch) { return static_cast<const Msg*>(batch->GetSendMessage()); }
inline Msg* Received(Batch* batch) { return static_cast<Msg*>(batch->GetRecvMessage()); }

// Goes on with batches on a thread of its own, in the order in which they came.
class Later {
 public:
  Later() : thread_([this] { Run(); }) {}
  ~Later();
  void operator()(Batch* batch);

 private:
  void Run();
  std::mutex mu_;
  std::condition_variable changed_;
  std::deque<Batch*> waiting_;
  bool stop_ = false;
  std::thread thread_;
};

// How often each hook was seen.
class Counts {
 public:
  void Note(Batch* batch);
  int Of(Hook hook);
  // Those that were, by their short names: "send metadata 1, send message 3".
  std::string Text();
  void Clear();

 private:
  std::mutex mu_;
  std::map<Hook, int> counts_;
};

// A server and a channel with interceptors. What an interceptor is told to do for each batch ends with Proceed() or Hijack(),
// or leads to it.
class InterceptorTest : public CallbackTest {
 protected:
  using Action = std::function<void(Batch*)>;

  static Action Plainly() {
    return [](Batch* batch) { batch->Proceed(); };
  }
  Action Counting(Counts& counts, Action then = Plainly()) {
    return [&counts, then = std::move(then)](Batch* batch) {
      counts.Note(batch);
      then(batch);
    };
  }
  // One for each call and action; alive() counts them all.
  ClientFactories Client(std::vector<Action> actions);
  ServerFactories Server(std::vector<Action> actions);
  int alive() const { return alive_.load(); }

  // With service_, or callback_service_.
  void StartWith(ClientFactories clients, ServerFactories servers = {}, bool callback = false);

  // One call of each kind, whose handlers do the plain thing; each has to get the right answers.
  void CallUnary();
  void CallCollect();
  void CallEmit();
  void CallTalk();
  void AskUnary();
  void AskCollect();
  void AskEmit();
  void AskTalk();
  void CallAll();

 private:
  std::atomic<int> alive_{0};
};

}  // namespace behaviour

// The interceptors of one call, and the way of an operation past them.
//
//   program    1st interceptor    2nd             operation
//      |  Down ----->|------------->|------------->|      what is sent
//      |<------------|<-------------|<------- Up --|      what was received
//
// Where the 2nd has hijacked the call, Down ends with a question to it for what is received, nothing is done, and Up begins
// there.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "ipcrpc/channel.h"
#include "ipcrpc/internal/call.h"
#include "ipcrpc/status.h"
#include "ipcrpc/support/byte_buffer.h"
#include "ipcrpc/support/interceptor.h"
#include "rpc/metadata.h"

namespace ipcrpc::internal {

using rpc::ReceivedMetadata;
using rpc::SentMetadata;

// Those of one call, and what they see of its context. Complete before the first batch.
class Interceptors {
 public:
  virtual ~Interceptors() = default;

  size_t size() const { return all_.size(); }
  experimental::Interceptor& At(size_t i) { return *all_[i]; }
  // Where Down ends and Up begins.
  size_t last() const { return hijacker_.value_or(size() - 1); }
  bool hijacked() const { return hijacker_.has_value(); }
  void Hijack(size_t by) { hijacker_ = by; }

  // Shows a cancellation to all. Any thread.
  void ShowCancel();

  virtual SentMetadata* sent_initial() = 0;
  virtual SentMetadata* sent_trailing() { return nullptr; }
  virtual ReceivedMetadata* received_initial() = 0;
  virtual ReceivedMetadata* received_trailing() { return nullptr; }
  // Client.
  virtual bool may_hijack() const { return false; }
  // For calls that pass those after the one; null at a server.
  virtual std::unique_ptr<ChannelInterface> ChannelAfter(size_t) { return nullptr; }

 protected:
  void Add(experimental::Interceptor* interceptor) { all_.emplace_back(interceptor); }
  // By destructors of derived classes: interceptors may ask what call it is in their own.
  void DestroyAll() { all_.clear(); }

 private:
  friend class Batch;

  std::vector<std::unique_ptr<experimental::Interceptor>> all_;
  std::optional<size_t> hijacker_;  // set by the first batch of the call
  // For those who wait for a batch.
  std::mutex mu_;
  std::condition_variable changed_;
};

// One operation, or several that go together: says what they are, goes down, is done, says what came of it, goes up. By one
// thread at a time, but for what is public of its base.
class Batch final : public experimental::InterceptorBatchMethods {
 public:
  explicit Batch(Interceptors& interceptors) : interceptors_(interceptors) {}
  Batch(const Batch&) = delete;
  Batch& operator=(const Batch&) = delete;

  // ---- what it is ----------------------------------------------------------------------------

  // For the next operation.
  void Clear();
  void SendsInitial() { Shows(Hook::PRE_SEND_INITIAL_METADATA); }
  // The message is borrowed until it is up.
  void Sends(const OutgoingMessage& message);
  void SendsClose() { Shows(Hook::PRE_SEND_CLOSE); }
  void SendsStatus(const Status& status);
  void ReceivesInitial();
  void Receives(void* message);
  void ReceivesStatus();
  void ReceivesClose() { Shows(Hook::POST_RECV_CLOSE); }

  // ---- on its way ----------------------------------------------------------------------------

  // `then` runs when the last interceptor has proceeded: inside, or later on its thread. It may end the batch.
  using Then = std::function<void()>;
  void Down(Then then) { Go(Phase::kDown, std::move(then)); }
  void Up(Then then) { Go(Phase::kUp, std::move(then)); }
  // The same for who waits.
  void Down() { GoAndWait(Phase::kDown); }
  void Up() { GoAndWait(Phase::kUp); }

  // ---- what came of it -----------------------------------------------------------------------

  // What is to be sent; borrowed from the batch.
  OutgoingMessage outgoing() const;
  bool sends_message() const { return Has(Hook::PRE_SEND_MESSAGE); }
  // Whether it was sent: before, what a hijacker says.
  bool sent() const { return sent_; }
  void NoteSent(bool sent) { sent_ = sent; }
  // Whether there was a message: before, what a hijacker says.
  bool received() const { return received_; }
  void NoteReceived(bool received) { received_ = received; }
  // To be sent, or received.
  Status& status() { return status_; }
  // From now on it needs the message that was given to Sends() no more.
  void Serialise();

  // ---- for interceptors ----------------------------------------------------------------------

  bool QueryInterceptionHookPoint(experimental::InterceptionHookPoints type) override;
  void Proceed() override;
  void Hijack() override;
  ByteBuffer* GetSerializedSendMessage() override;
  const void* GetSendMessage() override;
  void ModifySendMessage(const void* message) override;
  bool GetSendMessageStatus() override { return sent_; }
  SentMetadata* GetSendInitialMetadata() override;
  Status GetSendStatus() override;
  void ModifySendStatus(const Status& status) override;
  SentMetadata* GetSendTrailingMetadata() override;
  void* GetRecvMessage() override;
  ReceivedMetadata* GetRecvInitialMetadata() override;
  Status* GetRecvStatus() override;
  ReceivedMetadata* GetRecvTrailingMetadata() override;
  std::unique_ptr<ChannelInterface> GetInterceptedChannel() override;
  void FailHijackedRecvMessage() override;
  void FailHijackedSendMessage() override;

 private:
  friend class Interceptors;
  using Hook = experimental::InterceptionHookPoints;
  enum class Phase { kDown, kAsk, kUp, kCancel };
  enum class Turn { kRunning, kReturned, kProceeded };

  void Shows(Hook hook) { hooks_ |= Bit(hook); }
  bool Has(Hook hook) const { return (hooks_ & Bit(hook)) != 0; }
  static constexpr uint32_t Bit(Hook hook) { return uint32_t{1} << static_cast<unsigned>(hook); }
  static uint32_t HooksOf(Phase phase);
  // In this phase.
  bool Showing(Hook hook) const { return (hooks_ & HooksOf(phase_) & Bit(hook)) != 0; }
  bool ShowsAny(Phase phase) const { return (hooks_ & HooksOf(phase)) != 0; }

  void Go(Phase phase, Then then);
  void GoAndWait(Phase phase);
  // To the first who sees, and to the next; false: nobody.
  bool ToFirst(Phase phase);
  bool ToNext();
  // Shows it to one after the other. True: they are through. False: one will proceed later, and goes on from there.
  bool Walk();
  void Finish();

  Interceptors& interceptors_;
  uint32_t hooks_ = 0;
  Phase phase_ = Phase::kDown;
  size_t at_ = 0;
  std::atomic<Turn> turn_{Turn::kProceeded};  // whoever comes second, Intercept()'s return or Proceed(), goes on
  Then then_;
  bool done_ = false;  // for who waits: under the interceptors' lock

  OutgoingMessage message_ = {};
  ByteBuffer bytes_;  // instead, once serialised
  bool serialised_ = false;
  bool sent_ = true;
  void* receiver_ = nullptr;
  bool received_ = true;
  Status status_;
};

}  // namespace ipcrpc::internal

// The client's end of a connection.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "rpc/call_numbers.h"
#include "rpc/connection.h"

namespace ipcrpc::rpc {

class ClientConnection final : public Connection {
 public:
  // `on_gone` runs once, when no new call can be started here any more: the link is lost, or the server says goodbye.
  static std::shared_ptr<ClientConnection> Make(std::unique_ptr<Link> link, std::shared_ptr<IoRuntime> runtime,
                                                const Keepalive& keepalive, std::function<void()> on_gone);
  ClientConnection(std::unique_ptr<Link> link, std::shared_ptr<IoRuntime> runtime, std::function<void()> on_gone);
  ~ClientConnection() override;

  bool gone() const { return gone_.load(std::memory_order_acquire); }
  // Null when it is gone. `lead`: by a thread that sends the begin at once and then waits for the end; it is given the receive
  // role, where that is free, until WaitUntil() returns, or Forget().
  StreamPtr NewStream(int64_t max_receive_bytes, bool lead);
  // A call of which the server has not heard.
  void Forget(Stream& stream);
  // Ends the call here and tells the server.
  void Cancel(Stream& stream, Status why);

  // The server knows the method by its index, so its name need not be sent.
  bool MethodKnown(uint32_t id) const {
    if (id < kFewMethods) [[likely]] return (few_known_methods_.load(std::memory_order_relaxed) >> id) & 1;
    return MoreMethodKnown(id);
  }
  void NoteMethodKnown(uint32_t id);
  static constexpr uint32_t kMaxMethods = 4096;

  // Whether deadlines may be sent as times of CLOCK_MONOTONIC.
  bool shares_clock() const { return shares_clock_.load(std::memory_order_relaxed); }

  void Close();

 private:
  Verdict OnCallFrame(const FrameHeader& header, std::string_view block, std::span<const std::byte> payload) override;
  Verdict OnHello(const HelloBody& hello) override;
  void OnGoaway(uint32_t taken) override;
  bool NeverRan(const Stream& stream) const override;
  void OnLost(const absl::Status& why) override;
  void OnDeadline(const StreamPtr& stream) override;
  Verdict OnFinish(Stream& stream, const FrameHeader& header, std::string_view block, std::span<const std::byte> payload);
  // Of a message that did not arrive well.
  Verdict Refuse(Stream& stream, const FrameHeader& header, Stream::Arrival arrival);

  bool MoreMethodKnown(uint32_t id) const;

  // No new call starts here. True: for the first time.
  bool Leave();

  std::function<void()> on_gone_;
  std::atomic<bool> gone_{false};
  std::atomic<bool> hello_seen_{false};
  std::atomic<uint32_t> taken_{kStillTaking};  // calls, by the server, when it says so
  std::atomic<bool> shares_clock_{false};
  CallNumbers numbers_;
  // By their bits. Most programs have no more than the few; the others' are made by the first that is noted.
  static constexpr uint32_t kFewMethods = 64;
  struct MoreMethods {
    std::atomic<uint64_t> known[kMaxMethods / 64] = {};
  };
  std::atomic<uint64_t> few_known_methods_{0};
  std::atomic<MoreMethods*> more_known_methods_{nullptr};
};

}  // namespace ipcrpc::rpc

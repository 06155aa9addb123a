// The server's end of a connection: turns what clients begin into calls.
#pragma once

#include <memory>
#include <vector>

#include "ipcrpc/server_context.h"
#include "rpc/connection.h"
#include "rpc/server_core.h"

namespace ipcrpc::rpc {

class ServerConnection final : public Connection {
 public:
  ServerConnection(std::unique_ptr<Link> link, std::shared_ptr<ServerCore> core);

  // Attaches to the runtime.
  void Start();
  // Tells the client to make no new calls here.
  void SayGoodbye();
  // Ends every call with UNAVAILABLE.
  void CancelCalls();
  // Closes once what is due is on its way.
  void CloseWhenDrained(int64_t deadline_ns);

  ServerCore& core() const { return *core_; }
  const std::shared_ptr<const AuthContext>& auth_context() const { return auth_context_; }

  // A call that runs here has ended.
  void CallEnded() { running_.fetch_sub(1, std::memory_order_relaxed); }

  // The end of a call whatever its handler does: nothing that waits is sent before the status.
  void AbortCall(const StreamPtr& stream, const Status& why);
  // The end of a call: its last frame, and the stream is forgotten.
  void FinishCall(const StreamPtr& stream, const Status& status, const internal::OutgoingMessage* response,
                  std::string_view metadata_block);

 private:
  Verdict OnCallFrame(const FrameHeader& header, std::string_view block, std::span<const std::byte> payload) override;
  Verdict OnHello(const HelloBody& hello) override;
  void OnLost(const absl::Status& why) override;
  void OnDeadline(const StreamPtr& stream) override;

  Verdict OnBegin(const FrameHeader& header, std::string_view block, std::span<const std::byte> payload);
  Verdict OnMessageFrame(const StreamPtr& stream, const FrameHeader& header, std::span<const std::byte> payload);
  Method* LookUp(const FrameHeader& header, std::string_view block, bool* fault);
  void Reject(const StreamPtr& stream, const Status& why);
  void StartCall(const StreamPtr& stream, Method* method, int64_t deadline_ns, std::string client_block);

  static constexpr size_t kMaxMethods = 4096;
  // Answers to calls that were refused, which wait because the client does not read.
  static constexpr size_t kMaxWaitingRefusals = 4096;

  const std::shared_ptr<ServerCore> core_;
  const std::shared_ptr<const AuthContext> auth_context_;

  // Handlers that run, or are about to. One may still do so when its call is over for the client.
  std::atomic<uint32_t> running_{0};

  // receive role
  bool hello_seen_ = false;
  uint32_t last_id_ = 0;
  std::vector<Method*> methods_;          // by the client's index
  struct Waiting {
    Method* method;
    int64_t deadline_ns;
    std::string client_block;
  };
  absl::flat_hash_map<uint32_t, Waiting> waiting_;  // calls that begin with a request, while that is incomplete
};

}  // namespace ipcrpc::rpc

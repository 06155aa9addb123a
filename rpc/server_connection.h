// The server's end of a connection: turns what clients begin into calls.
#pragma once

#include <memory>
#include <vector>

#include "ipcrpc/server_context.h"
#include "absl/container/flat_hash_map.h"
#include "rpc/authorization/access_table.h"
#include "rpc/connection.h"
#include "rpc/server_core.h"

namespace ipcrpc::rpc {

class ServerConnection final : public Connection {
 public:
  ServerConnection(std::unique_ptr<Link> link, std::shared_ptr<ServerCore> core);

  // Attaches to the runtime.
  void Start();
  // The client has said nothing for too long.
  void DropSilent();
  // Tells the client to make no new calls here, and to answer.
  void SayGoodbye();
  // It has answered, or is gone: no new call will come.
  bool parted() const { return client_parted_.load(std::memory_order_acquire) || closed(); }
  // Ends every call with UNAVAILABLE.
  void CancelCalls();
  // Closes once what is due is on its way.
  void CloseWhenDrained(int64_t deadline_ns);

  ServerCore& core() const { return *core_; }
  // Made when it is asked for first. Any thread.
  std::shared_ptr<const AuthContext> auth_context();

  // A call that runs here has ended.
  void CallEnded() { ended_.fetch_add(1, std::memory_order_relaxed); }

  // The end of a call whatever its handler does: nothing that waits is sent before the status.
  void AbortCall(Stream& stream, const Status& why);
  // The end of a call: its last frame, and the stream is forgotten.
  void FinishCall(Stream& stream, const Status& status, const internal::OutgoingMessage* response,
                  std::string_view metadata_block, const SharedFds* fds = nullptr);

 private:
  Verdict OnCallFrame(const FrameHeader& header, std::string_view block, std::span<const std::byte> payload) override;
  Verdict OnHello(const HelloBody& hello) override;
  void OnGoaway(uint32_t taken) override;
  void OnLost(const absl::Status& why) override;
  void OnDeadline(const StreamPtr& stream) override;

  Verdict OnBegin(const FrameHeader& header, std::string_view block, std::span<const std::byte> payload);
  Verdict OnMessageFrame(Stream& stream, const FrameHeader& header, std::span<const std::byte> payload);
  // Ends the call of a message that did not arrive well, but not by the client's fault.
  void RefuseMessage(Stream& stream, const FrameHeader& header, Stream::Arrival arrival);
  // Null: there is no such method. `*other_name`, where methods().rest() serves it: its name.
  Method* LookUp(const FrameHeader& header, std::string_view block, bool* fault, std::string_view* other_name);
  void Reject(Stream& stream, const Status& why);
  // Whether the client may call it by that name. False: the call is rejected.
  bool Admit(const Method& method, std::string_view name, Stream& stream);
  // The end of a call that comes too late: the client may make it elsewhere.
  void TurnAway(Stream& stream);
  void CountTaken() { taken_.store(taken_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
  void StartCall(StreamPtr stream, Method* method, int64_t deadline_ns, std::string client_block, bool count);

  static constexpr size_t kMaxMethods = 4096;
  // Answers to calls that were refused, which wait because the client does not read.
  static constexpr size_t kMaxWaitingRefusals = 4096;

  const std::shared_ptr<ServerCore> core_;
  internal::Mutex auth_mu_;
  std::shared_ptr<const AuthContext> auth_context_;

  // Handlers that run, or are about to. One may still do so when its call is over for the client.
  uint32_t running() const { return begun_ - ended_.load(std::memory_order_relaxed); }
  uint32_t begun_ = 0;  // in the receive role
  std::atomic<uint32_t> ended_{0};

  std::atomic<bool> client_parted_{false};
  // Calls that run or have their answer, in the order in which they came. Written in the receive role; once the server
  // turns calls away, under parting_mu_.
  std::atomic<uint32_t> taken_{0};
  std::mutex parting_mu_;
  bool parted_ = false;  // the client has been told taken_, and no further call is looked at

  // receive role
  bool hello_seen_ = false;
  uint32_t last_id_ = 0;
  Admission admission_;
  std::vector<Method*> methods_;                            // by the client's index
  absl::flat_hash_map<uint32_t, std::string> other_names_;  // by the index too, of those that methods().rest() serves
  struct Waiting {
    Method* method;
    int64_t deadline_ns;
    std::string client_block;
  };
  absl::flat_hash_map<uint32_t, Waiting> waiting_;  // calls that begin with a request, while that is incomplete
};

}  // namespace ipcrpc::rpc

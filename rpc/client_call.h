// One call as the client sees it: what calls that a thread waits for and callback calls have in common. Nothing here waits.
#pragma once

#include <atomic>
#include <memory>
#include <string>

#include "ipcrpc/client_context.h"
#include "ipcrpc/internal/call.h"
#include "rpc/cancel_target.h"
#include "rpc/client_channel.h"

namespace ipcrpc::internal {

// A context serves one call: stops the process.
[[noreturn]] void StopForSecondUse(const RpcMethod& method);

class ClientCallCore : public CancelTarget {
 protected:
  // Takes the context, which serves one call. `keep` may be null where the caller holds the channel for as long as this
  // object lives.
  ClientCallCore(rpc::ClientChannel* channel, std::shared_ptr<rpc::ClientChannel> keep, const RpcMethod& method,
                 ClientContext* context);
  ~ClientCallCore() = default;

  // ---- the begin -----------------------------------------------------------------------------

  // What can be wrong before there is a connection; OK: go on. `message` goes with the begin, if given. Once.
  Status Prepare(const OutgoingMessage* message);
  // Why a prepared call cannot begin any more: cancelled, or out of time. OK: it can.
  Status WhyNotBegin() const;
  enum class Begun {
    kYes,
    kLost,       // the connection was lost just now, and the server heard nothing: ask the channel for another
    kCancelled,
  };
  // `lead`: this thread waits for the end of the call at once, see ClientConnection::NewStream().
  Begun BeginOn(std::shared_ptr<rpc::ClientConnection> connection, const OutgoingMessage* message, uint8_t flags, bool lead = false);
  // The two halves of it: a call of the connection, of which the server hears with the second.
  Begun Open(std::shared_ptr<rpc::ClientConnection> connection, bool lead = false);
  rpc::Stream::Sending SendBegin(const OutgoingMessage* message, uint8_t flags);
  // Undoes Open(), for a call that is over and is to be begun again.
  void Close();

  // Descriptors are to go with the next message; and why they cannot on that connection.
  bool attached() const { return begin_fds_ != nullptr || !context_.send_fds_.empty(); }
  Status CheckAttached(const rpc::ClientConnection& connection) const;
  // The request goes on no other connection from now on.
  void ForgetBegin() {
    if (begin_fds_ != nullptr) [[unlikely]] begin_fds_ = nullptr;
  }

  // ---- while it runs -------------------------------------------------------------------------

  // OK, or why the message must not be sent.
  Status CheckMessage(const OutgoingMessage& message) const;
  rpc::Stream::Sending SendMessage(const OutgoingMessage& message, bool last);
  // The next message, which is there or never comes; false: none. One that does not parse ends the call.
  bool TakeMessage(const IncomingMessage& message);
  // Hands the initial metadata to the context, once they are there. The reader's.
  void NoteInitial();
  // Ends the call here, and tells the server.
  void End(Status why) { connection_->Cancel(*stream_, std::move(why)); }

  // ---- the end -------------------------------------------------------------------------------

  // How a call that is over ended; with OK, `response` is filled, if given. Hands the trailing metadata to the context.
  Status Conclude(const IncomingMessage* response);
  // The context forgets the call.
  void LeaveContext();

  // The context can cancel the call, from before there is a connection. False: it is cancelled.
  bool Attach();
  bool cancelled() const { return context_.cancelled_.load(std::memory_order_relaxed); }
  bool corked() const { return context_.corked_; }
  bool wait_for_ready() const { return context_.wait_for_ready_; }
  int64_t deadline_ns() const { return context_.deadline_ns_; }
  Mutex& context_mu() const { return context_.mu_; }
  ClientContext& context() const { return context_; }

  static Status Cancelled() { return Status(StatusCode::CANCELLED, "the call was cancelled by the client"); }
  static Status DeadlineExceeded() { return Status(StatusCode::DEADLINE_EXCEEDED, "the deadline has passed"); }

  std::shared_ptr<rpc::ClientChannel> keep_;
  rpc::ClientChannel* const channel_;
  const RpcMethod method_;
  std::shared_ptr<rpc::ClientConnection> connection_;
  rpc::StreamPtr stream_;  // null: never begun, and local_status_ says why; set before the context shows the call, or under its lock
  Status local_status_;

 private:
  static Status Unparsable() { return Status(StatusCode::INTERNAL, "a received message does not parse"); }

  // The context can cancel the call from now on, which takes these two. False: it is cancelled, and has given them back.
  bool Show(std::shared_ptr<rpc::ClientConnection>& connection, rpc::StreamPtr& stream);
  void StopLeading();
  Status CheckSize(const OutgoingMessage& message) const;
  rpc::SharedFds TakeAttached();
  void NoteFds();

  ClientContext& context_;
  std::string initial_block_;  // what is sent
  rpc::SharedFds begin_fds_;   // with the message of the begin
  bool unparsable_ = false;    // the reader's
  bool initial_noted_ = false;
};

}  // namespace ipcrpc::internal

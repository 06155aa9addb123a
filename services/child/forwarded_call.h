// One call that is handed on: a server's call in front, and a client's to the worker.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <vector>

#include "ipcrpc/generic/callback_generic_service.h"
#include "ipcrpc/internal/call.h"
#include "ipcrpc/unique_fd.h"
#include "services/child/crew.h"

namespace ipcrpc {

// Deletes itself when both are over. Each direction has one message at a time, which is read when the one before it has been written.
//
// The reactions of the call in front come one after the other, and so do the onward call's; those of the one run beside
// those of the other. The last reaction of the onward call finishes the one in front, whose own last reaction is the end.
class ForwardedCall final : public ServerGenericBidiReactor {
 public:
  // Of a method of that type, or BIDI_STREAMING where it is not known.
  ForwardedCall(Crew& crew, GenericCallbackServerContext* context, internal::RpcMethod::RpcType type);
  ~ForwardedCall() override;

 private:
  // The client's side, of one try.
  class Onward;

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnDone() override { delete this; }

  bool one_request() const { return type_ == internal::RpcMethod::NORMAL_RPC || type_ == internal::RpcMethod::SERVER_STREAMING; }
  bool one_response() const { return type_ == internal::RpcMethod::NORMAL_RPC || type_ == internal::RpcMethod::CLIENT_STREAMING; }

  // To a worker; `except` has just been tried. mu_ held.
  void Begin(const Hand* except);
  // mu_ held.
  void PassRequest();
  // What comes of the onward call.
  void OnInitialMetadata(bool ok);
  void OnRequestWritten(bool ok);
  void OnResponse(bool ok);
  void OnEnd(Status status);

  Crew& crew_;
  GenericCallbackServerContext* const context_;
  const internal::RpcMethod::RpcType type_;

  // Of the requests.
  enum class Requests { kReading, kPassing, kEnded };

  std::mutex mu_;
  std::unique_ptr<Onward> onward_;
  size_t tries_left_;
  Requests requests_ = Requests::kReading;
  ByteBuffer request_;                 // read last, and kept until the worker has it
  std::vector<UniqueFd> request_fds_;  // that came with it

  // of the onward call's reactions
  ByteBuffer response_;
  bool has_response_ = false;  // the only one, which goes with the status
};

}  // namespace ipcrpc

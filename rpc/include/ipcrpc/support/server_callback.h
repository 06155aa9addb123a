// The callback API, server: a handler returns a reactor, an object of the user's whose operations (Start…, Finish) return at
// once and whose reactions (On…) follow when they are complete. No thread waits for a call meanwhile.
//
// Operations may be started at any time from any thread: those started before the handler returns, in the reactor's
// constructor for instance, are kept and begin then. At most one read and one write may be outstanding. Every reactor
// must be finished, once, also when its call was cancelled.
//
// Reactions run on threads of the library, never inside of the call that started them, and those of one call one after
// the other. They should not block: one that does holds up its own call alone, but costs a thread meanwhile.
#pragma once

#include <utility>

#include "ipcrpc/internal/callback_call.h"
#include "ipcrpc/internal/message_codec.h"
#include "ipcrpc/status.h"
#include "ipcrpc/write_options.h"

namespace ipcrpc {

// Both ways.
template <class Request, class Response>
class ServerBidiReactor : public internal::ServerReactor {
 public:
  // Sends CallbackServerContext::AddInitialMetadata()'s at once rather than with the first message or the status.
  void StartSendInitialMetadata() { operations().SendInitialMetadata(); }
  // Reads the next message into `*request`, which must live until OnReadDone().
  void StartRead(Request* request) { operations().Read(internal::Incoming(request)); }
  // Writes a message, which must live unchanged until OnWriteDone().
  void StartWrite(const Response* response) { StartWrite(response, WriteOptions()); }
  void StartWrite(const Response* response, WriteOptions options) {
    operations().Write(internal::Outgoing(*response), options);
  }
  // The last message, which waits for Finish() and goes with the status.
  void StartWriteLast(const Response* response, WriteOptions options) { StartWrite(response, options.set_last_message()); }
  // The last message and the status in one; OnDone() is its only reaction, until which the message must live.
  void StartWriteAndFinish(const Response* response, WriteOptions options, Status status) {
    operations().WriteAndFinish(internal::Outgoing(*response), options, std::move(status));
  }
  void Finish(Status status) { operations().Finish(std::move(status)); }

  void OnDone() override = 0;
  void OnCancel() override {}
  void OnSendInitialMetadataDone(bool /*ok*/) override {}
  // Not `ok`: the end of the client's messages, or of the call.
  void OnReadDone(bool /*ok*/) override {}
  // Not `ok`: the call is over.
  void OnWriteDone(bool /*ok*/) override {}
};

// Client streaming; see ServerBidiReactor. The response goes with the status when that is OK.
template <class Request>
class ServerReadReactor : public internal::ServerReactor {
 public:
  void StartSendInitialMetadata() { operations().SendInitialMetadata(); }
  void StartRead(Request* request) { operations().Read(internal::Incoming(request)); }
  void Finish(Status status) { operations().Finish(std::move(status)); }

  void OnDone() override = 0;
  void OnCancel() override {}
  void OnSendInitialMetadataDone(bool /*ok*/) override {}
  void OnReadDone(bool /*ok*/) override {}
};

// Server streaming; see ServerBidiReactor.
template <class Response>
class ServerWriteReactor : public internal::ServerReactor {
 public:
  void StartSendInitialMetadata() { operations().SendInitialMetadata(); }
  void StartWrite(const Response* response) { StartWrite(response, WriteOptions()); }
  void StartWrite(const Response* response, WriteOptions options) {
    operations().Write(internal::Outgoing(*response), options);
  }
  void StartWriteLast(const Response* response, WriteOptions options) { StartWrite(response, options.set_last_message()); }
  void StartWriteAndFinish(const Response* response, WriteOptions options, Status status) {
    operations().WriteAndFinish(internal::Outgoing(*response), options, std::move(status));
  }
  void Finish(Status status) { operations().Finish(std::move(status)); }

  void OnDone() override = 0;
  void OnCancel() override {}
  void OnSendInitialMetadataDone(bool /*ok*/) override {}
  void OnWriteDone(bool /*ok*/) override {}
};

// Unary; see ServerBidiReactor. The response goes with the status when that is OK. Most handlers need none of their
// own: CallbackServerContext::DefaultReactor().
class ServerUnaryReactor : public internal::ServerReactor {
 public:
  void StartSendInitialMetadata() { operations().SendInitialMetadata(); }
  void Finish(Status status) { operations().Finish(std::move(status)); }

  void OnDone() override = 0;
  void OnCancel() override {}
  void OnSendInitialMetadataDone(bool /*ok*/) override {}
};

}  // namespace ipcrpc

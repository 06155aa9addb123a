// Interceptors: objects of the user that see each operation of a call, may change what it carries, delay it, or answer it in the
// server's place. Namespace and names are gRPC's.
//
// One is made for each call, by the factories of its channel or server (client_interceptor.h, server_interceptor.h), and
// Intercept() is called for each of its operations: on the way out before it is done, in the order of the factories; on
// the way in when it is complete, in reverse. Intercept() may run in several threads at once, as reading and writing may
// be, and runs on the thread that calls or on one of the library's: it should not block.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "ipcrpc/status.h"
#include "ipcrpc/string_ref.h"
#include "ipcrpc/support/byte_buffer.h"

namespace ipcrpc {

class ChannelInterface;

namespace experimental {

// What an interceptor is shown. PRE_SEND: it is about to be sent. POST_SEND, POST_RECV: it was, or has come, and the program
// does not know yet. PRE_RECV: a hijacker is asked for it. Only hooks of one of these kinds are in one batch.
enum class InterceptionHookPoints {
  PRE_SEND_INITIAL_METADATA,
  PRE_SEND_MESSAGE,
  POST_SEND_MESSAGE,
  PRE_SEND_STATUS,  // server
  PRE_SEND_CLOSE,   // client: no message follows
  // A client's, and only the hijacker's of a hijacked call.
  PRE_RECV_INITIAL_METADATA,
  PRE_RECV_MESSAGE,
  PRE_RECV_STATUS,
  POST_RECV_INITIAL_METADATA,
  POST_RECV_MESSAGE,  // also at the end of the messages; then GetRecvMessage() is null
  POST_RECV_STATUS,   // client
  POST_RECV_CLOSE,    // server: the call is over for the client, or cancelled
  // TryCancel() on the context. Alone in its batch, shown to all interceptors of the call at any time from any thread, also
  // while another batch is, and not to be delayed. The context must not be used meanwhile.
  PRE_SEND_CANCEL,
  NUM_INTERCEPTION_HOOKS
};

// What Intercept() is given: which hooks it is about, what they carry, and the ways on. Valid until Proceed() or Hijack(). What
// the hooks of the batch do not carry reads as null.
class InterceptorBatchMethods {
 public:
  virtual ~InterceptorBatchMethods() = default;

  virtual bool QueryInterceptionHookPoint(InterceptionHookPoints type) = 0;

  // On to the next interceptor, then to the operation. Exactly once for each Intercept(), unless Hijack() is called instead:
  // inside of it, or later, from any thread; the operation waits. A synchronous caller blocks meanwhile, a callback call
  // does not, and its request has to live until then. Nothing for PRE_SEND_CANCEL.
  virtual void Proceed() = 0;
  // Instead of Proceed(), with PRE_SEND_INITIAL_METADATA at a client: from now on the call goes no further than this interceptor,
  // which is asked by the PRE_RECV hooks for all that is received. Elsewhere it stops the process.
  virtual void Hijack() = 0;

  // The message to be sent, as bytes, which may be changed. From then on GetSendMessage() is null, also for later
  // interceptors. PRE_SEND_MESSAGE.
  virtual ByteBuffer* GetSerializedSendMessage() = 0;
  // The message to be sent, of the method's type. PRE_SEND_MESSAGE.
  virtual const void* GetSendMessage() = 0;
  // Sends another one, of the same type, which must live until POST_SEND_MESSAGE or GetSerializedSendMessage().
  virtual void ModifySendMessage(const void* message) = 0;
  // Whether it was sent. POST_SEND_MESSAGE.
  virtual bool GetSendMessageStatus() = 0;

  // May be changed. PRE_SEND_INITIAL_METADATA.
  virtual std::multimap<std::string, std::string>* GetSendInitialMetadata() = 0;

  // PRE_SEND_STATUS, as are the next two.
  virtual Status GetSendStatus() = 0;
  virtual void ModifySendStatus(const Status& status) = 0;
  virtual std::multimap<std::string, std::string>* GetSendTrailingMetadata() = 0;

  // The message received, of the method's type, which may be changed; at a PRE_RECV_MESSAGE where it is to be put.
  virtual void* GetRecvMessage() = 0;
  // May be changed, at a PRE_RECV hook filled; what is put in must live as long as the call's context.
  virtual std::multimap<string_ref, string_ref>* GetRecvInitialMetadata() = 0;
  virtual Status* GetRecvStatus() = 0;
  virtual std::multimap<string_ref, string_ref>* GetRecvTrailingMetadata() = 0;

  // The call's channel for calls of an interceptor's own: they pass only those after it. Null at a server.
  virtual std::unique_ptr<ChannelInterface> GetInterceptedChannel() = 0;

  // Of a hijacked call. At PRE_RECV_MESSAGE: there is none, and none will come.
  virtual void FailHijackedRecvMessage() = 0;
  // At PRE_SEND_MESSAGE: the message is not sent, and the program hears so.
  virtual void FailHijackedSendMessage() = 0;
};

class Interceptor {
 public:
  virtual ~Interceptor() = default;
  virtual void Intercept(InterceptorBatchMethods* methods) = 0;
};

}  // namespace experimental
}  // namespace ipcrpc

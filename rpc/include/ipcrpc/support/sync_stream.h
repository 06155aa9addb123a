// Streams for threads that wait: what stubs return and what handlers are given for streaming methods.
// One reader and one writer thread may use a stream at the same time.
#pragma once

#include <cstdint>
#include <memory>

#include "ipcrpc/client_context.h"
#include "ipcrpc/internal/call.h"
#include "ipcrpc/internal/message_codec.h"
#include "ipcrpc/status.h"
#include "ipcrpc/write_options.h"

namespace ipcrpc {
namespace internal {

class ClientStreamingInterface {
 public:
  virtual ~ClientStreamingInterface() = default;

  // Waits for the end of the call and says how it ended. Messages not read until then are lost.
  virtual Status Finish() = 0;
};

class ServerStreamingInterface {
 public:
  virtual ~ServerStreamingInterface() = default;

  // Sends what ServerContext::AddInitialMetadata() collected, at once rather than with the first message.
  virtual void SendInitialMetadata() = 0;
};

template <class R>
class ReaderInterface {
 public:
  virtual ~ReaderInterface() = default;

  // Waits for the next message. Its size in bytes, or false at the end of the stream.
  virtual bool NextMessageSize(uint32_t* size) = 0;

  // Waits for the next message. False at the end of the stream or of the call, from then on always.
  virtual bool Read(R* message) = 0;
};

template <class W>
class WriterInterface {
 public:
  virtual ~WriterInterface() = default;

  // Waits for room. False once the call is over.
  virtual bool Write(const W& message, WriteOptions options) = 0;
  bool Write(const W& message) { return Write(message, WriteOptions()); }

  // The last message: no WritesDone() after it.
  void WriteLast(const W& message, WriteOptions options) { Write(message, options.set_last_message()); }
};

template <class R>
class ClientReaderFactory;
template <class W>
class ClientWriterFactory;
template <class W, class R>
class ClientReaderWriterFactory;

template <class ServiceType, class RequestType, class ResponseType>
class ClientStreamingHandler;
template <class ServiceType, class RequestType, class ResponseType>
class ServerStreamingHandler;
template <class ServiceType, class RequestType, class ResponseType>
class BidiStreamingHandler;

}  // namespace internal

// Client, server streaming.
template <class R>
class ClientReaderInterface : public internal::ClientStreamingInterface, public internal::ReaderInterface<R> {
 public:
  // Optional, before the first Read(): afterwards the context has the server's initial metadata.
  virtual void WaitForInitialMetadata() = 0;
};

// Destroying it before Finish() cancels the call.
template <class R>
class ClientReader final : public ClientReaderInterface<R> {
 public:
  void WaitForInitialMetadata() override { call_->WaitForInitialMetadata(); }
  bool NextMessageSize(uint32_t* size) override { return call_->NextMessageSize(size); }
  bool Read(R* message) override { return call_->Read(internal::Incoming(message)); }
  Status Finish() override { return call_->Finish(nullptr); }

 private:
  friend class internal::ClientReaderFactory<R>;
  explicit ClientReader(std::unique_ptr<internal::ClientCall> call) : call_(std::move(call)) {}

  const std::unique_ptr<internal::ClientCall> call_;
};

// Client, client streaming.
template <class W>
class ClientWriterInterface : public internal::ClientStreamingInterface, public internal::WriterInterface<W> {
 public:
  // Tells the server that no message follows. False once the call is over.
  virtual bool WritesDone() = 0;
};

// Finish() fills the response that the stub was given. Destroying it before Finish() cancels the call.
template <class W>
class ClientWriter final : public ClientWriterInterface<W> {
 public:
  using internal::WriterInterface<W>::Write;

  void WaitForInitialMetadata() { call_->WaitForInitialMetadata(); }
  bool Write(const W& message, WriteOptions options) override {
    return call_->Write(internal::Outgoing(message), options);
  }
  bool WritesDone() override { return call_->WritesDone(); }
  Status Finish() override { return call_->Finish(&response_); }

 private:
  friend class internal::ClientWriterFactory<W>;
  ClientWriter(std::unique_ptr<internal::ClientCall> call, internal::IncomingMessage response)
      : call_(std::move(call)), response_(response) {}

  const std::unique_ptr<internal::ClientCall> call_;
  const internal::IncomingMessage response_;
};

// Client, both ways.
template <class W, class R>
class ClientReaderWriterInterface : public internal::ClientStreamingInterface,
                                    public internal::WriterInterface<W>,
                                    public internal::ReaderInterface<R> {
 public:
  // Optional, before the first Read(): afterwards the context has the server's initial metadata.
  virtual void WaitForInitialMetadata() = 0;

  // Tells the server that no message follows. False once the call is over.
  virtual bool WritesDone() = 0;
};

// Destroying it before Finish() cancels the call.
template <class W, class R>
class ClientReaderWriter final : public ClientReaderWriterInterface<W, R> {
 public:
  using internal::WriterInterface<W>::Write;

  void WaitForInitialMetadata() override { call_->WaitForInitialMetadata(); }
  bool NextMessageSize(uint32_t* size) override { return call_->NextMessageSize(size); }
  bool Read(R* message) override { return call_->Read(internal::Incoming(message)); }
  bool Write(const W& message, WriteOptions options) override {
    return call_->Write(internal::Outgoing(message), options);
  }
  bool WritesDone() override { return call_->WritesDone(); }
  Status Finish() override { return call_->Finish(nullptr); }

 private:
  friend class internal::ClientReaderWriterFactory<W, R>;
  explicit ClientReaderWriter(std::unique_ptr<internal::ClientCall> call) : call_(std::move(call)) {}

  const std::unique_ptr<internal::ClientCall> call_;
};

// Server, client streaming.
template <class R>
class ServerReaderInterface : public internal::ServerStreamingInterface,
                              public internal::ReaderInterface<R> {};

template <class R>
class ServerReader final : public ServerReaderInterface<R> {
 public:
  void SendInitialMetadata() override { call_->SendInitialMetadata(); }
  bool NextMessageSize(uint32_t* size) override { return call_->NextMessageSize(size); }
  bool Read(R* message) override { return call_->Read(internal::Incoming(message)); }

 private:
  template <class ServiceType, class RequestType, class ResponseType>
  friend class internal::ClientStreamingHandler;
  explicit ServerReader(internal::ServerCall* call) : call_(call) {}

  internal::ServerCall* const call_;
};

// Server, server streaming.
template <class W>
class ServerWriterInterface : public internal::ServerStreamingInterface,
                              public internal::WriterInterface<W> {};

template <class W>
class ServerWriter final : public ServerWriterInterface<W> {
 public:
  using internal::WriterInterface<W>::Write;

  void SendInitialMetadata() override { call_->SendInitialMetadata(); }
  bool Write(const W& message, WriteOptions options) override {
    return call_->Write(internal::Outgoing(message), options);
  }

 private:
  template <class ServiceType, class RequestType, class ResponseType>
  friend class internal::ServerStreamingHandler;
  explicit ServerWriter(internal::ServerCall* call) : call_(call) {}

  internal::ServerCall* const call_;
};

// Server, both ways.
template <class W, class R>
class ServerReaderWriterInterface : public internal::ServerStreamingInterface,
                                    public internal::WriterInterface<W>,
                                    public internal::ReaderInterface<R> {};

template <class W, class R>
class ServerReaderWriter final : public ServerReaderWriterInterface<W, R> {
 public:
  using internal::WriterInterface<W>::Write;

  void SendInitialMetadata() override { call_->SendInitialMetadata(); }
  bool NextMessageSize(uint32_t* size) override { return call_->NextMessageSize(size); }
  bool Read(R* message) override { return call_->Read(internal::Incoming(message)); }
  bool Write(const W& message, WriteOptions options) override {
    return call_->Write(internal::Outgoing(message), options);
  }

 private:
  template <class ServiceType, class RequestType, class ResponseType>
  friend class internal::BidiStreamingHandler;
  explicit ServerReaderWriter(internal::ServerCall* call) : call_(call) {}

  internal::ServerCall* const call_;
};

namespace internal {

// What stubs make their streams with; the caller owns the result.

template <class R>
class ClientReaderFactory {
 public:
  template <class W>
  static ClientReader<R>* Create(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                                 const W& request) {
    const OutgoingMessage outgoing = Outgoing(request);
    return new ClientReader<R>(ClientCall::Start(channel, method, context, &outgoing));
  }
};

template <class W>
class ClientWriterFactory {
 public:
  template <class R>
  static ClientWriter<W>* Create(ChannelInterface* channel, const RpcMethod& method, ClientContext* context,
                                 R* response) {
    return new ClientWriter<W>(ClientCall::Start(channel, method, context, nullptr), Incoming(response));
  }
};

template <class W, class R>
class ClientReaderWriterFactory {
 public:
  static ClientReaderWriter<W, R>* Create(ChannelInterface* channel, const RpcMethod& method,
                                          ClientContext* context) {
    return new ClientReaderWriter<W, R>(ClientCall::Start(channel, method, context, nullptr));
  }
};

}  // namespace internal
}  // namespace ipcrpc

// One end of a connection, made by hand: sockets, segments and frames with every byte under the test's control.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rpc/frame.h"
#include "transport/base/fd.h"
#include "transport/shm/handshake.h"
#include "transport/shm/layout.h"

namespace hostile {

using ipcrpc::UniqueFd;
using ipcrpc::rpc::FrameHeader;
using ipcrpc::rpc::FrameType;

// $IPCRPC_RUNTIME_DIR/NAME.SUFFIX of an address "scheme:NAME".
std::string SocketPath(const std::string& address);
UniqueFd ConnectTo(const std::string& path, int type);
UniqueFd ListenAt(const std::string& path, int type);
// As a server of the address does.
UniqueFd ListenFor(const std::string& address);
// With any descriptors. False: the peer does not take it.
bool SendWithFds(int socket, std::string_view bytes, const std::vector<int>& fds);

std::string Bytes(const void* data, size_t size);
std::string FrameOf(const FrameHeader& header, std::string_view block = {}, std::string_view message = {});
std::string EntryOf(int kind, std::string_view key, std::string_view value);
std::string Hello(uint64_t features = 0);
// A begin of a streaming method by its name, without a message.
std::string BeginTalk(uint32_t stream, uint32_t index = 0);

// A client's end; or, of a connection that it accepts, a server's.
class RawClient {
 public:
  static std::unique_ptr<RawClient> Connect(const std::string& address);
  // The next who connects to the socket that ListenFor() has made. Null: nobody in 20 s.
  static std::unique_ptr<RawClient> Accept(const std::string& address, int listener);
  virtual ~RawClient() = default;

  // False once the peer has closed, or takes no more for `patience_ms`.
  virtual bool Send(std::string_view frame, int patience_ms = 2000) = 0;
  // With any descriptors, of whatever number; false at once where they do not go.
  virtual bool SendFds(std::string_view frame, uint32_t parcel, const std::vector<int>& fds) = 0;
  // The next frame, or none within the time or at the end.
  virtual std::optional<std::string> Receive(int timeout_ms) = 0;
  // The peer has closed the connection, or does so within the time. Frames are thrown away.
  bool WaitClosed(int timeout_ms = 20'000);
  // The next frame of a type.
  std::optional<std::string> ReceiveType(FrameType type, int timeout_ms = 20'000);
  virtual bool closed() = 0;
};

// Shared memory: its own segment as it likes it, and the socket.
class RawShmClient final : public RawClient {
 public:
  // The socket only; the greeting is up to the test.
  explicit RawShmClient(const std::string& address);
  explicit RawShmClient(UniqueFd socket);
  ~RawShmClient() override;

  // A proper greeting, up to the server's answer. Whose ring may grow is read no further, see Receive().
  bool Greet(uint32_t max_ring_bytes = ipcrpc::shm::kMaxRingBytes);
  // The server's answer to whatever was sent: its code, 0 welcome, -1 none (closed).
  int ReadAnswer();
  // The server's part of it.
  bool Welcome();

  bool Send(std::string_view frame, int patience_ms = 2000) override;
  bool SendFds(std::string_view frame, uint32_t parcel, const std::vector<int>& fds) override;
  std::optional<std::string> Receive(int timeout_ms) override;
  bool closed() override;

  int socket() const { return socket_.get(); }
  ipcrpc::shm::Segment* own() const { return own_; }
  std::byte* ring() const { return reinterpret_cast<std::byte*>(own_) + ipcrpc::shm::kRingOffset; }
  uint64_t tail() const { return tail_; }
  // Writes a record's two words at the tail, whatever they are, and wakes the server.
  void Commit(uint32_t commit, uint32_t length);
  void Wake();

 private:
  UniqueFd MakeOwn();
  bool MapPeer(int memory, uint32_t ring_bytes);

  UniqueFd socket_;
  ipcrpc::shm::Segment* own_ = nullptr;
  const ipcrpc::shm::Segment* peer_ = nullptr;
  size_t own_size_ = 0, peer_size_ = 0;
  uint64_t tail_ = 0;
  uint64_t head_ = 0;
  bool head_moved_ = false;  // since the peer was woken
};

// Sealed as it must be, unless `seals` says otherwise.
UniqueFd MakeMemfd(size_t size, int seals, void** mapping);
extern const int kAllSeals;

}  // namespace hostile

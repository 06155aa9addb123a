#include "tests/hostile/raw_peer.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <utility>

#include "transport/stream/framing.h"

namespace hostile {

using namespace ipcrpc::shm;

const int kAllSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

namespace {

constexpr uint32_t kRingBytes = kMinRingBytes;
constexpr size_t kSegmentBytes = (kRingOffset + kRingBytes + 4095) / 4096 * 4096;

int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

sockaddr_un Name(const std::string& path) {
  sockaddr_un name = {};
  name.sun_family = AF_UNIX;
  std::strncpy(name.sun_path, path.c_str(), sizeof(name.sun_path) - 1);
  return name;
}

// Bytes on a stream, framed.
class RawStreamClient final : public RawClient {
 public:
  explicit RawStreamClient(UniqueFd socket) : socket_(std::move(socket)) {
    std::string preamble(reinterpret_cast<const char*>(ipcrpc::stream::kMagic.data()), ipcrpc::stream::kMagic.size());
    preamble += std::string("\1\0\0\0", 4);
    Write(preamble, 2000);
  }

  bool Send(std::string_view frame, int patience_ms) override { return Write(Wire(frame), patience_ms); }

  bool SendFds(std::string_view frame, uint32_t, const std::vector<int>& fds) override {
    const std::string wire = Wire(frame);
    const std::string_view lead = std::string_view(wire).substr(0, 4);
    pollfd entry = {socket_.get(), POLLOUT, 0};
    while (!SendWithFds(socket_.get(), lead, fds)) {
      if (errno != EAGAIN || poll(&entry, 1, 2000) <= 0) return false;
    }
    return Write(std::string_view(wire).substr(4), 2000);
  }

  std::optional<std::string> Receive(int timeout_ms) override {
    const int64_t until = NowMs() + timeout_ms;
    for (;;) {
      const size_t start = preamble_read_ ? 0 : ipcrpc::stream::kPreambleBytes;
      if (in_.size() >= start + 4) {
        uint32_t size;
        std::memcpy(&size, in_.data() + start, sizeof(size));
        const size_t wire = ipcrpc::stream::WireBytes(size);
        if (in_.size() >= start + wire) {
          std::string frame = in_.substr(start + 4, size);
          in_.erase(0, start + wire);
          preamble_read_ = true;
          return frame;
        }
      }
      pollfd entry = {socket_.get(), POLLIN, 0};
      const int64_t left = until - NowMs();
      if (closed_ || left < 0 || poll(&entry, 1, static_cast<int>(left)) <= 0) return std::nullopt;
      char buffer[65536];
      const ssize_t got = recv(socket_.get(), buffer, sizeof(buffer), MSG_DONTWAIT);
      if (got > 0) {
        in_.append(buffer, static_cast<size_t>(got));
      } else if (got == 0 || errno != EAGAIN) {
        closed_ = true;
      }
    }
  }

  bool closed() override { return closed_; }

 private:
  static std::string Wire(std::string_view frame) {
    const auto size = static_cast<uint32_t>(frame.size());
    std::string wire(reinterpret_cast<const char*>(&size), sizeof(size));
    wire.append(frame);
    wire.resize(ipcrpc::stream::WireBytes(frame.size()));
    return wire;
  }

  bool Write(std::string_view bytes, int patience_ms) {
    while (!bytes.empty()) {
      const ssize_t sent = send(socket_.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent > 0) {
        bytes.remove_prefix(static_cast<size_t>(sent));
        continue;
      }
      if (errno != EAGAIN) return false;
      pollfd entry = {socket_.get(), POLLOUT, 0};
      if (poll(&entry, 1, patience_ms) <= 0) return false;
    }
    return true;
  }

  UniqueFd socket_;
  std::string in_;
  bool preamble_read_ = false;
  bool closed_ = false;
};

}  // namespace

std::string SocketPath(const std::string& address) {
  const size_t colon = address.find(':');
  return std::string(getenv("IPCRPC_RUNTIME_DIR")) + "/" + address.substr(colon + 1) +
         (address.substr(0, colon) == "shm" ? ".shm" : ".sock");
}

UniqueFd ConnectTo(const std::string& path, int type) {
  UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const sockaddr_un name = Name(path);
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0) return UniqueFd();
  return fd;
}

UniqueFd ListenFor(const std::string& address) {
  return ListenAt(SocketPath(address), address.starts_with("unix:") ? SOCK_STREAM : SOCK_SEQPACKET);
}

UniqueFd ListenAt(const std::string& path, int type) {
  UniqueFd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const sockaddr_un name = Name(path);
  unlink(path.c_str());
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof(name)) != 0 || listen(fd.get(), 16) != 0) return UniqueFd();
  return fd;
}

bool SendWithFds(int socket, std::string_view bytes, const std::vector<int>& fds) {
  iovec piece = {const_cast<char*>(bytes.data()), bytes.size()};
  std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (!fds.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    cmsghdr* part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
    std::memcpy(CMSG_DATA(part), fds.data(), fds.size() * sizeof(int));
  }
  return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

std::string Bytes(const void* data, size_t size) { return std::string(static_cast<const char*>(data), size); }

std::string FrameOf(const FrameHeader& header, std::string_view block, std::string_view message) {
  FrameHeader copy = header;
  if (copy.block_bytes == 0) copy.block_bytes = static_cast<uint32_t>(block.size());
  return Bytes(&copy, sizeof(copy)).append(block).append(message);
}

std::string EntryOf(int kind, std::string_view key, std::string_view value) {
  std::string entry(8, '\0');
  entry[0] = static_cast<char>(kind);
  const auto key_bytes = static_cast<uint16_t>(key.size());
  const auto value_bytes = static_cast<uint32_t>(value.size());
  std::memcpy(entry.data() + 2, &key_bytes, 2);
  std::memcpy(entry.data() + 4, &value_bytes, 4);
  return entry.append(key).append(value);
}

std::string Hello(uint64_t features) {
  const ipcrpc::rpc::HelloBody body = {.features = features, .pid = static_cast<uint32_t>(getpid())};
  return FrameOf({.type = FrameType::kHello}, {}, Bytes(&body, sizeof(body)));
}

std::string BeginTalk(uint32_t stream, uint32_t index) {
  return FrameOf({.type = FrameType::kBegin, .stream = stream, .number = index}, EntryOf(3, "", "/behaviour.Methods/Talk"));
}

std::unique_ptr<RawClient> RawClient::Connect(const std::string& address) {
  if (address.starts_with("unix:")) return std::make_unique<RawStreamClient>(ConnectTo(SocketPath(address), SOCK_STREAM));
  auto client = std::make_unique<RawShmClient>(address);
  client->Greet(kRingBytes);
  return client;
}

std::unique_ptr<RawClient> RawClient::Accept(const std::string& address, int listener) {
  pollfd entry = {listener, POLLIN, 0};
  if (poll(&entry, 1, 20'000) <= 0) return nullptr;
  UniqueFd socket(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
  if (address.starts_with("unix:")) return std::make_unique<RawStreamClient>(std::move(socket));
  auto server = std::make_unique<RawShmClient>(std::move(socket));
  if (!server->Welcome()) return nullptr;
  return server;
}

bool RawClient::WaitClosed(int timeout_ms) {
  const int64_t until = NowMs() + timeout_ms;
  while (!closed() && NowMs() < until) Receive(20);
  return closed();
}

std::optional<std::string> RawClient::ReceiveType(FrameType type, int timeout_ms) {
  const int64_t until = NowMs() + timeout_ms;
  while (NowMs() < until) {
    std::optional<std::string> frame = Receive(static_cast<int>(until - NowMs()));
    if (!frame.has_value()) return std::nullopt;
    if (static_cast<uint8_t>((*frame)[0]) == static_cast<uint8_t>(type)) return frame;
  }
  return std::nullopt;
}

UniqueFd MakeMemfd(size_t size, int seals, void** mapping) {
  UniqueFd fd(memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (ftruncate(fd.get(), static_cast<off_t>(size)) != 0) return UniqueFd();
  if (mapping != nullptr) *mapping = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (seals != 0) fcntl(fd.get(), F_ADD_SEALS, seals);
  return fd;
}

namespace {

// A message of the greeting, and the segment that came with it.
struct Greeting {
  std::string bytes;
  UniqueFd memory;
};

std::optional<Greeting> ReceiveGreeting(int socket) {
  char bytes[kMaxHandshakeBytes];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec piece = {bytes, sizeof(bytes)};
  msghdr message = {};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (got < static_cast<ssize_t>(sizeof(ipcrpc::shm::Welcome))) return std::nullopt;
  int fd = -1;
  if (const cmsghdr* part = CMSG_FIRSTHDR(&message)) std::memcpy(&fd, CMSG_DATA(part), sizeof(fd));
  return Greeting{Bytes(bytes, static_cast<size_t>(got)), UniqueFd(fd)};
}

}  // namespace

RawShmClient::RawShmClient(const std::string& address) : RawShmClient(ConnectTo(SocketPath(address), SOCK_SEQPACKET)) {}
RawShmClient::RawShmClient(UniqueFd socket) : socket_(std::move(socket)) {}

RawShmClient::~RawShmClient() {
  if (own_ != nullptr) munmap(own_, own_size_);
  if (peer_ != nullptr) munmap(const_cast<Segment*>(peer_), peer_size_);
}

UniqueFd RawShmClient::MakeOwn() {
  void* mapping = nullptr;
  UniqueFd memory = MakeMemfd(kSegmentBytes, 0, &mapping);
  own_ = new (mapping) Segment();
  own_size_ = kSegmentBytes;
  own_->magic = kSegmentMagic;
  own_->version = kLayoutVersion;
  own_->size = kSegmentBytes;
  fcntl(memory.get(), F_ADD_SEALS, kAllSeals);
  return memory;
}

bool RawShmClient::MapPeer(int memory, uint32_t ring_bytes) {
  peer_size_ = (kRingOffset + ring_bytes + 4095) / 4096 * 4096;
  void* mapping = mmap(nullptr, peer_size_, PROT_READ, MAP_SHARED, memory, 0);
  if (mapping == MAP_FAILED) return false;
  peer_ = static_cast<const Segment*>(mapping);
  return true;
}

bool RawShmClient::Greet(uint32_t max_ring_bytes) {
  const UniqueFd memory = MakeOwn();
  const ipcrpc::shm::Hello hello = {.magic = kHelloMagic, .version_min = kLowestVersion, .version_max = kLowestVersion, .features = 0,
                       .ring_bytes = kRingBytes, .max_ring_bytes = max_ring_bytes, .reserved = {}};
  return SendWithFds(socket_.get(), Bytes(&hello, sizeof(hello)), {memory.get()}) && ReadAnswer() == 0;
}

int RawShmClient::ReadAnswer() {
  pollfd entry = {socket_.get(), POLLIN, 0};
  if (poll(&entry, 1, 20'000) <= 0) return -2;
  const std::optional<Greeting> answer = ReceiveGreeting(socket_.get());
  if (!answer.has_value()) return -1;
  ipcrpc::shm::Welcome welcome;
  std::memcpy(&welcome, answer->bytes.data(), sizeof(welcome));
  if (welcome.refused != 0) return welcome.refused;
  return MapPeer(answer->memory.get(), welcome.ring_bytes) ? 0 : -3;
}

bool RawShmClient::Welcome() {
  const std::optional<Greeting> asked = ReceiveGreeting(socket_.get());
  if (!asked.has_value()) return false;
  ipcrpc::shm::Hello hello;
  std::memcpy(&hello, asked->bytes.data(), sizeof(hello));
  const UniqueFd memory = MakeOwn();
  const ipcrpc::shm::Welcome welcome = {.magic = kHelloMagic, .version = kLowestVersion, .refused = 0, .features = 0, .ring_bytes = kRingBytes,
                                  .max_ring_bytes = kRingBytes, .reserved = {}};
  return MapPeer(asked->memory.get(), hello.ring_bytes) && SendWithFds(socket_.get(), Bytes(&welcome, sizeof(welcome)), {memory.get()});
}

void RawShmClient::Wake() {
  own_->wake_sequence.fetch_add(1);
  syscall(SYS_futex, &own_->wake_sequence, FUTEX_WAKE, 1 << 30, nullptr, nullptr, 0);
  send(socket_.get(), "D", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void RawShmClient::Commit(uint32_t commit, uint32_t length) {
  auto* header = reinterpret_cast<RecordHeader*>(ring() + (tail_ & (kRingBytes - 1)));
  header->length.store(length);
  header->commit.store(commit);
  Wake();
}

bool RawShmClient::Send(std::string_view frame, int patience_ms) {
  const uint32_t record = RecordBytes(static_cast<uint32_t>(frame.size()));
  const int64_t until = NowMs() + patience_ms;
  const auto offset = [this] { return static_cast<uint32_t>(tail_ & (kRingBytes - 1)); };
  const uint32_t pad = record > kRingBytes - offset() ? kRingBytes - offset() : 0;
  while (tail_ + pad + record + kRecordAlign > peer_->head.load() + kRingBytes) {
    if (NowMs() > until || closed()) return false;
    usleep(100);
  }
  if (pad != 0) {
    reinterpret_cast<RecordHeader*>(ring())->commit.store(0);
    Commit(kCommitted | pad, kWrap);
    tail_ += pad;
  }
  const uint32_t at = offset();
  reinterpret_cast<RecordHeader*>(ring() + ((at + record) & (kRingBytes - 1)))->commit.store(0);
  std::memcpy(ring() + at + sizeof(RecordHeader), frame.data(), frame.size());
  Commit(kCommitted | record, static_cast<uint32_t>(frame.size()));
  tail_ += record;
  return !closed();
}

// No more of them wait than an honest sender allows itself: one.
bool RawShmClient::SendFds(std::string_view frame, uint32_t parcel, const std::vector<int>& fds) {
  for (const int64_t until = NowMs() + 20'000; peer_->head.load() < tail_; usleep(100)) {
    if (NowMs() > until || closed()) return false;
  }
  const ipcrpc::shm::FdNotice notice = {.type = 'F', .reserved = {}, .parcel = parcel};
  return SendWithFds(socket_.get(), Bytes(&notice, sizeof(notice)), fds) && Send(frame);
}

// As far as the server's ring has not been swapped: enough for what the tests ask.
std::optional<std::string> RawShmClient::Receive(int timeout_ms) {
  const int64_t until = NowMs() + timeout_ms;
  if (peer_ == nullptr) {  // never greeted: there is nothing but the end
    while (!closed() && NowMs() < until) usleep(200);
    return std::nullopt;
  }
  const uint32_t size = kMinRingBytes;
  const auto* peer_ring = reinterpret_cast<const std::byte*>(peer_) + kRingOffset;
  for (;;) {
    const auto* header = reinterpret_cast<const RecordHeader*>(peer_ring + (head_ & (size - 1)));
    const uint32_t commit = header->commit.load(std::memory_order_acquire);
    if (commit != 0) {
      const uint32_t length = header->length.load();
      std::optional<std::string> frame;
      if ((length & kRecordKindMask) == kFrame) frame = Bytes(header + 1, length & kLengthMask);
      head_ += commit & ~kCommitted;
      own_->head.store(head_);
      head_moved_ = true;
      if (frame.has_value()) return frame;
      continue;
    }
    if (closed() || NowMs() >= until) return std::nullopt;
    if (std::exchange(head_moved_, false)) Wake();  // who waits for space does not look by itself
    usleep(200);
  }
}

bool RawShmClient::closed() {
  pollfd entry = {socket_.get(), POLLRDHUP, 0};
  return poll(&entry, 1, 0) == 1 && (entry.revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0;
}

}  // namespace hostile

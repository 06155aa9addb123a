#include "transport/sysvmq/sysvmq_transport.h"

#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <utility>

#include "transport/base/fork_guard.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/rendezvous/place.h"
#include "transport/stream/framing.h"
#include "transport/rendezvous/queue_medium.h"
#include "transport/sysvmq/queue.h"

namespace ipcrpc {
namespace {

using rendezvous::Access;
using rendezvous::End;
using rendezvous::Token;
using sysvmq::Message;

constexpr Capabilities kCapabilities = {
    .max_frame_bytes = stream::kMaxFrameBytes, .credentials = true, .pollable = false, .detects_death = true};
constexpr size_t kDepth = 8;

// A queue lives until it is removed, so the names of a pair stay while it is used. They are keys that follow from the
// token, not IPC_PRIVATE: the file NAME~TOKEN tells a sweep of them before they are made.
struct PairKeys {
  key_t up, down;  // client to server, and back
};
PairKeys KeysOf(const Token& token) {
  PairKeys keys;
  std::memcpy(&keys.up, token.data(), sizeof keys.up);
  std::memcpy(&keys.down, token.data() + sizeof keys.up, sizeof keys.down);
  // IPC_PRIVATE is no name.
  if (keys.up == IPC_PRIVATE) keys.up = 1;
  if (keys.down == IPC_PRIVATE || keys.down == keys.up) keys.down = keys.up == 2 ? 3 : 2;
  return keys;
}

absl::Status QueueError(int error, const std::string& what) {
  const std::string why = Cat(what, ": ", strerror(error));
  switch (error) {
    case ENOSPC:
      return absl::ResourceExhaustedError(Cat(what, ": there are as many System V message queues as kernel.msgmni allows; raise it "
                                              "(sysctl), or have fewer clients"));
    case ENOMEM:
      return absl::ResourceExhaustedError(why);
    case ENOSYS:
      return absl::FailedPreconditionError(
          Cat(why, " (this kernel, or a filter of system calls, has no System V message queues; use unix: or fifo:)"));
    case EPERM:
    case EACCES:
      return absl::PermissionDeniedError(Cat(why, " (not allowed to use this queue; a filter of system calls may forbid them all)"));
    case ENOENT:
    case EIDRM:
      return absl::UnavailableError(Cat(what, ": there is no such queue (in this IPC namespace)"));
    case EEXIST:
      return absl::AlreadyExistsError(why);
    default:
      return absl::ErrnoToStatus(error, what);
  }
}

std::string KeyText(key_t key) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", static_cast<unsigned>(key));
  return text;
}

std::optional<key_t> ParseKey(std::string_view text) {
  if (!text.starts_with("0x")) return std::nullopt;
  const std::optional<uint32_t> number = ParseNumber<uint32_t>(text.substr(2), 16);
  if (!number) return std::nullopt;
  return static_cast<key_t>(*number);
}

absl::StatusOr<int> MakeQueue(key_t key, const Access& access) {
  const int queue = msgget(key, IPC_CREAT | IPC_EXCL | 0600);
  if (queue < 0) return QueueError(errno, Cat("cannot make the message queue with key ", KeyText(key)));
  msqid_ds info;
  bool ok = msgctl(queue, IPC_STAT, &info) == 0;
  if (ok) {
    if (access.owner) info.msg_perm.uid = *access.owner;
    if (access.group) info.msg_perm.gid = *access.group;
    info.msg_perm.mode = static_cast<unsigned short>(access.mode & 0666);
    ok = msgctl(queue, IPC_SET, &info) == 0;
  }
  if (ok) return queue;
  const int error = errno;
  sysvmq::Remove(queue);
  return QueueError(error, Cat("cannot give away the message queue with key ", KeyText(key)));
}

absl::StatusOr<int> OpenQueue(key_t key) {
  const int queue = msgget(key, 0);
  if (queue < 0) return QueueError(errno, Cat("cannot open the message queue with key ", KeyText(key)));
  return queue;
}

// Only one that was made by `owner`: a key is a small number, and may be in use for something else by now.
void RemoveQueueOf(uid_t owner, key_t key) {
  const int queue = msgget(key, 0);
  msqid_ds info;
  if (queue < 0 || msgctl(queue, IPC_STAT, &info) != 0) return;
  if (info.msg_perm.cuid == owner) sysvmq::Remove(queue);
}

// Messages of the stream, both ways.
//
// Nothing tells when a full queue has room again, so the other side does: one who finds it full leaves a kWantSpace (no
// bytes, so there is room for it), and the reader, when it comes to that, answers with kSpace on its own way out. Then
// write_fd(), an eventfd filled up so that it is not writable, is emptied.
class SysvmqMedium final : public rendezvous::QueueMedium {
 public:
  static constexpr int kNone = -1;

  // `file`: of a pair, removed by the last to leave.
  SysvmqMedium(int in, int out, std::string file)
      : QueueMedium(sysvmq::kMessageBytes, kDepth), in_(std::make_unique<sysvmq::Reader>(in)), out_(out), file_(std::move(file)),
        space_event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}
  // In a forked child the reader's thread, and whatever it held, is not there to be ended.
  ~SysvmqMedium() override {
    if (!fork_guard_.ours()) (void)in_.release();
  }

  ssize_t Write(const std::byte* from, size_t size) override {
    const size_t piece = std::min(size, sysvmq::kMessageBytes);
    if (sysvmq::Send(out_, sysvmq::kData, from, piece) == 0) return static_cast<ssize_t>(piece);
    // Tried even while an answer is due: a receiver that has to hold a frame does not get to it.
    if (errno != EAGAIN || in_->queue() == kNone || wants_space_.load(std::memory_order_acquire)) return -1;
    wants_space_.store(true, std::memory_order_release);
    eventfd_write(space_event_.get(), std::numeric_limits<uint64_t>::max() - 1);
    if (sysvmq::Send(out_, sysvmq::kWantSpace, nullptr, 0) != 0) {
      errno = EPIPE;  // somebody has filled it with more messages than it can have bytes
      return -1;
    }
    errno = EAGAIN;
    return -1;
  }
  int read_fd() const override { return in_->fd(); }
  int write_fd() const override { return space_event_.get(); }
  bool Arm() override { return in_->Arm(); }
  void Disarm() override { in_->Disarm(); }
  int in_queue() const { return in_->queue(); }

 private:
  ssize_t Receive(std::byte* to, size_t size) override {
    while (true) {
      Message message;
      const ssize_t got = in_->Receive(message);
      if (got < 0) return got;
      switch (message.type) {
        case sysvmq::kData: {
          const size_t bytes = std::min(static_cast<size_t>(got), size);
          std::memcpy(to, message.bytes, bytes);
          return static_cast<ssize_t>(bytes);
        }
        case sysvmq::kEnd:
          return 0;
        case sysvmq::kWantSpace:
          if (out_ != kNone) sysvmq::Send(out_, sysvmq::kSpace, nullptr, 0);
          break;
        case sysvmq::kSpace: {
          if (!wants_space_.load(std::memory_order_acquire)) break;
          // In this order: a writer that fails in between finds write_fd() writable, and comes again.
          eventfd_t ignored;
          eventfd_read(space_event_.get(), &ignored);
          wants_space_.store(false, std::memory_order_release);
          break;
        }
        default:
          break;
      }
    }
  }
  bool SendEnd() override { return sysvmq::Send(out_, sysvmq::kEnd, nullptr, 0) == 0; }

  // Each removes the queue that it read; the peer still reads the other one, unless it has left.
  void Dispose(bool last) override {
    sysvmq::Remove(in_->queue());
    if (!last) return;
    sysvmq::Remove(out_);
    rendezvous::RemovePairNames(nullptr, file_, {}, geteuid());
    unlink(file_.c_str());
  }

  const ForkGuard fork_guard_;
  std::unique_ptr<sysvmq::Reader> in_;
  const int out_;
  const std::string file_;
  const UniqueFd space_event_;
  std::atomic<bool> wants_space_{false};
};

class Sysvmq final : public rendezvous::Mechanism {
 public:
  rendezvous::Kind kind() const override { return rendezvous::Kind::kSysvmq; }
  std::string_view scheme() const override { return "sysvmq"; }
  const Capabilities& capabilities() const override { return kCapabilities; }

  std::string NewReference(std::string_view) const override { return KeyText(KeysOf(rendezvous::RandomToken()).up); }

  absl::StatusOr<std::unique_ptr<stream::Medium>> MakePlace(const std::string&, const std::string& reference,
                                                            const Access& access) const override {
    ASSIGN_OR_RETURN(const int queue, MakeQueue(*ParseKey(reference), access));
    return std::make_unique<SysvmqMedium>(queue, SysvmqMedium::kNone, "");
  }

  absl::StatusOr<std::unique_ptr<stream::Medium>> OpenPlace(const std::string& path,
                                                            const std::string& reference) const override {
    const std::optional<key_t> key = ParseKey(reference);
    if (!key) return absl::FailedPreconditionError(Cat(path, " does not name a message queue"));
    ASSIGN_OR_RETURN(const int queue, OpenQueue(*key));
    return std::make_unique<SysvmqMedium>(SysvmqMedium::kNone, queue, "");
  }

  void RemovePlace(const std::string&, const std::string& reference, uid_t owner) const override {
    if (const std::optional<key_t> key = ParseKey(reference)) RemoveQueueOf(owner, *key);
  }

  absl::StatusOr<End> MakePair(const std::string& stem, const Token& token, const Access& access) const override {
    const PairKeys keys = KeysOf(token);
    ASSIGN_OR_RETURN(const int up, MakeQueue(keys.up, access));
    const absl::StatusOr<int> down = MakeQueue(keys.down, access);
    if (!down.ok()) {
      sysvmq::Remove(up);
      return down.status();
    }
    return End{.medium = std::make_unique<SysvmqMedium>(up, *down, stem), .welcome = {}, .proof = {}};
  }

  absl::StatusOr<End> OpenPair(const std::string& stem, const Token& token, const rendezvous::Welcome&) const override {
    const PairKeys keys = KeysOf(token);
    ASSIGN_OR_RETURN(const int down, OpenQueue(keys.down));
    ASSIGN_OR_RETURN(const int up, OpenQueue(keys.up));
    return End{.medium = std::make_unique<SysvmqMedium>(down, up, stem), .welcome = {}, .proof = {}};
  }

  // The kernel keeps who sent last: for now that was the proof.
  bool IsHeldBy(const End& ours, const rendezvous::Proof&, pid_t pid) const override {
    msqid_ds info;
    return msgctl(static_cast<SysvmqMedium&>(*ours.medium).in_queue(), IPC_STAT, &info) == 0 && info.msg_lspid == pid;
  }

  void Watch(End& ours, std::unique_ptr<rendezvous::PeerWatch> watch) const override {
    static_cast<SysvmqMedium&>(*ours.medium).Watch(std::move(watch));
  }

  bool names_stay() const override { return true; }
  void RemovePair(const std::string&, const Token& token, uid_t owner) const override {
    const PairKeys keys = KeysOf(token);
    for (const uid_t creator : {geteuid(), owner}) {
      RemoveQueueOf(creator, keys.up);
      RemoveQueueOf(creator, keys.down);
    }
  }
};

}  // namespace

const rendezvous::Mechanism& SysvmqMechanism() {
  static const Sysvmq mechanism;
  return mechanism;
}

Scheme SysvmqScheme() {
  return {
      .name = "sysvmq",
      .summary = "System V message queues, a pair for each client",
      .capabilities = kCapabilities,
      .parameters = rendezvous::kParameters,
      .listen = [](const Address& address) { return rendezvous::ListenAt(SysvmqMechanism(), address); },
      .connect = [](const Address& address,
                    int64_t deadline_ns) { return rendezvous::ConnectTo(SysvmqMechanism(), address, deadline_ns); },
  };
}

}  // namespace ipcrpc

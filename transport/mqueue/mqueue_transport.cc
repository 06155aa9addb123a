#include "transport/mqueue/mqueue_transport.h"

#include <fcntl.h>
#include <mqueue.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <utility>

#include "transport/base/direct_io.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/rendezvous/place.h"
#include "transport/stream/framing.h"
#include "transport/rendezvous/queue_medium.h"
#include "transport/stream/descriptor.h"

namespace ipcrpc {
namespace {

using rendezvous::Access;
using rendezvous::End;
using rendezvous::Token;

constexpr Capabilities kCapabilities = {
    .max_frame_bytes = stream::kMaxFrameBytes, .credentials = true, .pollable = true, .detects_death = true};

// 32 clients of one uid, 64 queues and the well-known one, fit the default RLIMIT_MSGQUEUE of 819,200 bytes: a queue
// counts its messages, and the kernel's 96 bytes for each.
constexpr long kDepth = 8;
constexpr long kMessageBytes = 1024;
// What any system allows, and the room that a StreamLink has at least.
constexpr long kMessageBytesMax = 2048;
constexpr size_t kLongestName = 64;

constexpr std::string_view kUp = ".up";      // client to server
constexpr std::string_view kDown = ".down";  // server to client

// mqd_t is a file descriptor here.
static_assert(std::is_same_v<mqd_t, int>);

long SystemLimit(const char* file, long unknown) {
  std::ifstream in(Cat("/proc/sys/fs/mqueue/", file));
  long value = 0;
  return in >> value && value > 0 ? value : unknown;
}

mq_attr Geometry(long message_bytes) {
  mq_attr attributes = {};
  attributes.mq_maxmsg = std::min(kDepth, SystemLimit("msg_max", kDepth));
  attributes.mq_msgsize = std::min(message_bytes, SystemLimit("msgsize_max", message_bytes));
  return attributes;
}

absl::Status OpenError(int error, const std::string& what) {
  const std::string why = Cat(what, ": ", strerror(error));
  switch (error) {
    case EMFILE: {
      // The kernel says the same of two limits: see which one has room.
      if (!UniqueFd(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)).valid()) {
        return absl::ResourceExhaustedError(Cat(what, ": no file descriptor left (see ulimit -n)"));
      }
      rlimit limit = {};
      getrlimit(RLIMIT_MSGQUEUE, &limit);
      return absl::ResourceExhaustedError(Cat(what, ": the message queues of uid ", geteuid(),
                                              " would hold more than RLIMIT_MSGQUEUE, ", limit.rlim_cur,
                                              " bytes; raise it (ulimit -q, LimitMSGQUEUE= in a systemd unit), or have fewer clients"));
    }
    case ENFILE:
      return absl::ResourceExhaustedError(Cat(why, " (the system's limit of open files, fs.file-max)"));
    case ENOSPC:
      return absl::ResourceExhaustedError(Cat(what, ": there are as many message queues as fs.mqueue.queues_max allows, ",
                                              SystemLimit("queues_max", 0), "; raise it (sysctl), or have fewer clients"));
    case ENOMEM:
      return absl::ResourceExhaustedError(why);
    case ENOSYS:
      return absl::FailedPreconditionError(Cat(why, " (this kernel, or a filter of system calls, has no POSIX message queues; use unix: or fifo:)"));
    case EPERM:
    case EACCES:
      return absl::PermissionDeniedError(Cat(why, " (not allowed to make or open this queue; a filter of system calls may forbid them all)"));
    case ENOENT:
      return absl::UnavailableError(Cat(what, ": there is no such queue (in this IPC namespace)"));
    case EEXIST:
      return absl::AlreadyExistsError(why);
    default:
      return absl::ErrnoToStatus(error, what);
  }
}

absl::StatusOr<UniqueFd> MakeQueue(const std::string& name, int open_for, long message_bytes, const Access& access) {
  mq_attr attributes = Geometry(message_bytes);
  UniqueFd queue(mq_open(name.c_str(), open_for | O_CREAT | O_EXCL | O_NONBLOCK | O_CLOEXEC, 0600, &attributes));
  if (!queue.valid()) return OpenError(errno, Cat("cannot make the message queue ", name));
  const absl::Status granted = rendezvous::Grant(queue.get(), access, name);
  if (granted.ok()) return queue;
  mq_unlink(name.c_str());
  return granted;
}

absl::StatusOr<UniqueFd> OpenQueue(const std::string& name, int open_for) {
  UniqueFd queue(mq_open(name.c_str(), open_for | O_NONBLOCK | O_CLOEXEC));
  if (!queue.valid()) return OpenError(errno, Cat("cannot open the message queue ", name));
  return queue;
}

// Messages of the stream, one way or both.
class MqueueMedium final : public rendezvous::QueueMedium {
 public:
  MqueueMedium(UniqueFd in, UniqueFd out, const mq_attr& geometry)
      : QueueMedium(static_cast<size_t>(geometry.mq_msgsize), static_cast<size_t>(geometry.mq_maxmsg)),
        in_(std::move(in)), out_(std::move(out)) {}

  ssize_t Write(const std::byte* from, size_t size) override {
    const size_t piece = std::min(size, message_bytes_);
    while (true) {
      if (DirectSend(out_.get(), reinterpret_cast<const char*>(from), piece) == 0) return static_cast<ssize_t>(piece);
      if (errno != EINTR) return -1;
    }
  }
  int read_fd() const override { return in_.get(); }
  int write_fd() const override { return out_.get(); }

 private:
  ssize_t Receive(std::byte* to, size_t size) override {
    while (true) {
      const ssize_t got = DirectReceive(in_.get(), reinterpret_cast<char*>(to), size);
      if (got >= 0 || errno != EINTR) return got;
    }
  }
  bool SendEnd() override { return mq_send(out_.get(), "", 0, 0) == 0; }
  void Dispose(bool) override {
    for (const UniqueFd* fd : {&in_, &out_}) {
      if (fd->valid()) stream::KillDescriptor(fd->get());
    }
  }

  const UniqueFd in_;
  const UniqueFd out_;
};

// The names of a pair need no directory: the token is unique.
std::string PairName(const Token& token, std::string_view direction) {
  return Cat("/ipcrpc.", rendezvous::Hex(token), direction);
}

absl::StatusOr<mq_attr> GeometryOf(int queue) {
  mq_attr attributes = {};
  if (mq_getattr(queue, &attributes) != 0) return absl::ErrnoToStatus(errno, "cannot ask for a queue's geometry");
  if (attributes.mq_msgsize < 64 || attributes.mq_msgsize > kMessageBytesMax) {
    return absl::FailedPreconditionError(Cat("the server's queue has messages of ", attributes.mq_msgsize, " bytes; 64 to ",
                                             kMessageBytesMax, " are possible"));
  }
  return attributes;
}

class Mqueue final : public rendezvous::Mechanism {
 public:
  rendezvous::Kind kind() const override { return rendezvous::Kind::kMqueue; }
  std::string_view scheme() const override { return "mqueue"; }
  const Capabilities& capabilities() const override { return kCapabilities; }

  // Two runtime directories may have the same NAME, and there is only one space of queues.
  std::string NewReference(std::string_view name) const override {
    return Cat("/ipcrpc.", geteuid(), ".", name.substr(0, kLongestName), ".",
               rendezvous::Hex(rendezvous::RandomToken()).substr(0, 8));
  }

  absl::StatusOr<std::unique_ptr<stream::Medium>> MakePlace(const std::string&, const std::string& reference,
                                                            const Access& access) const override {
    ASSIGN_OR_RETURN(UniqueFd queue, MakeQueue(reference, O_RDONLY, sizeof(rendezvous::Ask), access));
    return std::make_unique<MqueueMedium>(std::move(queue), UniqueFd(), Geometry(sizeof(rendezvous::Ask)));
  }

  absl::StatusOr<std::unique_ptr<stream::Medium>> OpenPlace(const std::string&,
                                                            const std::string& reference) const override {
    ASSIGN_OR_RETURN(UniqueFd queue, OpenQueue(reference, O_WRONLY));
    return std::make_unique<MqueueMedium>(UniqueFd(), std::move(queue), Geometry(sizeof(rendezvous::Ask)));
  }

  void RemovePlace(const std::string&, const std::string& reference, uid_t owner) const override {
    if (reference.starts_with(Cat("/ipcrpc.", owner, "."))) mq_unlink(reference.c_str());
  }

  absl::StatusOr<End> MakePair(const std::string&, const Token& token, const Access& access) const override {
    absl::StatusOr<UniqueFd> up = MakeQueue(PairName(token, kUp), O_RDONLY, kMessageBytes, access);
    if (!up.ok()) return up.status();
    absl::StatusOr<UniqueFd> down = MakeQueue(PairName(token, kDown), O_WRONLY, kMessageBytes, access);
    if (!down.ok()) {
      mq_unlink(PairName(token, kUp).c_str());
      return down.status();
    }
    ASSIGN_OR_RETURN(const mq_attr geometry, GeometryOf(up->get()));
    End end;
    end.medium = std::make_unique<MqueueMedium>(*std::move(up), *std::move(down), geometry);
    return end;
  }

  absl::StatusOr<End> OpenPair(const std::string&, const Token& token, const rendezvous::Welcome&) const override {
    ASSIGN_OR_RETURN(UniqueFd down, OpenQueue(PairName(token, kDown), O_RDONLY));
    ASSIGN_OR_RETURN(UniqueFd up, OpenQueue(PairName(token, kUp), O_WRONLY));
    ASSIGN_OR_RETURN(const mq_attr geometry, GeometryOf(down.get()));
    End end;
    end.proof.fd = up.get();
    end.medium = std::make_unique<MqueueMedium>(std::move(down), std::move(up), geometry);
    return end;
  }

  bool IsHeldBy(const End& ours, const rendezvous::Proof& proof, pid_t pid) const override {
    return rendezvous::HasOpen(pid, proof.fd, ours.medium->read_fd());
  }

  void Watch(End& ours, std::unique_ptr<rendezvous::PeerWatch> watch) const override {
    static_cast<MqueueMedium&>(*ours.medium).Watch(std::move(watch));
  }

  void RemovePair(const std::string&, const Token& token, uid_t) const override {
    mq_unlink(PairName(token, kUp).c_str());
    mq_unlink(PairName(token, kDown).c_str());
  }
};

}  // namespace

const rendezvous::Mechanism& MqueueMechanism() {
  static const Mqueue mechanism;
  return mechanism;
}

Scheme MqueueScheme() {
  return {
      .name = "mqueue",
      .summary = "POSIX message queues, a pair for each client",
      .capabilities = kCapabilities,
      .parameters = rendezvous::kParameters,
      .automatic = true,
      .listen = [](const Address& address) { return rendezvous::ListenAt(MqueueMechanism(), address); },
      .connect = [](const Address& address,
                    int64_t deadline_ns) { return rendezvous::ConnectTo(MqueueMechanism(), address, deadline_ns); },
  };
}

}  // namespace ipcrpc

#include "transport/fifo/fifo_transport.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/rendezvous/place.h"
#include "transport/stream/framing.h"
#include "transport/stream/descriptor.h"

namespace ipcrpc {
namespace {

using rendezvous::Access;
using rendezvous::End;
using stream::DescriptorMedium;
using stream::StreamDescriptor;

constexpr Capabilities kCapabilities = {
    .max_frame_bytes = stream::kMaxFrameBytes, .credentials = true, .pollable = true, .detects_death = true};

// Of a pair, beside its file.
constexpr std::string_view kUp = ".up";      // client to server
constexpr std::string_view kDown = ".down";  // server to client

// Never blocks, whoever else has it open or has not: for writing it is opened O_RDWR, too, which needs no reader.
absl::StatusOr<StreamDescriptor> OpenFifo(const std::string& path, int access,
                                          StreamDescriptor::Use use = StreamDescriptor::Use::kOwn) {
  UniqueFd fd(open(path.c_str(), access | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY));
  struct stat info;
  if (!fd.valid() || fstat(fd.get(), &info) != 0) return absl::ErrnoToStatus(errno, Cat("cannot open ", path));
  if (!S_ISFIFO(info.st_mode)) return absl::PermissionDeniedError(Cat(path, " is not a FIFO; somebody put it there"));
  // Nobody asks when it was last read, and to note that with each read is seen in the time of a call. Only the owner may have
  // it left out; who is another user reads on with it.
  fcntl(fd.get(), F_SETFL, O_NONBLOCK | O_NOATIME);
  return StreamDescriptor(std::move(fd), use);
}

absl::StatusOr<StreamDescriptor> MakeFifo(const std::string& path, int open_for, const Access& access,
                                          StreamDescriptor::Use use = StreamDescriptor::Use::kOwn) {
  if (mkfifo(path.c_str(), 0600) != 0) {
    const std::string what = Cat("cannot make the FIFO ", path, ": ", strerror(errno));
    if (errno == EEXIST) return absl::AlreadyExistsError(what);
    if (errno == EACCES || errno == EPERM || errno == EROFS) return absl::PermissionDeniedError(what);
    if (errno == ENOSPC || errno == EDQUOT) return absl::ResourceExhaustedError(what);
    return absl::ErrnoToStatus(errno, what);
  }
  absl::StatusOr<StreamDescriptor> made = OpenFifo(path, open_for, use);
  absl::Status status = made.status();
  if (made.ok()) status = rendezvous::Grant(made->fd(), access, path);
  if (status.ok()) return made;
  unlink(path.c_str());
  return status;
}

void RemoveFifo(const std::string& path) {
  struct stat info;
  if (lstat(path.c_str(), &info) == 0 && S_ISFIFO(info.st_mode)) unlink(path.c_str());
}

class Fifo final : public rendezvous::Mechanism {
 public:
  rendezvous::Kind kind() const override { return rendezvous::Kind::kFifo; }
  std::string_view scheme() const override { return "fifo"; }
  const Capabilities& capabilities() const override { return kCapabilities; }

  std::string NewReference(std::string_view) const override { return ""; }

  absl::StatusOr<std::unique_ptr<stream::Medium>> MakePlace(const std::string& path, const std::string&,
                                                            const Access& access) const override {
    ASSIGN_OR_RETURN(StreamDescriptor fifo, MakeFifo(path, O_RDWR, access));
    return std::make_unique<DescriptorMedium>(std::move(fifo), StreamDescriptor());
  }

  // Without O_RDWR, which would need the right to read: it fails when nobody reads there.
  absl::StatusOr<std::unique_ptr<stream::Medium>> OpenPlace(const std::string& path,
                                                            const std::string&) const override {
    absl::StatusOr<StreamDescriptor> fifo = OpenFifo(path, O_WRONLY);
    if (fifo.ok()) return std::make_unique<DescriptorMedium>(StreamDescriptor(), *std::move(fifo));
    if (errno == ENXIO) return absl::UnavailableError(Cat(path, ": nobody listens there (its server is gone)"));
    if (errno == ENOENT) return absl::UnavailableError(Cat(path, " does not exist"));
    return fifo.status();
  }

  void RemovePlace(const std::string& path, const std::string&, uid_t) const override { RemoveFifo(path); }

  absl::StatusOr<End> MakePair(const std::string& stem, const rendezvous::Token&, const Access& access) const override {
    absl::StatusOr<StreamDescriptor> up = MakeFifo(Cat(stem, kUp), O_RDONLY, access);
    if (!up.ok()) return up.status();
    absl::StatusOr<StreamDescriptor> down = MakeFifo(Cat(stem, kDown), O_RDWR, access, StreamDescriptor::Use::kOwnWrite);
    if (!down.ok()) {
      RemoveFifo(Cat(stem, kUp));
      return down.status();
    }
    return End{.medium = std::make_unique<DescriptorMedium>(*std::move(up), *std::move(down)), .welcome = {}, .proof = {}};
  }

  absl::StatusOr<End> OpenPair(const std::string& stem, const rendezvous::Token&,
                               const rendezvous::Welcome&) const override {
    ASSIGN_OR_RETURN(StreamDescriptor down, OpenFifo(Cat(stem, kDown), O_RDONLY));
    ASSIGN_OR_RETURN(StreamDescriptor up, OpenFifo(Cat(stem, kUp), O_RDWR, StreamDescriptor::Use::kOwnWrite));
    End end;
    end.proof.fd = up.fd();
    end.medium = std::make_unique<DescriptorMedium>(std::move(down), std::move(up));
    return end;
  }

  bool IsHeldBy(const End& ours, const rendezvous::Proof& proof, pid_t pid) const override {
    return rendezvous::HasOpen(pid, proof.fd, ours.medium->read_fd());
  }

  bool wants_watch() const override { return false; }
  void Watch(End&, std::unique_ptr<rendezvous::PeerWatch>) const override {}

  void RemovePair(const std::string& stem, const rendezvous::Token&, uid_t) const override {
    RemoveFifo(Cat(stem, kUp));
    RemoveFifo(Cat(stem, kDown));
  }
};

}  // namespace

const rendezvous::Mechanism& FifoMechanism() {
  static const Fifo mechanism;
  return mechanism;
}

Scheme FifoScheme() {
  return {
      .name = "fifo",
      .summary = "byte stream over a pair of named pipes",
      .capabilities = kCapabilities,
      .parameters = rendezvous::kParameters,
      .automatic = true,
      .listen = [](const Address& address) { return rendezvous::ListenAt(FifoMechanism(), address); },
      .connect = [](const Address& address,
                    int64_t deadline_ns) { return rendezvous::ConnectTo(FifoMechanism(), address, deadline_ns); },
  };
}

}  // namespace ipcrpc

#include "bench/handshake.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "transport/base/scm_rights.h"

namespace ipcrpc::bench {
namespace {

constexpr size_t kMessageBytes = 71;

// What goes to and fro on a connection is for those who derive to say.
class Handshake : public Workload {
 public:
  Handshake(const std::string& path, int type) : type_(type) {
    address_.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address_.sun_path)) Fail("the path of a socket is too long: " + path);
    std::memcpy(address_.sun_path, path.c_str(), path.size() + 1);
  }

  void Serve(const ReadySignal& ready, const SharedMemory&) final {
    const int listener = Socket();
    unlink(address_.sun_path);  // the last run's
    if (bind(listener, Address(), sizeof(address_)) != 0 || listen(listener, 64) != 0) Fail("cannot listen");
    ready.Tell();
    for (;;) {
      const int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) Fail("cannot accept");
      Answer(connection);
      close(connection);
    }
  }

  void Drive(const SharedMemory& sample) final {
    Measure(*sample.As<Sample>(), [this] {
      const int connection = Socket();
      if (connect(connection, Address(), sizeof(address_)) != 0) Fail("cannot connect");
      Ask(connection);
      close(connection);
    });
  }

 private:
  virtual void Ask(int connection) = 0;
  // The client may have gone: that it is done.
  virtual void Answer(int connection) = 0;

  int Socket() const {
    const int fd = socket(AF_UNIX, type_ | SOCK_CLOEXEC, 0);
    if (fd < 0) Fail("no socket");
    return fd;
  }
  const sockaddr* Address() const { return reinterpret_cast<const sockaddr*>(&address_); }

  const int type_;
  sockaddr_un address_ = {};
};

class Bare final : public Handshake {
 public:
  explicit Bare(const std::string& path) : Handshake(path, SOCK_STREAM) {}

 private:
  void Ask(int connection) override {
    char message[kMessageBytes] = {};
    Send(connection, message);
    if (!Receive(connection, message)) Fail("no answer");
  }
  void Answer(int connection) override {
    char message[kMessageBytes];
    if (Receive(connection, message)) Send(connection, message);
  }

  static void Send(int fd, const char* message) {
    if (send(fd, message, kMessageBytes, MSG_NOSIGNAL) != static_cast<ssize_t>(kMessageBytes)) Fail("cannot send");
  }
  static bool Receive(int fd, char* message) {
    return recv(fd, message, kMessageBytes, MSG_WAITALL) == static_cast<ssize_t>(kMessageBytes);
  }
};

class WithMemory final : public Handshake {
 public:
  WithMemory(const std::string& path, size_t bytes) : Handshake(path, SOCK_SEQPACKET), bytes_(bytes) {}

 private:
  static constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | F_SEAL_FUTURE_WRITE;

  void Ask(int connection) override {
    char* const own = Give(connection);
    char* const other = Take(connection);
    if (other == nullptr) Fail("no answer");
    Unmap(own);
    Unmap(other);
  }
  // The client goes once it has the server's memory; a server that waits for that would have a wake more, which a connection
  // that is used has, too.
  void Answer(int connection) override {
    char* const other = Take(connection);
    if (other == nullptr) return;
    char* const own = Give(connection);
    Unmap(other);
    Unmap(own);
  }

  char* Give(int connection) const {
    const int fd = memfd_create("bench", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0 || ftruncate(fd, static_cast<off_t>(bytes_)) != 0) Fail("no memfd");
    char* const at = Map(fd, PROT_READ | PROT_WRITE);
    at[0] = 'x';
    if (fcntl(fd, F_ADD_SEALS, kSeals) != 0) Fail("cannot seal");
    char message[kMessageBytes] = {};
    iovec piece = {.iov_base = message, .iov_len = sizeof(message)};
    if (SendWithFds(connection, {&piece, 1}, {&fd, 1}) != static_cast<ssize_t>(sizeof(message))) Fail("cannot send");
    close(fd);
    return at;
  }
  // Null: nothing comes any more.
  char* Take(int connection) const {
    pollfd entry = {.fd = connection, .events = POLLIN, .revents = 0};
    if (poll(&entry, 1, -1) != 1) Fail("poll");
    char message[kMessageBytes];
    iovec piece = {.iov_base = message, .iov_len = sizeof(message)};
    ArrivedFds came;
    if (ReceiveWithFds(connection, {&piece, 1}, &came) != static_cast<ssize_t>(sizeof(message)) || came.fds.size() != 1) return nullptr;
    const int fd = came.fds[0].get();
    struct stat info;
    if ((fcntl(fd, F_GET_SEALS) & kSeals) != kSeals || fstat(fd, &info) != 0 || info.st_size != static_cast<off_t>(bytes_)) {
      Fail("not the memory that is due");
    }
    char* const at = Map(fd, PROT_READ);
    if (*static_cast<volatile const char*>(at) != 'x') Fail("not what was written");
    return at;
  }
  char* Map(int fd, int protection) const {
    void* const at = mmap(nullptr, bytes_, protection, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) Fail("cannot map");
    return static_cast<char*>(at);
  }
  void Unmap(char* at) const { munmap(at, bytes_); }

  const size_t bytes_;
};

}  // namespace

std::unique_ptr<Workload> BareHandshake(const std::string& socket_path) { return std::make_unique<Bare>(socket_path); }

std::unique_ptr<Workload> MemoryHandshake(const std::string& socket_path, size_t segment_bytes) {
  return std::make_unique<WithMemory>(socket_path, segment_bytes);
}

}  // namespace ipcrpc::bench

#include "bench/handshake.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

namespace ipcrpc::bench {
namespace {

constexpr size_t kMessageBytes = 71;

class Handshake final : public Workload {
 public:
  explicit Handshake(const std::string& path) {
    address_.sun_family = AF_UNIX;
    if (path.size() >= sizeof(address_.sun_path)) Fail("the path of a socket is too long: " + path);
    std::memcpy(address_.sun_path, path.c_str(), path.size() + 1);
  }

  void Serve(const ReadySignal& ready, const SharedMemory&) override {
    const int listener = Socket();
    unlink(address_.sun_path);  // the last run's
    if (bind(listener, Address(), sizeof(address_)) != 0 || listen(listener, 64) != 0) Fail("cannot listen");
    ready.Tell();
    char message[kMessageBytes];
    for (;;) {
      const int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
      if (connection < 0) Fail("cannot accept");
      if (Receive(connection, message)) Send(connection, message);
      close(connection);
    }
  }

  void Drive(const SharedMemory& sample) override {
    Measure(*sample.As<Sample>(), [this] {
      char message[kMessageBytes] = {};
      const int connection = Socket();
      if (connect(connection, Address(), sizeof(address_)) != 0) Fail("cannot connect");
      Send(connection, message);
      if (!Receive(connection, message)) Fail("no answer");
      close(connection);
    });
  }

 private:
  static int Socket() {
    const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) Fail("no socket");
    return fd;
  }
  const sockaddr* Address() const { return reinterpret_cast<const sockaddr*>(&address_); }
  static void Send(int fd, const char* message) {
    if (send(fd, message, kMessageBytes, MSG_NOSIGNAL) != static_cast<ssize_t>(kMessageBytes)) Fail("cannot send");
  }
  static bool Receive(int fd, char* message) {
    return recv(fd, message, kMessageBytes, MSG_WAITALL) == static_cast<ssize_t>(kMessageBytes);
  }

  sockaddr_un address_ = {};
};

}  // namespace

std::unique_ptr<Workload> BareHandshake(const std::string& socket_path) { return std::make_unique<Handshake>(socket_path); }

}  // namespace ipcrpc::bench

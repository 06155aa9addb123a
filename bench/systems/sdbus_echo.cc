// The echo by D-Bus without a broker: sd-bus over a Unix socket, the server's event loop for all connections.
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <systemd/sd-event.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#include "bench/systems/echo_system.h"

namespace ipcrpc::bench {
namespace {

constexpr char kPath[] = "/echo";
constexpr char kInterface[] = "ipcrpc.bench.Echo";
constexpr char kMethod[] = "Unary";

int Checked(int result, const char* what) {
  if (result < 0) Fail(std::string(what) + ": " + strerror(-result));
  return result;
}

sockaddr_un AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) Fail("the path of a socket is too long: " + path);
  memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

int Unary(sd_bus_message* request, void*, sd_bus_error*) {
  uint64_t id = 0;
  const void* payload = nullptr;
  size_t bytes = 0;
  Checked(sd_bus_message_read(request, "t", &id), "reading the id");
  Checked(sd_bus_message_read_array(request, 'y', &payload, &bytes), "reading the payload");
  sd_bus_message* response = nullptr;
  Checked(sd_bus_message_new_method_return(request, &response), "making an answer");
  Checked(sd_bus_message_append(response, "t", id), "writing the id");
  Checked(sd_bus_message_append_array(response, 'y', payload, bytes), "writing the payload");
  const int sent = sd_bus_send(nullptr, response, nullptr);
  sd_bus_message_unref(response);
  return sent;
}

constexpr sd_bus_vtable kTable[] = {
    SD_BUS_VTABLE_START(0), SD_BUS_METHOD(kMethod, "tay", "tay", Unary, SD_BUS_VTABLE_UNPRIVILEGED), SD_BUS_VTABLE_END};

// Its connection ended: the event loop forgets it.
int Disconnected(sd_bus_message* message, void*, sd_bus_error*) {
  sd_bus* bus = sd_bus_message_get_bus(message);
  sd_bus_detach_event(bus);
  sd_bus_close_unref(sd_bus_ref(bus));
  sd_bus_unref(bus);
  return 1;
}

int Accept(sd_event_source* source, int listener, uint32_t, void*) {
  const int connection = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (connection < 0) Fail("cannot accept");
  sd_bus* bus = nullptr;
  sd_id128_t id;
  sd_id128_randomize(&id);
  Checked(sd_bus_new(&bus), "a bus");
  Checked(sd_bus_set_fd(bus, connection, connection), "its socket");
  Checked(sd_bus_set_server(bus, 1, id), "serving");
  Checked(sd_bus_set_anonymous(bus, 1), "serving");
  Checked(sd_bus_set_trusted(bus, 1), "serving");
  Checked(sd_bus_start(bus), "starting");
  Checked(sd_bus_add_object_vtable(bus, nullptr, kPath, kInterface, kTable, nullptr), "the object");
  Checked(sd_bus_match_signal(bus, nullptr, "org.freedesktop.DBus.Local", nullptr, "org.freedesktop.DBus.Local", "Disconnected", Disconnected, nullptr),
          "watching its end");
  return Checked(sd_bus_attach_event(bus, sd_event_source_get_event(source), SD_EVENT_PRIORITY_NORMAL), "the event loop");
}

class SdbusConnection final : public Connection {
 public:
  SdbusConnection(const std::string& path, size_t bytes) : payload_(Payload(bytes)) {
    Checked(sd_bus_new(&bus_), "a bus");
    Checked(sd_bus_set_address(bus_, ("unix:path=" + path).c_str()), "its address");
    Checked(sd_bus_set_bus_client(bus_, 0), "no broker");
    Checked(sd_bus_start(bus_), "connecting");
  }
  ~SdbusConnection() override { sd_bus_flush_close_unref(bus_); }

  void Echo(uint64_t id) override {
    sd_bus_message *request = nullptr, *response = nullptr;
    Checked(sd_bus_message_new_method_call(bus_, &request, nullptr, kPath, kInterface, kMethod), "making a call");
    Checked(sd_bus_message_append(request, "t", id), "writing the id");
    Checked(sd_bus_message_append_array(request, 'y', payload_.data(), payload_.size()), "writing the payload");
    Checked(sd_bus_call(bus_, request, 0, nullptr, &response), "calling");
    uint64_t answered = 0;
    const void* payload = nullptr;
    size_t bytes = 0;
    Checked(sd_bus_message_read(response, "t", &answered), "reading the id");
    Checked(sd_bus_message_read_array(response, 'y', &payload, &bytes), "reading the payload");
    CheckAnswer(answered, id, {static_cast<const char*>(payload), bytes}, payload_.size());
    sd_bus_message_unref(request);
    sd_bus_message_unref(response);
  }

 private:
  sd_bus* bus_ = nullptr;
  const std::string payload_;
};

class SdbusSystem final : public EchoSystem {
 public:
  void Serve(const std::string& path, const ReadySignal& ready) override {
    const int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const sockaddr_un address = AddressOf(path);
    if (bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0 || listen(listener, 128) != 0) {
      Fail("cannot listen on " + path);
    }
    sd_event* loop = nullptr;
    Checked(sd_event_new(&loop), "an event loop");
    Checked(sd_event_add_io(loop, nullptr, listener, POLLIN, Accept, nullptr), "listening");
    ready.Tell();
    Checked(sd_event_loop(loop), "the event loop");
  }
  std::unique_ptr<Connection> Connect(const std::string& path, size_t bytes) override {
    return std::make_unique<SdbusConnection>(path, bytes);
  }
};

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) {
  using namespace ipcrpc::bench;
  return EchoMain(argc, argv, [](std::string_view) { return std::make_unique<SdbusSystem>(); });
}

// Sockets that the service manager keeps: those of a socket unit, and those of the daemon itself while it is
// restarted.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <thread>
#include <vector>

#include "ipcrpc/ipcrpc.h"
#include "services/daemon/manager_for_test.h"

namespace ipcrpc::hosting {
namespace {

using testing::HasSubstr;
using testing::Optional;

sockaddr_un NameOf(const std::string& path) {
  sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(name.sun_path, path.c_str(), sizeof name.sun_path - 1);
  return name;
}

// 0 or errno.
int Connect(const std::string& path, int type) {
  const UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  const sockaddr_un name = NameOf(path);
  return connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0 ? 0 : errno;
}

bool Exists(const std::string& path) {
  struct stat info;
  return lstat(path.c_str(), &info) == 0;
}

class ActivationTest : public testing::Test {
 protected:
  UniqueFd Bind(const std::string& file, int type) {
    UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    const sockaddr_un name = NameOf(manager_.Path(file));
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
    EXPECT_EQ(listen(fd.get(), 128), 0);
    return fd;
  }
  static Manager::Options With(std::vector<Manager::Socket> sockets) {
    return {.environment = {}, .sockets = std::move(sockets), .journal = false};
  }

  Manager manager_;
};

TEST_F(ActivationTest, ServesAtTheSocketsOfAUnit) {
  const UniqueFd stream = Bind("sensor.sock", SOCK_STREAM);
  const UniqueFd packets = Bind("sensor.shm", SOCK_SEQPACKET);
  // Who comes before the daemon waits for it.
  const auto early = CreateChannel("unix:sensor");
  OpenCall call(early, "/test/Echo", "early");
  for (int run = 0; run < 2; ++run) {
    auto daemon =
        manager_.Start({"shm:sensor", "unix:sensor", "unix:more"},
                       With({{"ipcrpc-sensor.socket", stream.get()}, {"sensor.socket", packets.get()}}));
    manager_.Await("READY");
    if (run == 0) {
      EXPECT_EQ(call.End().text, "early");
    }
    for (const std::string address : {"unix:sensor", "shm:sensor", "unix:more"}) {
      EXPECT_EQ(CallBytes(address, "/test/Echo", address).text, address);
    }
    daemon->Signal(SIGTERM);
    EXPECT_THAT(daemon->Wait(), Optional(0));
    EXPECT_TRUE(Exists(manager_.Path("sensor.sock")));
    EXPECT_TRUE(Exists(manager_.Path("sensor.shm")));
    EXPECT_FALSE(Exists(manager_.Path("more.sock"))) << "its own is removed";
  }
}

TEST_F(ActivationTest, RefusesASocketOfNoAddress) {
  const UniqueFd stream = Bind("sensor.sock", SOCK_STREAM);
  const UniqueFd other = Bind("other.sock", SOCK_STREAM);
  auto daemon = manager_.Start({"unix:sensor"}, With({{"a", stream.get()}, {"b", other.get()}}));
  EXPECT_EQ(manager_.Await("STATUS").at("STATUS"),
            "cannot start: sockets were passed that listen at none of the addresses: " +
                manager_.Path("other.sock"));
  EXPECT_THAT(daemon->Wait(), Optional(1));
}

TEST_F(ActivationTest, HasItsSocketsKeptAndUsesThemAgain) {
  auto daemon = manager_.Start(
      {"unix:sensor?mode=0600", "shm:sensor", "unix:@ipcrpc-kept-" + std::to_string(getpid()), "--keep"});
  std::vector<std::string> names;
  std::vector<UniqueFd> kept;
  std::vector<Manager::Socket> sockets;
  for (int i = 0; i < 4; ++i) {
    Notification stored = manager_.Await("FDSTORE");
    ASSERT_EQ(stored.fds.size(), 1u);
    kept.push_back(std::move(stored.fds[0]));
    names.push_back(stored.at("FDNAME"));
    sockets.push_back({names.back(), kept.back().get()});
  }
  EXPECT_THAT(names, testing::ElementsAre("kept/unix/testd", "kept/unix/sensor", "kept/shm/sensor",
                                          "kept/unix/@ipcrpc-kept-" + std::to_string(getpid())));
  manager_.Await("READY");

  // Some address is gone, another has come, and the file of a third was removed.
  daemon->Signal(SIGTERM);
  EXPECT_THAT(daemon->Wait(), Optional(0));
  ASSERT_EQ(unlink(manager_.Path("sensor.shm").c_str()), 0);
  daemon = manager_.Start({"unix:sensor", "unix:new", "shm:sensor", "--keep"}, With(sockets));
  for (const std::string& name : {names[2], names[3]})
    EXPECT_EQ(manager_.Await("FDSTOREREMOVE").at("FDNAME"), name);
  for (const std::string name : {"kept/unix/new", "kept/shm/sensor"})
    EXPECT_EQ(manager_.Await("FDSTORE").at("FDNAME"), name);
  manager_.Await("READY");
  for (const std::string address : {"unix:sensor", "shm:sensor", "unix:new"})
    EXPECT_EQ(HealthAt(address), "SERVING");
}

TEST_F(ActivationTest, NobodyIsRefusedWhileItIsRestarted) {
  const std::vector<std::string> arguments = {"unix:sensor", "shm:sensor", "--keep", "--many"};
  auto daemon = manager_.Start(arguments);
  std::vector<UniqueFd> kept;
  std::vector<Manager::Socket> sockets;
  for (int i = 0; i < 2; ++i) {
    Notification stored = manager_.Await("FDSTORE");
    ASSERT_EQ(stored.fds.size(), 1u);
    kept.push_back(std::move(stored.fds[0]));
    sockets.push_back({stored.at("FDNAME"), kept.back().get()});
  }
  manager_.Await("READY");

  std::atomic<bool> over{false};
  std::atomic<int> connects{0};
  std::vector<std::string> refusals;
  std::thread client([&] {
    while (!over) {
      for (const auto& [file, type] :
           {std::pair("sensor.sock", SOCK_STREAM), std::pair("sensor.shm", SOCK_SEQPACKET)}) {
        if (const int error = Connect(manager_.Path(file), type); error != 0)
          refusals.push_back(std::string(file) + ": " + strerror(error));
        ++connects;
      }
      // The backlog is bounded, and while there is no daemon nobody empties it.
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  });
  for (int run = 0; run < 6; ++run) {
    const int signal = run % 2 == 0 ? SIGTERM : SIGKILL;
    daemon->Signal(signal);
    ASSERT_THAT(daemon->Wait(), Optional(signal == SIGTERM ? 0 : -SIGKILL));
    const int before = connects;
    while (connects < before + 4) std::this_thread::yield();  // with nobody there
    daemon = manager_.Start(arguments, With(sockets));
    manager_.Await("READY");
    for (const std::string address : {"unix:sensor", "shm:sensor"})
      EXPECT_EQ(CallBytes(address, "/test/Echo", "1").text, "1");
  }
  over = true;
  client.join();
  EXPECT_THAT(refusals, testing::IsEmpty());
}

TEST_F(ActivationTest, AnAddressIsKeptOrHandedOver) {
  auto both = manager_.Start({"unix:sensor", "--keep", "--take-over"});
  EXPECT_THAT(manager_.Await("STATUS").at("STATUS"), HasSubstr("exclude each other"));
  EXPECT_THAT(both->Wait(), Optional(1));

  const UniqueFd stream = Bind("sensor.sock", SOCK_STREAM);
  auto first = manager_.Start({"unix:sensor", "--take-over"}, With({{"sensor.socket", stream.get()}}));
  manager_.Await("READY");
  auto second = manager_.Start({"unix:sensor", "--take-over"});
  EXPECT_THAT(manager_.Await("STATUS").at("STATUS"), HasSubstr("it cannot be taken over"));
  EXPECT_THAT(second->Wait(), Optional(1));
  // Nor is the socket served by two.
  auto third =
      manager_.Start({"unix:sensor", "--take-over", "--many"}, With({{"sensor.socket", stream.get()}}));
  EXPECT_THAT(manager_.Await("STATUS").at("STATUS"), HasSubstr("pid " + std::to_string(first->pid())));
  EXPECT_THAT(third->Wait(), Optional(1));
  EXPECT_EQ(HealthAt("unix:sensor"), "SERVING");
}

TEST_F(ActivationTest, IsStartedBySystemdSocketActivate) {
  constexpr char kActivator[] = "/usr/bin/systemd-socket-activate";
  ASSERT_EQ(access(kActivator, X_OK), 0) << "needs systemd's programs";
  const std::string socket = manager_.Path("sensor.sock");
  auto activator = manager_.StartProgram({kActivator, "--listen=" + socket, "--fdname=sensor.socket",
                                          "--setenv=IPCRPC_RUNTIME_DIR", "--setenv=NOTIFY_SOCKET",
                                          IPCRPC_DAEMON_PROGRAM, "unix:sensor"});
  ASSERT_TRUE(activator->Says("Listening on " + socket));
  EXPECT_EQ(CallBytes("unix:sensor", "/test/Echo", "activated").text, "activated");
  EXPECT_EQ(manager_.Await("READY").at("MAINPID"), std::to_string(activator->pid()));
  activator->Signal(SIGTERM);
  EXPECT_THAT(activator->Wait(), Optional(0));
}

}  // namespace
}  // namespace ipcrpc::hosting

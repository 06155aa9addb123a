// netlink:, where anybody may send to any port.
#include <linux/netlink.h>
#include <sched.h>
#include <sys/socket.h>

#include <cstring>
#include <limits>

#include "transport/netlink/netlink_transport.h"
#include "transport/netlink/socket.h"
#include "transport/stream/framing.h"
#include "transport/testing/rendezvous_kit.h"

namespace ipcrpc::rendezvous {
namespace {

using Verdict = FrameSink::Verdict;

using NetlinkPorts = SweptTest;

uint32_t PortOf(int fd) {
  sockaddr_nl address = {};
  socklen_t size = sizeof address;
  return getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0 ? address.nl_pid : 0;
}

TEST_F(NetlinkPorts, WhatStrangersSendIsNotHeard) {
  LinkHost host("netlink:met");
  RawClient raw(NetlinkMechanism(), "netlink:met");
  raw.SendAsk(RandomToken());
  const Welcome welcome = raw.Await();
  ASSERT_EQ(welcome.state, Welcome::kReady);
  const auto spoil = [&] {
    const absl::StatusOr<netlink::Socket> socket = netlink::Socket::Make(0);
    int taken = 0;
    for (const uint32_t port : {welcome.numbers[0], welcome.numbers[1]}) {
      for (const netlink::Type type : {netlink::kData, netlink::kEnd, netlink::kTaken, netlink::kSpace}) {
        taken += socket->Send(port, type, "spoiled!", 8) == 0;
      }
    }
    return taken;
  };
  // Before the proof anybody can send, and is heard by nobody.
  EXPECT_EQ(Child([&] {
              if (setresgid(kStranger, kStranger, kStranger) != 0 || setresuid(kStranger, kStranger, kStranger) != 0) return -1;
              return spoil();
            }).Wait(),
            8);
  End end = raw.Open(welcome);
  ASSERT_TRUE(RawClient::Prove(end, welcome.nonce));
  const std::unique_ptr<Link> link = host.Accept();
  ASSERT_NE(link, nullptr);
  // After it the kernel lets nobody.
  EXPECT_EQ(spoil(), 0);
  LinkDriver driver(*link);
  ASSERT_TRUE(driver.Send(MakeFrame(1, 1, 300)));
  EXPECT_EQ(driver.Poll(), Link::Progress::kIdle);
  std::array<std::byte, 8192> buffer;
  EXPECT_GT(end.medium->Read(buffer.data(), buffer.size()), 300);
}

TEST_F(NetlinkPorts, WhoGetsThePortOfADeadPeerIsNotTakenForIt) {
  LinkHost host("netlink:met");
  int ports[2];
  ASSERT_EQ(pipe2(ports, O_CLOEXEC), 0);
  const UniqueFd ours(ports[0]), theirs(ports[1]);
  Child client([&] {
    RawClient raw(NetlinkMechanism(), "netlink:met");
    raw.SendAsk(RandomToken());
    const Welcome welcome = raw.Await();
    End end = raw.Open(welcome);
    if (!RawClient::Prove(end, welcome.nonce)) return 1;
    const uint32_t both[] = {PortOf(end.medium->read_fd()), welcome.numbers[0]};
    if (write(theirs.get(), both, sizeof both) != sizeof both) return 2;
    pause();
    return 3;
  });
  const std::unique_ptr<Link> link = host.Accept();
  ASSERT_NE(link, nullptr);
  uint32_t both[2];
  ASSERT_EQ(read(ours.get(), both, sizeof both), ssize_t{sizeof both});
  client.Kill(SIGKILL);
  EXPECT_EQ(client.Wait(), -SIGKILL);
  const absl::StatusOr<netlink::Socket> thief = netlink::Socket::Make(0, both[0]);
  ASSERT_TRUE(thief.ok()) << thief.status();
  Bytes bytes(stream::kPreambleBytes + stream::WireBytes(4));
  std::memcpy(bytes.data(), stream::kMagic.data(), stream::kMagic.size());
  bytes[4] = std::byte{stream::kVersion};
  bytes[8] = std::byte{4};
  ASSERT_EQ(thief->Send(both[1], netlink::kData, bytes.data(), bytes.size()), 0);
  LinkDriver driver(*link);
  driver.on_frame = [](const Bytes&) { return Verdict::kConsumed; };
  EXPECT_FALSE(driver.DriveUntil([] { return false; }, 20000));
  EXPECT_TRUE(driver.closed);
  EXPECT_EQ(driver.frames, 0);
  EXPECT_TRUE(absl::IsUnavailable(link->status())) << link->status();
}

TEST_F(NetlinkPorts, APeerThatLiesAboutWhatItHasReadGetsNoMoreThanItsBufferHolds) {
  LinkHost host("netlink:met");
  RawClient raw(NetlinkMechanism(), "netlink:met");
  raw.SendAsk(RandomToken());
  const Welcome welcome = raw.Await();
  End end = raw.Open(welcome);
  ASSERT_TRUE(RawClient::Prove(end, welcome.nonce));
  const std::unique_ptr<Link> link = host.Accept();
  ASSERT_NE(link, nullptr);
  const auto say = [&](uint64_t taken) {
    struct {
      nlmsghdr header;
      uint64_t taken;
    } message = {.header = {.nlmsg_len = sizeof message, .nlmsg_type = netlink::kTaken, .nlmsg_flags = 0, .nlmsg_seq = 0, .nlmsg_pid = 0},
                 .taken = taken};
    sockaddr_nl to = {};
    to.nl_family = AF_NETLINK;
    to.nl_pid = welcome.numbers[1];
    sendto(end.medium->read_fd(), &message, sizeof message, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to);
  };
  LinkDriver driver(*link);
  say(std::numeric_limits<uint64_t>::max());  // more than was sent: not believed
  int sent = 0;
  while (driver.TrySend(MakeFrame(1, 1, 10000)) && sent < 1000) link->Flush(), ++sent;
  EXPECT_LT(sent, 1000) << "it is never full";
  EXPECT_FALSE(driver.closed);
  // Believed, but not read: the kernel takes no more, and that is its end.
  const int64_t deadline = InMs(10000);
  for (uint64_t taken = 1; !driver.closed && MonotonicNs() < deadline; ++taken) {
    say(taken);
    driver.Poll();
  }
  EXPECT_TRUE(driver.closed);
  EXPECT_TRUE(Dial("netlink:met").ok());
}

TEST_F(NetlinkPorts, AnotherNetworkNamespaceIsSaidClearly) {
  ServerProcess server("netlink:met");
  ASSERT_TRUE(server.up());
  EXPECT_EQ(Child([&] {
              if (unshare(CLONE_NEWNET) != 0) return 2;
              const absl::Status status = Dial("netlink:met").status();
              return absl::IsFailedPrecondition(status) && MessageOf(status).find("network namespace") != std::string_view::npos ? 0 : 1;
            }).Wait(),
            0);
  EXPECT_TRUE(Dial("netlink:met").ok());
}

}  // namespace
}  // namespace ipcrpc::rendezvous

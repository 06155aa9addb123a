// Listening sockets that somebody else keeps, here the test.
#include "transport/takeover/kept_sockets.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/base/clock.h"
#include "transport/base/strings.h"
#include "transport/names.h"
#include "transport/scheme.h"
#include "transport/testing/child.h"
#include "transport/testing/temp_dir.h"

namespace ipcrpc::takeover {
namespace {

using ::testing::HasSubstr;

class KeptSocketsTest : public testing::Test {
 protected:
  // As a service manager binds it.
  UniqueFd Bind(int type, const std::string& place) {
    sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = {}};
    std::memcpy(name.sun_path + (place.front() == '@'), place.data() + (place.front() == '@'),
                place.size() - (place.front() == '@'));
    const auto size =
        static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + place.size() + (place.front() != '@'));
    UniqueFd fd(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
    if (bind(fd.get(), reinterpret_cast<sockaddr*>(&name), size) != 0 || listen(fd.get(), 16) != 0) abort();
    if (place.front() != '@') chmod(place.c_str(), 0640);
    return fd;
  }
  std::string Path(const std::string& name) const { return dir_.path() + "/" + name; }
  static absl::StatusOr<std::unique_ptr<Listener>> Take(KeptSockets& kept, const std::string& address) {
    return kept.Take(*ParseAddress(address));
  }
  static absl::Status Reach(const std::string& address, Listener& listener) {
    // Who connects is in the backlog: the listener's side of the handshake would be the rest.
    const absl::Status status = Connect(*ParseAddress(address), MonotonicNs() + 100'000'000).status();
    listener.OnReadable([](std::unique_ptr<Link>) {});
    return status;
  }

  TempRuntimeDir dir_;
};

TEST_F(KeptSocketsTest, AreForTheAddressesThatTheyAreBoundAt) {
  KeptSockets kept;
  kept.Add(Bind(SOCK_STREAM, Path("a.sock")));
  kept.Add(Bind(SOCK_SEQPACKET, Path("a.shm")));
  kept.Add(Bind(SOCK_STREAM, "@kept-" + std::to_string(getpid())));
  for (const std::string& address :
       {std::string("unix:a"), std::string("shm:a"), "unix:@kept-" + std::to_string(getpid())}) {
    absl::StatusOr<std::unique_ptr<Listener>> listener = Take(kept, address);
    ASSERT_TRUE(listener.ok()) << listener.status();
    ASSERT_NE(*listener, nullptr) << address;
    EXPECT_NE(fcntl((*listener)->handles().front(), F_GETFL) & O_NONBLOCK, 0);
  }
  EXPECT_TRUE(kept.CheckAllTaken().ok());
  EXPECT_EQ(*Take(kept, "unix:a"), nullptr) << "it is taken";
}

TEST_F(KeptSocketsTest, StayWithTheirNamesAndPermissions) {
  const UniqueFd socket = Bind(SOCK_STREAM, Path("a.sock"));
  for (int run = 0; run < 2; ++run) {
    KeptSockets kept;
    kept.Add(UniqueFd::DuplicateOf(socket.get()));
    absl::StatusOr<std::unique_ptr<Listener>> listener = Take(kept, "unix:a?mode=0666");
    ASSERT_TRUE(listener.ok() && *listener != nullptr) << listener.status();
    EXPECT_TRUE(Reach("unix:a", **listener).ok());
    struct stat info;
    ASSERT_EQ(stat(Path("a.sock").c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 07777, 0640u);
    // The name is this server's while it lives, and nobody's afterwards, but for the socket.
    EXPECT_EQ(Listen(*ParseAddress("shm:a")).status().code(), absl::StatusCode::kOk) << "of the same process";
    listener->reset();
    SweepDirectory(dir_.path());
    EXPECT_EQ(stat(Path("a.sock").c_str(), &info), 0) << "a sweep took it for a dead one's";
    EXPECT_EQ(Listen(*ParseAddress("unix:a")).status().code(), absl::StatusCode::kAlreadyExists);
  }
}

TEST_F(KeptSocketsTest, OfNoAddressAreNamed) {
  KeptSockets kept;
  kept.Add(Bind(SOCK_STREAM, Path("b.sock")));
  kept.Add(Bind(SOCK_SEQPACKET, Path("a.sock")));  // of the wrong type
  kept.Add(UniqueFd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
  EXPECT_EQ(*Take(kept, "unix:a"), nullptr);
  EXPECT_EQ(*Take(kept, "inproc:a"), nullptr);
  const absl::Status status = kept.CheckAllTaken();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()),
              HasSubstr(Cat(Path("b.sock"), ", ", Path("a.sock"), ", one without a name")));
}

TEST_F(KeptSocketsTest, WhoseFileIsGoneAreOfNoUse) {
  KeptSockets kept;
  kept.Add(Bind(SOCK_STREAM, Path("a.sock")));
  ASSERT_EQ(unlink(Path("a.sock").c_str()), 0);
  EXPECT_EQ(*Take(kept, "unix:a"), nullptr) << "nobody could connect";
  EXPECT_THAT(std::string(kept.CheckAllTaken().message()), HasSubstr(Path("a.sock") + " (its file is gone)"));
}

TEST_F(KeptSocketsTest, AListenersOwnSocketCanBeKept) {
  UniqueFd socket;
  {
    absl::StatusOr<std::unique_ptr<Listener>> listener = Listen(*ParseAddress("shm:a"));
    ASSERT_TRUE(listener.ok()) << listener.status();
    socket = UniqueFd::DuplicateOf(KeepSocketOf(**listener));
  }
  struct stat info;
  EXPECT_EQ(stat(Path("a.shm").c_str(), &info), 0);
  KeptSockets kept;
  kept.Add(std::move(socket));
  absl::StatusOr<std::unique_ptr<Listener>> listener = Take(kept, "shm:a");
  ASSERT_TRUE(listener.ok() && *listener != nullptr) << listener.status();

  // A long path is bound in a way that does not tell where it is.
  const std::string deep = Path(std::string(100, 'd'));
  mkdir(deep.c_str(), 0700);
  absl::StatusOr<std::unique_ptr<Listener>> far = Listen(*ParseAddress("unix:" + deep + "/socket"));
  ASSERT_TRUE(far.ok()) << far.status();
  EXPECT_EQ(KeepSocketOf(**far), -1);
  absl::StatusOr<std::unique_ptr<Listener>> inproc = Listen(*ParseAddress("inproc:kept"));
  EXPECT_EQ(KeepSocketOf(**inproc), -1);
}

TEST_F(KeptSocketsTest, AreNotServedByTwo) {
  const UniqueFd socket = Bind(SOCK_STREAM, Path("a.sock"));
  // Another process has the name's lock.
  int ready[2];
  ASSERT_EQ(pipe2(ready, O_CLOEXEC), 0);
  const UniqueFd told(ready[0]), tell(ready[1]);
  Child other([&] {
    absl::StatusOr<std::unique_ptr<NameLock>> lock = NameLock::Take(Path("a"), true);
    if (lock.ok() && write(tell.get(), "x", 1) == 1) pause();
    return 1;
  });
  char byte;
  ASSERT_EQ(read(told.get(), &byte, 1), 1);
  KeptSockets kept;
  kept.Add(UniqueFd::DuplicateOf(socket.get()));
  EXPECT_TRUE(absl::IsAlreadyExists(Take(kept, "unix:a").status()));
}

}  // namespace
}  // namespace ipcrpc::takeover

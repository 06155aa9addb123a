// Descriptors that are not what their address says, and peers that are not what they should be.
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/base/clock.h"
#include "transport/base/fd.h"
#include "transport/base/strings.h"
#include "transport/scheme.h"
#include "transport/testing/link_driver.h"

namespace ipcrpc {
namespace {

using ::testing::HasSubstr;

absl::Status ListenError(const std::string& address) { return Listen(*ParseAddress(address)).status(); }

struct FdPair {
  UniqueFd a, b;
};

FdPair Pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) abort();
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

FdPair Sockets(int type = SOCK_STREAM) {
  int ends[2];
  if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) != 0) abort();
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

TEST(InheritedTest, RefusesWhatIsNoStreamAndSaysWhat) {
  const FdPair pipe = Pipe(), other = Pipe(), datagrams = Sockets(SOCK_DGRAM);
  const UniqueFd file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)), null(open("/dev/null", O_RDWR | O_CLOEXEC)),
      directory(open("/", O_RDONLY | O_CLOEXEC)), event(eventfd(0, EFD_CLOEXEC)),
      listening(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)), terminal(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  const auto both = [](const UniqueFd& fd) { return Cat("pipe:", fd.get(), ",", fd.get()); };
  const std::pair<std::string, std::string> cases[] = {
      {"pipe:9999,9998", "descriptor 9999 is not open"},
      {"socketpair:9999", "descriptor 9999 is not open"},
      {"socketpair:3x", "expected the number of a descriptor"},
      {"pipe:3", "expected two descriptors"},
      {"pipe:3,-4", "expected two descriptors"},
      {both(file), "is a file"},
      {both(null), "is /dev/null"},
      {both(directory), "is a directory"},
      {both(event), "carries no stream"},
      {both(listening), "is not connected"},
      {both(terminal), "is a terminal"},
      {both(datagrams.a), "no byte stream"},
      {Cat("pipe:", pipe.b.get(), ",", other.b.get()), Cat("descriptor ", pipe.b.get(), " is the wrong end of a pipe")},
      {Cat("pipe:", pipe.a.get(), ",", other.a.get()), Cat("descriptor ", other.a.get(), " is the wrong end of a pipe")},
      {Cat("pipe:", pipe.a.get(), ",", pipe.b.get()), "are one pipe"},
      {both(pipe.a), "is the wrong end of a pipe"},
      {Cat("socketpair:", pipe.a.get()), "a socket is expected"},
      {Cat("pipe:", pipe.a.get(), ",", other.b.get(), "?buffer=12X"), "expected a number of bytes from 4K to 256M"},
      {Cat("pipe:", pipe.a.get(), ",", other.b.get(), "?buffer=1K"), "expected a number of bytes from 4K to 256M"},
      {"exec:cat", "the server itself listens at stdio:"},
  };
  for (const auto& [address, why] : cases) {
    const absl::Status status = ListenError(address);
    EXPECT_TRUE(absl::IsInvalidArgument(status) || absl::IsFailedPrecondition(status)) << address << ": " << status;
    EXPECT_THAT(std::string(MessageOf(status)), HasSubstr(why)) << address;
  }
}

TEST(InheritedTest, LeavesFlagsAloneAndKeepsTheNumberFromOthers) {
  FdPair there = Pipe(), back = Pipe();
  const UniqueFd copy(dup(there.a.get()));
  const std::string address = Cat("pipe:", there.a.get(), ",", back.b.get());
  {
    absl::StatusOr<std::unique_ptr<Link>> link = Connect(*ParseAddress(address), kNoDeadline);
    ASSERT_TRUE(link.ok()) << link.status();
    EXPECT_EQ(fcntl(copy.get(), F_GETFL) & O_NONBLOCK, 0);
    // Gone from its number, where reading finds the end and nothing else.
    char byte;
    EXPECT_EQ(read(there.a.get(), &byte, 1), 0);
    EXPECT_THAT(std::string(MessageOf(ListenError(address))), HasSubstr("has carried a link already"));
  }
  EXPECT_THAT(std::string(MessageOf(ListenError(address))), HasSubstr("has carried a link already"));
}

TEST(InheritedTest, BufferSizesArriveAtTheKernel) {
  FdPair there = Pipe(), back = Pipe();
  const UniqueFd copy(dup(there.a.get()));
  const absl::StatusOr<std::unique_ptr<Link>> link =
      Connect(*ParseAddress(Cat("pipe:", there.a.get(), ",", back.b.get(), "?buffer=256K")), kNoDeadline);
  ASSERT_TRUE(link.ok()) << link.status();
  EXPECT_EQ(fcntl(copy.get(), F_GETPIPE_SZ), 256 * 1024);
}

TEST(SocketpairTest, APeerThatSpeaksSomethingElseIsRefused) {
  FdPair ends = Sockets();
  const std::string address = Cat("socketpair:", ends.a.get());
  ASSERT_EQ(send(ends.b.get(), "GET / HTTP/1.1", 14, MSG_NOSIGNAL), 14);
  const absl::Status status = Connect(*ParseAddress(address), InMs(5000)).status();
  EXPECT_TRUE(absl::IsInternal(status)) << status;
}

TEST(SocketpairTest, APeerThatHangsUpOrSaysNothingIsUnavailableOrLate) {
  FdPair gone = Sockets(), silent = Sockets();
  gone.b.reset();
  const absl::Status hung_up = Connect(*ParseAddress(Cat("socketpair:", gone.a.get())), InMs(5000)).status();
  EXPECT_FALSE(hung_up.ok());
  const absl::Status late = Connect(*ParseAddress(Cat("socketpair:", silent.a.get())), InMs(50)).status();
  EXPECT_TRUE(absl::IsDeadlineExceeded(late)) << late;
}

// Whoever shares the open file can set and clear its flags at any time; nothing may block for that.
TEST(SocketpairTest, APeerThatClearsNonBlockingBlocksNobody) {
  FdPair there = Pipe(), back = Pipe();
  const UniqueFd write_copy(dup(back.b.get()));
  const absl::StatusOr<std::unique_ptr<Link>> link =
      Connect(*ParseAddress(Cat("pipe:", there.a.get(), ",", back.b.get())), kNoDeadline);
  ASSERT_TRUE(link.ok());
  fcntl(write_copy.get(), F_SETFL, fcntl(write_copy.get(), F_GETFL) & ~O_NONBLOCK);
  LinkDriver driver(**link);
  int sent = 0;
  while (sent < 10000 && driver.TrySend(MakeFrame(1, 1, 1000))) ++sent, (*link)->Flush();
  EXPECT_LT(sent, 10000);  // full, and still here
  EXPECT_EQ(driver.Poll(), Link::Progress::kIdle);
}

}  // namespace
}  // namespace ipcrpc

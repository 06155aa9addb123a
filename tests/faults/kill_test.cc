// kill -9 of either side at random points: every call of the survivor ends with a status, the next start works, and
// after it nothing is left. Each scheme, 200 times, in a private world.
#include <unistd.h>

#include <limits>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/faults/private_world.h"
#include "tests/faults/processes.h"
#include "transport/testing/meeting_place.h"

namespace faults {
namespace {

using behaviour::Methods;
using behaviour::Msg;
using ipcrpc::ClientContext;
using ipcrpc::Status;
using ipcrpc::StatusCode;
using namespace std::chrono_literals;

constexpr int kKills = 200;
constexpr auto kHung = 20s;  // a call that takes longer did not end

constexpr std::string_view kAddresses[] = {
    "shm:kill",
    "shm:kill?segment=posix&wake=sem",
    "shm:kill?segment=sysv&wake=sysvsem",
    "shm:kill?wake=eventfd",
    "unix:kill",
    "fifo:kill",
    "mqueue:kill",
    "sysvmq:kill",
    "netlink:kill",
};

Status CallOnce(Methods::Stub& stub, uint32_t kind) {
  ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kHung);
  Msg request, response;
  request.set_data(std::string(kind % 3 == 1 ? 300'000 : 100, 'x'));
  if (kind % 3 != 2) return stub.Unary(&context, request, &response);
  const auto stream = stub.Talk(&context);
  for (int i = 0; i < 5 && stream->Write(request) && stream->Read(&response); ++i) {
  }
  stream->WritesDone();
  return stream->Finish();
}

constexpr int kServerGone = 10, kOk = 0, kWrong = 1;

// Calls, on a new channel after so many calls, until a call fails; then the server must be gone, and nothing hung.
int CallUntilTheServerDies(const std::string& address, int calls_on_a_channel = 7) {
  for (uint32_t kind = 0;;) {
    const auto stub = Methods::NewStub(ipcrpc::CreateChannel(address));
    for (int i = 0; i < calls_on_a_channel; ++i) {
      const Status status = CallOnce(*stub, kind++);
      if (status.ok()) continue;
      if (status.error_code() == StatusCode::UNAVAILABLE) return kServerGone;
      fprintf(stderr, "%s: code %d: %s\n", address.c_str(), status.error_code(), status.error_message().c_str());
      return kWrong;
    }
  }
}

int CallOnceAndSayWhy(const std::string& address) {
  const Status status = CallOnce(*Methods::NewStub(ipcrpc::CreateChannel(address)), 0);
  if (status.ok()) return kOk;
  fprintf(stderr, "%s: code %d: %s\n", address.c_str(), status.error_code(), status.error_message().c_str());
  return kWrong;
}

class KillTest : public ::testing::TestWithParam<std::string_view> {};

TEST_P(KillTest, EitherSideAtRandomPointsLeavesNothing) {
  const std::string address(GetParam());
  std::mt19937 random(20);  // where it strikes is up to the scheduler all the same
  auto server = std::make_unique<RunningServer>(std::vector{address});
  for (int kill = 0; kill < kKills; ++kill) {
    ASSERT_TRUE(server->started()) << "kill " << kill;
    Child client([&] { return CallUntilTheServerDies(address); });
    usleep(random() % 8000);
    if (kill % 2 == 0) {
      server->Kill();
      ASSERT_EQ(client.Wait(), kServerGone) << "kill " << kill;
      server = std::make_unique<RunningServer>(std::vector{address});
    } else {
      client.Kill();
      if (kill % 10 == 1) {
        ASSERT_EQ(Child([&] { return CallOnceAndSayWhy(address); }).Wait(), kOk) << "kill " << kill;
      }
    }
  }
  EXPECT_EQ(server->Stop(), 0);
  {
    RunningServer next({address});
    EXPECT_TRUE(next.started());
    EXPECT_EQ(Child([&] { return CallOnceAndSayWhy(address); }).Wait(), kOk);
    EXPECT_EQ(next.Stop(), 0);
  }
  // The next start sweeps, also what that client had no time for when it exited.
  RunningServer last({address});
  EXPECT_TRUE(last.started());
  EXPECT_EQ(last.Stop(), 0);
  EXPECT_THAT(LeftOvers(), ::testing::IsEmpty());
}

// Both ends are children of one parent, which made their descriptors.
class KillOfKin : public ::testing::TestWithParam<std::string_view> {};

TEST_P(KillOfKin, EitherSideAtRandomPointsLeavesNothing) {
  std::mt19937 random(21);
  for (int kill = 0; kill < kKills; ++kill) {
    ipcrpc::MeetingPlace place(GetParam());
    Child server([&] {
      place.ForgetClient();
      return ServeToTheEnd(place.server());
    });
    Child client([&] {
      place.ForgetServer();
      return CallUntilTheServerDies(place.client(), std::numeric_limits<int>::max());
    });
    place.ForgetServer();
    place.ForgetClient();
    usleep(random() % 8000);
    if (kill % 2 == 0) {
      server.Kill();
      ASSERT_EQ(client.Wait(), kServerGone) << "kill " << kill;
    } else {
      client.Kill();
      // It ends by itself, and says so if it had not begun.
      ASSERT_THAT(server.Wait(), ::testing::AnyOf(kOk, kWrong)) << "kill " << kill;
    }
  }
  EXPECT_THAT(LeftOvers(), ::testing::IsEmpty());
}

std::string NameOf(const ::testing::TestParamInfo<std::string_view>& test) {
  std::string name;
  for (const char c : test.param) name += isalnum(c) ? c : '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, KillTest, ::testing::ValuesIn(kAddresses), NameOf);
INSTANTIATE_TEST_SUITE_P(All, KillOfKin, ::testing::Values("socketpair:", "pipe:"), NameOf);

}  // namespace
}  // namespace faults

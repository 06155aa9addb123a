// What the tests of the parts of a link share.
#pragma once

#include <sys/sem.h>
#include <sys/shm.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "transport/base/strings.h"
#include "transport/scheme.h"
#include "transport/testing/epoll_echo.h"
#include "transport/testing/link_driver.h"

namespace ipcrpc::shm {

inline constexpr std::string_view kSegmentChoices[] = {"memfd", "posix", "sysv"};
inline constexpr std::string_view kWakeChoices[] = {"futex", "eventfd", "sem", "sysvsem"};

inline absl::StatusOr<std::unique_ptr<Link>> TryConnect(const std::string& address) {
  return Connect(*ParseAddress(address), InMs(20000));
}
inline absl::Status TryListen(const std::string& address) { return Listen(*ParseAddress(address)).status(); }

// Frames that go there and back, asleep and awake, and more of them than the first ring holds. `grows`: the ring may.
inline void ExpectCarries(Link& link) {
  LinkDriver driver(link);
  size_t back = 0, sent = 0;
  constexpr size_t kFrames = 60;
  const auto frame = [&](size_t i) { return MakeFrame(1, i, i % 3 == 0 ? 10 : 15000); };
  driver.on_frame = [&](const Bytes& got) {
    EXPECT_EQ(got, frame(back));
    ++back;
    return FrameSink::Verdict::kConsumed;
  };
  for (; sent < 5; ++sent) {
    EXPECT_TRUE(driver.Send(frame(sent))) << link.status();
    EXPECT_TRUE(driver.DriveUntil([&] { return back == sent + 1; })) << link.status();
  }
  EXPECT_TRUE(driver.DriveUntil([&] {
    while (sent < kFrames && driver.TrySend(frame(sent))) ++sent;
    link.Flush();
    return back == kFrames;
  })) << back << " of " << sent << ": " << link.status();
}

inline void ExpectCarries(const std::string& server_address, const std::string& client_address) {
  EpollEcho echo(server_address);
  absl::StatusOr<std::unique_ptr<Link>> link = TryConnect(client_address);
  ASSERT_TRUE(link.ok()) << link.status();
  ExpectCarries(**link);
}
inline void ExpectCarries(const std::string& address) { ExpectCarries(address, address); }

// What there is in this IPC namespace and in /dev/shm of ours, as one line each.
inline std::vector<std::string> KernelObjects() {
  std::vector<std::string> objects;
  for (const char* table : {"shm", "sem"}) {
    std::ifstream file(Cat("/proc/sysvipc/", table));
    std::string line;
    std::getline(file, line);  // the heading
    while (std::getline(file, line)) objects.push_back(Cat(table, ": ", line));
  }
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm", ignored)) objects.push_back(entry.path());
  return objects;
}

}  // namespace ipcrpc::shm

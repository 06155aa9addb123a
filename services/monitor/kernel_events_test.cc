// Uevents and process events: their parsers, and the real kernel's through the service.
#include "services/monitor/kernel_events_service.h"

#include <errno.h>
#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <set>
#include <thread>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "services/monitor/parse_kernel_events.h"

namespace ipcrpc::monitor {
namespace {

using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

std::span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

constexpr char kUeventBytes[] =
    "add@/devices/virtual/net/ue0\0ACTION=add\0DEVPATH=/devices/virtual/net/ue0\0SUBSYSTEM=net\0"
    "DEVTYPE=bridge\0INTERFACE=ue0\0IFINDEX=5\0SEQNUM=126158\0";
const std::string kUevent(kUeventBytes, sizeof kUeventBytes - 1);

TEST(ParseUeventTest, FieldsAndProperties) {
  const auto event = ParseUevent(Bytes(kUevent));
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->action(), "add");
  EXPECT_EQ(event->devpath(), "/devices/virtual/net/ue0");
  EXPECT_EQ(event->subsystem(), "net");
  EXPECT_EQ(event->interface(), "ue0");
  EXPECT_EQ(event->ifindex(), 5u);
  EXPECT_EQ(event->seqnum(), 126158u);
  EXPECT_THAT(event->properties(), UnorderedElementsAre(Pair("DEVTYPE", "bridge")));
}

TEST(ParseUeventTest, WhateverTheBytes) {
  for (size_t size = 0; size <= kUevent.size(); ++size) {
    // As an allocation of its own, so that the sanitizers see a byte too many.
    const std::vector<uint8_t> cut(kUevent.begin(), kUevent.begin() + static_cast<long>(size));
    ParseUevent(cut);
  }
  EXPECT_FALSE(ParseUevent(Bytes(std::string("libudev\0ACTION=add\0", 19))).has_value());
  EXPECT_FALSE(ParseUevent(Bytes(std::string("add@/x\0NOTHING\0", 15))).has_value());
  const auto event = ParseUevent(Bytes(std::string("add@/x\0ACTION=\xff\0IFINDEX=-1", 26)));
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->action(), "\\xff");
  EXPECT_FALSE(event->has_ifindex());
}

// As the kernel sends it.
std::vector<uint8_t> Datagram(uint32_t what, const std::function<void(proc_event*)>& fill) {
  std::vector<uint8_t> bytes(NLMSG_HDRLEN + sizeof(cn_msg) + sizeof(proc_event));
  nlmsghdr header{};
  header.nlmsg_len = static_cast<uint32_t>(bytes.size());
  cn_msg connector{};
  connector.id = {CN_IDX_PROC, CN_VAL_PROC};
  connector.len = sizeof(proc_event);
  proc_event event{};
  memcpy(&event, &what, sizeof what);
  event.timestamp_ns = 77;
  fill(&event);
  memcpy(bytes.data(), &header, sizeof header);
  memcpy(bytes.data() + NLMSG_HDRLEN, &connector, sizeof connector);
  memcpy(bytes.data() + NLMSG_HDRLEN + sizeof connector, &event, sizeof event);
  return bytes;
}

TEST(ParseProcessEventTest, ExitsAndNames) {
  const auto killed = ParseProcessEvent(Datagram(0x80000000, [](proc_event* event) {
    event->event_data.exit.process_tgid = 40;
    event->event_data.exit.process_pid = 41;
    event->event_data.exit.exit_code = 9;
  }));
  ASSERT_TRUE(killed.has_value());
  EXPECT_EQ(killed->kind(), v1::ProcessEvent::EXIT);
  EXPECT_EQ(killed->pid(), 40u);
  EXPECT_EQ(killed->tid(), 41u);
  EXPECT_EQ(killed->exit_signal(), 9u);
  EXPECT_FALSE(killed->has_exit_code());
  EXPECT_EQ(killed->monotonic_ns(), 77u);
  // A name without an end.
  const auto named = ParseProcessEvent(Datagram(0x200, [](proc_event* event) { memset(event->event_data.comm.comm, 'x', 16); }));
  EXPECT_EQ(named->name(), std::string(16, 'x'));
  EXPECT_EQ(ParseProcessAnswer(Datagram(0, [](proc_event* event) { event->event_data.ack.err = 1; })), 1u);
  EXPECT_FALSE(ParseProcessEvent(Datagram(0x10000, [](proc_event*) {})).has_value());
}

TEST(ParseProcessEventTest, WhateverTheBytes) {
  const std::vector<uint8_t> whole = Datagram(1, [](proc_event*) {});
  for (size_t size = 0; size <= whole.size(); ++size) {
    ParseProcessEvent(std::vector<uint8_t>(whole.begin(), whole.begin() + static_cast<long>(size)));
  }
  for (size_t i = 0; i < whole.size(); ++i) {
    std::vector<uint8_t> changed = whole;
    changed[i] ^= 0xff;
    ParseProcessEvent(changed);
    ParseProcessAnswer(changed);
  }
}

// A server in this process.
class KernelEventsTest : public testing::Test {
 protected:
  void SetUp() override {
    if (getuid() != 0) GTEST_SKIP() << "process events are for root";
    std::string pattern = testing::TempDir() + "ipcrpc-kernel-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr) << strerror(errno);
    directory_ = pattern;
  }
  void TearDown() override {
    if (service_ != nullptr) service_->Close();
    if (server_ != nullptr) server_->Shutdown();
    if (!directory_.empty()) std::filesystem::remove_all(directory_);
  }
  void Serve(bool processes) {
    service_ = std::make_unique<KernelEventsService>(processes);
    const std::string address = "unix:" + directory_ + "/socket";
    ServerBuilder builder;
    builder.AddListeningPort(address).RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr) << builder.error();
    stub_ = v1::KernelEvents::NewStub(CreateChannel(address));
  }

  std::string directory_;
  std::unique_ptr<KernelEventsService> service_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<v1::KernelEvents::Stub> stub_;
};

TEST_F(KernelEventsTest, AProcessIsSeenFromBeginToEnd) {
  Serve(true);
  ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
  auto reader = stub_->WatchProcesses(&context, {});
  reader->WaitForInitialMetadata();
  const pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_NAME, "kernel-events");
    execl("/bin/sh", "sh", "-c", "exit 7", nullptr);
    _exit(1);
  }
  ASSERT_GT(child, 0);
  std::set<int> kinds;
  v1::ProcessEvent event, last;
  while (kinds.count(v1::ProcessEvent::EXIT) == 0 && reader->Read(&event)) {
    if (event.pid() != static_cast<uint32_t>(child)) continue;
    kinds.insert(event.kind());
    if (event.kind() == v1::ProcessEvent::FORK) {
      EXPECT_EQ(event.parent_pid(), static_cast<uint32_t>(getpid()));
    }
    if (event.kind() == v1::ProcessEvent::COMM) {
      EXPECT_EQ(event.name(), "kernel-events");
    }
    last = event;
  }
  waitpid(child, nullptr, 0);
  context.TryCancel();
  const Status status = reader->Finish();
  EXPECT_THAT(kinds, testing::IsSupersetOf({int{v1::ProcessEvent::FORK}, int{v1::ProcessEvent::EXEC},
                                            int{v1::ProcessEvent::COMM}, int{v1::ProcessEvent::EXIT}}))
      << status.error_message();
  EXPECT_EQ(last.exit_code(), 7u);
  EXPECT_GT(last.monotonic_ns(), 0u);
  EXPECT_GT(last.time().seconds(), 1'600'000'000);
}

TEST_F(KernelEventsTest, ProcessEventsAreOffUnlessWanted) {
  Serve(false);
  ClientContext context;
  auto reader = stub_->WatchProcesses(&context, {});
  v1::ProcessEvent event;
  EXPECT_FALSE(reader->Read(&event));
  const Status status = reader->Finish();
  EXPECT_EQ(status.error_code(), StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(status.error_message(), HasSubstr("--process-events"));
}

TEST_F(KernelEventsTest, TheEndOfTheServiceAndOfTheClientEndsAWatch) {
  Serve(true);
  ClientContext cancelled, closed;
  auto first = stub_->WatchUevents(&cancelled, {});
  auto second = stub_->WatchProcesses(&closed, {});
  first->WaitForInitialMetadata();
  second->WaitForInitialMetadata();
  cancelled.TryCancel();
  EXPECT_EQ(first->Finish().error_code(), StatusCode::CANCELLED);
  std::thread closer([&] { service_->Close(); });
  v1::ProcessEvent event;
  while (second->Read(&event)) continue;
  EXPECT_EQ(second->Finish().error_code(), StatusCode::UNAVAILABLE);
  closer.join();
}

}  // namespace
}  // namespace ipcrpc::monitor

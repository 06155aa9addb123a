// Snapshots that a server hands out, over transports that pass descriptors and that do not.
#include "ipcrpc/snapshot_service.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <string_view>

#include "ipcrpc/ipcrpc.h"
#include "services/snapshot/testdata/weather.pb.h"
#include "transport/testing/child.h"
#include "transport/testing/temp_dir.h"

namespace ipcrpc {
namespace {

using ipcrpc::testing::weather::Report;
using ipcrpc::testing::weather::Wind;
using std::chrono::steady_clock;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

Report MakeReport(int degrees, int remarks = 3) {
  Report report;
  report.set_degrees(degrees);
  for (int i = 0; i < remarks; ++i) report.add_remarks("remark " + std::to_string(degrees + i));
  return report;
}

std::unique_ptr<Server> Serve(const std::string& address, Service* service) {
  ServerBuilder builder;
  builder.AddListeningPort(address);
  if (service != nullptr) builder.RegisterService(service);
  std::unique_ptr<Server> server = builder.BuildAndStart();
  EXPECT_NE(server, nullptr) << builder.error();
  return server;
}

struct Way {
  const char* scheme;
  const char* home;
  bool passes;  // what is at home there, so that it is read without calls
};

class SnapshotServiceTest : public ::testing::TestWithParam<Way> {
 protected:
  std::string address() const { return std::string(GetParam().scheme) + ":station"; }
  std::string place() const { return std::string("weather?home=") + GetParam().home; }

  TempRuntimeDir dir_;
};

INSTANTIATE_TEST_SUITE_P(Ways, SnapshotServiceTest,
                         ::testing::Values(Way{"shm", "memfd", true}, Way{"unix", "memfd", true}, Way{"inproc", "memfd", true},
                                           Way{"fifo", "memfd", false}, Way{"unix", "file", true},
                                           Way{"fifo", "posix", true}, Way{"shm", "sysv", true}),
                         [](const auto& way) { return std::string(way.param.scheme) + "_" + way.param.home; });

TEST_P(SnapshotServiceTest, AClientReadsWhatTheServerPublishes) {
  SnapshotPublisher<Report> publisher(place());
  SnapshotService snapshots(publisher);
  const std::unique_ptr<Server> server = Serve(address(), &snapshots);
  ASSERT_NE(server, nullptr);
  SnapshotReader<Report> reader(CreateChannel(address()), "weather");
  EXPECT_EQ(reader.Read(), nullptr);
  EXPECT_EQ(reader.status().error_code(), StatusCode::NOT_FOUND) << reader.status().error_message();
  for (int remarks = 1; remarks < 100'000; remarks *= 10) {
    ASSERT_TRUE(publisher.Publish(MakeReport(remarks, remarks)).ok());
    const Report* report = reader.Read();
    ASSERT_NE(report, nullptr) << reader.status().error_message();
    EXPECT_EQ(report->degrees(), remarks);
    EXPECT_EQ(report->remarks_size(), remarks);
    EXPECT_EQ(reader.Read(), report) << "unchanged, so the same message";
  }
  EXPECT_EQ(reader.WaitForChange(steady_clock::now() + 1ms).error_code(), StatusCode::DEADLINE_EXCEEDED);
  ASSERT_TRUE(publisher.Publish(MakeReport(-1)).ok());
  EXPECT_TRUE(reader.WaitForChange(steady_clock::now() + 1h).ok());
  EXPECT_EQ(reader.Read()->degrees(), -1);

  // Without anybody to call.
  server->Shutdown();
  ASSERT_TRUE(publisher.Publish(MakeReport(-2)).ok());
  if (GetParam().passes) {
    ASSERT_NE(reader.Read(), nullptr) << reader.status().error_message();
    EXPECT_EQ(reader.Read()->degrees(), -2);
  } else {
    EXPECT_EQ(reader.Read(), nullptr);
    EXPECT_EQ(reader.status().error_code(), StatusCode::UNAVAILABLE);
    EXPECT_EQ(reader.last()->degrees(), -1);
  }
}

TEST_P(SnapshotServiceTest, WhatThereIsNotIsExplained) {
  SnapshotPublisher<Report> publisher(place());
  ASSERT_TRUE(publisher.Publish(MakeReport(1)).ok());
  SnapshotService snapshots(publisher);
  const std::unique_ptr<Server> server = Serve(address(), &snapshots);
  ASSERT_NE(server, nullptr);
  const std::shared_ptr<Channel> channel = CreateChannel(address());
  SnapshotReader<Report> unknown(channel, "whether");
  EXPECT_EQ(unknown.Read(), nullptr);
  EXPECT_EQ(unknown.status().error_code(), StatusCode::NOT_FOUND);
  EXPECT_THAT(unknown.status().error_message(), HasSubstr("'whether'; there are: weather"));
  SnapshotReader<Wind> other(channel, "weather");
  EXPECT_EQ(other.Read(), nullptr);
  EXPECT_EQ(other.status().error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(other.status().error_message(), HasSubstr("expected ipcrpc.testing.weather.Wind"));

  SnapshotReader<Report> reader(channel, "weather");
  ASSERT_NE(reader.Read(), nullptr);
  snapshots.Remove("weather");
  SnapshotReader<Report> late(channel, "weather");
  EXPECT_EQ(late.Read(), nullptr);
  EXPECT_EQ(late.status().error_code(), StatusCode::NOT_FOUND);
}

TEST(SnapshotServersTest, AServerWithoutItSaysSo) {
  TempRuntimeDir dir;
  const std::unique_ptr<Server> server = Serve("unix:station", nullptr);
  ASSERT_NE(server, nullptr);
  SnapshotReader<Report> reader(CreateChannel("unix:station"), "weather");
  EXPECT_EQ(reader.Read(), nullptr);
  EXPECT_EQ(reader.status().error_code(), StatusCode::UNIMPLEMENTED);
  SnapshotReader<Report> nobody(CreateChannel("unix:nobody"), "weather");
  EXPECT_EQ(nobody.Read(), nullptr);
  EXPECT_EQ(nobody.status().error_code(), StatusCode::UNAVAILABLE);
}

// ThreadSanitizer ends a forked child that starts threads, when its parent had some.
#if !defined(__SANITIZE_THREAD__)

// A daemon that is killed, and the next one: its reader is told, and then has what that one publishes.
TEST(SnapshotServersTest, ADaemonThatIsKilledIsSeenAndItsSuccessorFound) {
  TempRuntimeDir dir;
  const auto start = [](int degrees) {
    return std::make_unique<Child>([degrees] {
      SnapshotPublisher<Report> publisher("weather?home=memfd");
      SnapshotService snapshots(publisher);
      if (!publisher.Publish(MakeReport(degrees)).ok()) return 1;
      ServerBuilder builder;
      builder.AddListeningPort("unix:station").RegisterService(&snapshots);
      const std::unique_ptr<Server> server = builder.BuildAndStart();
      if (server == nullptr) return 2;
      server->Wait();
      return 0;
    });
  };
  std::unique_ptr<Child> first = start(1);
  // The reader is in a process of its own, since a test with threads cannot fork.
  int from_reader[2];
  ASSERT_EQ(pipe(from_reader), 0);
  Child child([&] {
    SnapshotReader<Report> reader(CreateChannel("unix:station"), "weather");
    const auto give_up = steady_clock::now() + 20s;
    const auto read_until = [&](int degrees) {
      while (reader.Read() == nullptr || reader.last()->degrees() != degrees) {
        if (steady_clock::now() > give_up) return false;
        usleep(1000);
      }
      return true;
    };
    if (!read_until(1)) return 1;
    if (reader.writer().state != SnapshotWriter::State::kAlive) return 2;
    if (write(from_reader[1], "r", 1) != 1) return 3;
    const Status died = reader.WaitForChange(give_up);
    if (died.error_code() != StatusCode::UNAVAILABLE || died.error_message().find("is dead") == std::string::npos) return 4;
    if (reader.last()->degrees() != 1) return 5;
    if (write(from_reader[1], "d", 1) != 1) return 6;
    return read_until(2) ? 0 : 7;
  });
  char said = 0;
  ASSERT_EQ(read(from_reader[0], &said, 1), 1);
  first->Kill(SIGKILL);
  first->Wait();
  ASSERT_EQ(read(from_reader[0], &said, 1), 1);
  const std::unique_ptr<Child> second = start(2);
  EXPECT_EQ(child.Wait(), 0);
  for (const int fd : from_reader) close(fd);
}

#endif

}  // namespace
}  // namespace ipcrpc

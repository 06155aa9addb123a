#include "ipcrpc/snapshot.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/util/message_differencer.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

#include "services/snapshot/testdata/weather.pb.h"
#include "transport/testing/child.h"
#include "transport/testing/no_system_calls.h"
#include "transport/testing/temp_dir.h"

namespace ipcrpc {
namespace {

using google::protobuf::util::MessageDifferencer;
using ipcrpc::testing::weather::Report;
using ipcrpc::testing::weather::ReportWithMore;
using ipcrpc::testing::weather::Wind;
using ::testing::HasSubstr;

Report MakeReport(int degrees) {
  Report report;
  report.set_place("Rome");
  report.set_degrees(degrees);
  report.mutable_wind()->set_direction(Wind::NORTH);
  report.mutable_wind()->set_speed(degrees * 0.5);
  for (int i = 0; i < 20; ++i) report.add_remarks("remark " + std::to_string(degrees + i));
  return report;
}

class SnapshotTest : public ::testing::Test {
 protected:
  TempRuntimeDir dir_;
};

TEST_F(SnapshotTest, AReaderHasTheNewestMessage) {
  SnapshotPublisher<Report> publisher("weather");
  SnapshotReader<Report> reader("weather");
  EXPECT_EQ(reader.Read(), nullptr);
  EXPECT_EQ(reader.status().error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(reader.last(), nullptr);
  for (int degrees = 10; degrees < 20; ++degrees) {
    ASSERT_TRUE(publisher.Publish(MakeReport(degrees)).ok());
    const Report* report = reader.Read();
    ASSERT_NE(report, nullptr) << reader.status().error_message();
    EXPECT_TRUE(MessageDifferencer::Equals(*report, MakeReport(degrees)));
    EXPECT_EQ(reader.Read(), report) << "unchanged, so the same message";
  }
}

TEST_F(SnapshotTest, AnEmptyMessageIsAMessage) {
  SnapshotPublisher<Report> publisher("weather");
  ASSERT_TRUE(publisher.Publish(Report()).ok());
  SnapshotReader<Report> reader("weather");
  const Report* report = reader.Read();
  ASSERT_NE(report, nullptr);
  EXPECT_EQ(report->ByteSizeLong(), 0u);
}

TEST_F(SnapshotTest, TheLastMessageOutlivesItsWriter) {
  SnapshotReader<Report> reader("weather");
  {
    SnapshotPublisher<Report> publisher("weather");
    ASSERT_TRUE(publisher.Publish(MakeReport(1)).ok());
    ASSERT_NE(reader.Read(), nullptr);
  }
  EXPECT_EQ(reader.Read(), nullptr);
  EXPECT_EQ(reader.status().error_code(), StatusCode::NOT_FOUND);
  ASSERT_NE(reader.last(), nullptr);
  EXPECT_EQ(reader.last()->degrees(), 1);

  SnapshotPublisher<Report> publisher("weather");
  ASSERT_TRUE(publisher.Publish(MakeReport(2)).ok());
  ASSERT_NE(reader.Read(), nullptr);
  EXPECT_EQ(reader.last()->degrees(), 2);
}

TEST_F(SnapshotTest, AnotherTypeIsRefused) {
  SnapshotPublisher<Report> publisher("weather");
  ASSERT_TRUE(publisher.Publish(MakeReport(1)).ok());
  SnapshotReader<ReportWithMore> reader("weather");
  EXPECT_EQ(reader.Read(), nullptr);
  EXPECT_EQ(reader.status().error_code(), StatusCode::FAILED_PRECONDITION);
  EXPECT_THAT(reader.status().error_message(), HasSubstr("expected ipcrpc.testing.weather.ReportWithMore"));
}

TEST_F(SnapshotTest, BytesThatAreNoMessageAreAnErrorEachTime) {
  RawSnapshotPublisher publisher("weather", SnapshotSchemaOf(*Report::descriptor()));
  ASSERT_TRUE(publisher.Publish("\xff\xff\xff", 3).ok());
  SnapshotReader<Report> reader("weather");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(reader.Read(), nullptr);
    EXPECT_EQ(reader.status().error_code(), StatusCode::DATA_LOSS);
  }
  EXPECT_EQ(reader.last(), nullptr);
}

TEST_F(SnapshotTest, WaitsForTheNext) {
  SnapshotPublisher<Report> publisher("weather");
  ASSERT_TRUE(publisher.Publish(MakeReport(1)).ok());
  SnapshotReader<Report> reader("weather");
  ASSERT_NE(reader.Read(), nullptr);
  const auto now = std::chrono::steady_clock::now();
  EXPECT_EQ(reader.WaitForChange(now + std::chrono::milliseconds(1)).error_code(),
            StatusCode::DEADLINE_EXCEEDED);
  ASSERT_TRUE(publisher.Publish(MakeReport(2)).ok());
  EXPECT_TRUE(reader.WaitForChange(now + std::chrono::hours(1)).ok());
  EXPECT_EQ(reader.Read()->degrees(), 2);
}

// What `ipcrpc snapshot` does.
TEST_F(SnapshotTest, CanBeReadWithoutTheTypes) {
  SnapshotPublisher<Report> publisher("weather");
  ASSERT_TRUE(publisher.Publish(MakeReport(7)).ok());
  RawSnapshotReader reader("weather");
  ASSERT_TRUE(reader.Read().ok());

  google::protobuf::FileDescriptorSet files;
  ASSERT_TRUE(files.ParseFromString(reader.schema().descriptors));
  google::protobuf::DescriptorPool pool;
  for (const auto& file : files.file()) ASSERT_NE(pool.BuildFile(file), nullptr) << "imports come first";
  const google::protobuf::Descriptor* type = pool.FindMessageTypeByName(reader.schema().type_name);
  ASSERT_NE(type, nullptr);
  EXPECT_EQ(type->FindFieldByName("degrees")->json_name(), "celsius");
  EXPECT_EQ(SnapshotSchemaOf(*type).fingerprint, reader.schema().fingerprint);
  google::protobuf::DynamicMessageFactory factory;
  const std::unique_ptr<google::protobuf::Message> message(factory.GetPrototype(type)->New());
  ASSERT_TRUE(message->ParseFromArray(reader.data(), static_cast<int>(reader.size())));
  EXPECT_EQ(message->SerializeAsString(), MakeReport(7).SerializeAsString());
}

TEST(SnapshotSchemaTest, TheFingerprintIsThatOfWhatTheTypeReaches) {
  const auto fingerprint_with = [](const std::string& type, auto change) {
    google::protobuf::FileDescriptorProto wind, weather;
    Wind::descriptor()->file()->CopyTo(&wind);
    Report::descriptor()->file()->CopyTo(&weather);
    change(wind, weather);
    google::protobuf::DescriptorPool pool;
    EXPECT_NE(pool.BuildFile(wind), nullptr);
    EXPECT_NE(pool.BuildFile(weather), nullptr);
    return SnapshotSchemaOf(*pool.FindMessageTypeByName(type)).fingerprint;
  };
  const std::string type = Report::descriptor()->full_name();
  const uint64_t same = SnapshotSchemaOf(*Report::descriptor()).fingerprint;
  EXPECT_EQ(fingerprint_with(type, [](auto&, auto&) {}), same);
  // Another message of the file, which a Report cannot hold.
  EXPECT_EQ(fingerprint_with(type,
                             [](auto&, auto& weather) {
                               weather.mutable_message_type(1)->mutable_field(0)->set_name("where");
                             }),
            same);
  EXPECT_NE(fingerprint_with(type,
                             [](auto&, auto& weather) {
                               weather.mutable_message_type(0)->mutable_field(0)->set_name("where");
                             }),
            same);
  EXPECT_NE(fingerprint_with(type,
                             [](auto&, auto& weather) {
                               weather.mutable_message_type(0)->mutable_field(0)->set_number(9);
                             }),
            same);
  // Reached through a field, and through a field of that.
  EXPECT_NE(
      fingerprint_with(
          type, [](auto& wind, auto&) { wind.mutable_message_type(0)->mutable_field(1)->set_name("gusts"); }),
      same);
  EXPECT_NE(fingerprint_with(type,
                             [](auto& wind, auto&) {
                               wind.mutable_message_type(0)->mutable_enum_type(0)->mutable_value(2)->set_name(
                                   "EAST");
                             }),
            same);
  EXPECT_NE(SnapshotSchemaOf(*ReportWithMore::descriptor()).fingerprint, same);
}

#if IPCRPC_CAN_FORBID_SYSTEM_CALLS

TEST_F(SnapshotTest, OnlyTheFirstReadMakesSystemCalls) {
  SnapshotPublisher<Report> publisher("weather");
  ASSERT_TRUE(publisher.Publish(MakeReport(0)).ok());
  int to_child[2], from_child[2];
  ASSERT_EQ(pipe(to_child), 0);
  ASSERT_EQ(pipe(from_child), 0);
  Child child([&]() -> int {
    SnapshotReader<Report> reader("weather");
    char degrees = 0;
    if (reader.Read() == nullptr) return 1;
    ForbidSystemCalls();
    do {
      for (int i = 0; i < 1000; ++i) {
        const Report* report = reader.Read();
        if (report == nullptr || report->degrees() != degrees || report->remarks_size() != 20) return 2;
      }
      if (write(from_child[1], &degrees, 1) != 1) return 3;
    } while (read(to_child[0], &degrees, 1) == 1 && degrees >= 0);
    _exit(0);  // without the reader's end, which unmaps
  });
  close(from_child[1]);  // so that its death ends our reading
  char degrees = 0;
  ASSERT_EQ(read(from_child[0], &degrees, 1), 1) << "the second read made a system call: " << child.Wait();
  for (degrees = 1; degrees < 100; ++degrees) {
    ASSERT_TRUE(publisher.Publish(MakeReport(degrees)).ok());
    ASSERT_EQ(write(to_child[1], &degrees, 1), 1);
    ASSERT_EQ(read(from_child[0], &degrees, 1), 1) << "reading a change made a system call: " << child.Wait();
  }
  degrees = -1;
  ASSERT_EQ(write(to_child[1], &degrees, 1), 1);
  EXPECT_EQ(child.Wait(), 0);
  for (const int fd : {to_child[0], to_child[1], from_child[0]}) close(fd);
}

#endif

}  // namespace
}  // namespace ipcrpc

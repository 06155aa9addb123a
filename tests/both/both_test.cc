// gRPC and ipcrpc in one program, with the same protos, reflection and health of both: what a migration looks like half-way.
#include <stdlib.h>

#include <filesystem>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/both/side.h"

namespace both {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;

class BothTest : public ::testing::Test {
 protected:
  BothTest() {
    std::string pattern = (std::filesystem::temp_directory_path() / "both-XXXXXX").string();
    EXPECT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    EXPECT_TRUE(grpc_->Serve("unix:" + directory_ + "/grpc", "gRPC"));
    EXPECT_TRUE(ipcrpc_->Serve("shm:" + directory_ + "/ipcrpc", "ipcrpc"));
    grpc_->Connect("unix:" + directory_ + "/grpc");
    ipcrpc_->Connect("shm:" + directory_ + "/ipcrpc");
  }
  ~BothTest() override {
    grpc_.reset();
    ipcrpc_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }

  std::string directory_;
  std::unique_ptr<Side> grpc_ = grpc_side::Make(), ipcrpc_ = ipcrpc_side::Make();
};

TEST_F(BothTest, EachAnswersItsOwnCalls) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(grpc_->Say("hello"), "gRPC: hello");
    EXPECT_EQ(ipcrpc_->Say("hello"), "ipcrpc: hello");
    EXPECT_THAT(grpc_->SayMany({"a", "b"}), ElementsAre("gRPC: a", "gRPC: b"));
    EXPECT_THAT(ipcrpc_->SayMany({"a", "b"}), ElementsAre("ipcrpc: a", "ipcrpc: b"));
  }
}

TEST_F(BothTest, TheirGeneratedClassesAreDifferent) { EXPECT_NE(grpc_->service_type(), ipcrpc_->service_type()); }

TEST_F(BothTest, EachServesReflection) {
  for (Side* side : {grpc_.get(), ipcrpc_.get()}) {
    EXPECT_THAT(side->Services(), Contains("both.Echo"));
    EXPECT_THAT(side->Services(), Contains("grpc.reflection.v1alpha.ServerReflection"));
    EXPECT_THAT(side->FilesWith("both.Echo.Say"), Contains("both.proto"));
  }
}

TEST_F(BothTest, EachServesHealthWhereItHasIt) {
  EXPECT_TRUE(grpc_->offers_health());
  for (Side* side : {grpc_.get(), ipcrpc_.get()}) EXPECT_EQ(side->Serving(), side->offers_health());
}

}  // namespace
}  // namespace both

#include "ipcrpc/registered_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <string>

#include "rpc/memory/shared_region.h"

namespace ipcrpc {
namespace {

std::string Text(const Slice& slice) { return std::string(slice.begin(), slice.end()); }

TEST(RegisteredMemoryTest, HasWhatItWasFilledWithAndKnowsItsRegion) {
  Slice slice;
  const Status status = RegisterMemory(5, [](std::span<std::byte> room) { std::memcpy(room.data(), "hello", room.size()); }, &slice);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(Text(slice), "hello");
  const rpc::SharedRegion* const region = internal::SharedSlices::RegionOf(slice);
  ASSERT_NE(region, nullptr);
  EXPECT_EQ(region->kind(), rpc::SharedRegion::Kind::kSealed);
  const Slice part = slice.sub(1, 3);
  slice = Slice();
  EXPECT_EQ(Text(part), "el") << "a part keeps the memory";
  EXPECT_EQ(internal::SharedSlices::RegionOf(part), region);
}

TEST(RegisteredMemoryTest, TakesAMemfdThatIsSealed) {
  UniqueFd fd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(write(fd.get(), "hello", 5), 5);
  Slice slice;
  Status status = RegisterMemory(UniqueFd::DuplicateOf(fd.get()), &slice);
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_NE(status.error_message().find("lacks seals"), std::string::npos) << status.error_message();
  EXPECT_EQ(slice.size(), 0u);
  ASSERT_EQ(fcntl(fd.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
  status = RegisterMemory(std::move(fd), &slice);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(Text(slice), "hello");
}

TEST(RegisteredMemoryTest, TellsWhatIsWrong) {
  Slice slice;
  const auto nothing = [](std::span<std::byte>) {};
  EXPECT_EQ(RegisterMemory(0, nothing, &slice).error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(RegisterMemory((size_t{1} << 32) + 1, nothing, &slice).error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(RegisterMemory(UniqueFd(), &slice).error_code(), StatusCode::INVALID_ARGUMENT);
}

}  // namespace
}  // namespace ipcrpc

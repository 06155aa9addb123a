#include "services/daemon/addresses.h"

#include <gtest/gtest.h>

#include "services/daemon/instance.h"

namespace ipcrpc::hosting {
namespace {

TEST(AddressesTest, ADefaultHoldsWhereTheAddressMayHaveItAndDoesNot) {
  EXPECT_EQ(WithDefault("unix:a", "mode=0666"), "unix:a?mode=0666");
  EXPECT_EQ(WithDefault("shm:/run/a?spin=0", "mode=0666"), "shm:/run/a?spin=0&mode=0666");
  for (const std::string given : {"unix:a?mode=0600", "shm:a?spin=0&mode=0600", "unix:@a", "stdio:", "inproc:a",
                                  "socketpair:3", "nothing:a", "no address", ""}) {
    EXPECT_EQ(WithDefault(given, "mode=0666"), given);
  }
  EXPECT_EQ(WithDefault("unix:a?nomode=1", "mode=0666"), "unix:a?nomode=1&mode=0666");
}

TEST(AddressesTest, TheInstanceHasAnAddressOfItsOwnUnlessItsNameIsOne) {
  EXPECT_EQ(InstanceAddress("ad", {}), "unix:ad");
  EXPECT_EQ(InstanceAddress("ad", {"unix:@ad", "unix:/run/ad", "inproc:ad", "shm:ads"}), "unix:ad");
  EXPECT_EQ(InstanceAddress("ad", {"shm:other", "shm:ad?mode=0666"}), "");
  EXPECT_EQ(InstanceAddress("ad", {"unix:ad"}), "");
}

}  // namespace
}  // namespace ipcrpc::hosting

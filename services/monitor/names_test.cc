#include "services/monitor/names.h"

#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace ipcrpc::monitor {
namespace {

TEST(ReadIdNamesTest, TakesDecimalAndHexadecimalAndSkipsTheRest) {
  IdNames names;
  ReadIdNames("# comment\n255\tlocal\n0x10  lowdelay # why\nbroken\n-1 minus\n7\n 12 inner \n99999999999 huge\n", &names);
  EXPECT_THAT(names, testing::ElementsAre(testing::Pair(12, "inner"), testing::Pair(16, "lowdelay"),
                                          testing::Pair(255, "local")));
}

TEST(NameTablesTest, BuiltInNamesAndNumbers) {
  NameTables names;
  EXPECT_EQ(names.Table(254), "main");
  EXPECT_EQ(names.Table(1000), "1000");
  EXPECT_EQ(names.Protocol(2), "kernel");
  EXPECT_EQ(names.Protocol(77), "77");
  EXPECT_EQ(names.Scope(253), "link");
  EXPECT_EQ(names.DsField(0x10), "0x10");
  EXPECT_EQ(names.DsField(4), "0x04");
  EXPECT_EQ(names.Group(0), "default");
  EXPECT_EQ(names.AddressProtocol(3), "kernel_ll");
  EXPECT_EQ(names.AddressProtocol(200), "0xc8");
}

TEST(NameTablesTest, FilesStandOverBuiltInNamesAndEtcOverUsr) {
  std::string root = testing::TempDir() + "ipcrpc-names-XXXXXX";
  ASSERT_NE(mkdtemp(root.data()), nullptr);
  std::filesystem::create_directories(root + "/usr/share/iproute2");
  std::filesystem::create_directories(root + "/etc/iproute2/rt_tables.d");
  std::ofstream(root + "/usr/share/iproute2/rt_tables") << "10 usr\n11 both\n";
  std::ofstream(root + "/etc/iproute2/rt_tables") << "11 etc\n";
  std::ofstream(root + "/etc/iproute2/rt_tables.d/a.conf") << "12 extra\n";
  std::ofstream(root + "/etc/iproute2/rt_tables.d/README") << "13 no\n";
  NameTables names = NameTables::Load(root);
  std::filesystem::remove_all(root);
  EXPECT_EQ(names.Table(10), "usr");
  EXPECT_EQ(names.Table(11), "etc");
  EXPECT_EQ(names.Table(12), "extra");
  EXPECT_EQ(names.Table(13), "13");
  EXPECT_EQ(names.Table(254), "main");
}

TEST(HardwareTypeNameTest, NamesAndNumbers) {
  EXPECT_EQ(HardwareTypeName(1), "ether");
  EXPECT_EQ(HardwareTypeName(772), "loopback");
  EXPECT_EQ(HardwareTypeName(788), "fcfb1");
  EXPECT_EQ(HardwareTypeName(4242), "[4242]");
}

}  // namespace
}  // namespace ipcrpc::monitor

#include "transport/address.h"

#include <array>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "transport/base/nearest.h"
#include "transport/base/strings.h"

namespace ipcrpc {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

std::string ErrorOf(std::string_view text) {
  const absl::StatusOr<Address> address = ParseAddress(text);
  if (address.ok()) return Cat("no error: ", address->ToString());
  EXPECT_EQ(address.status().code(), absl::StatusCode::kInvalidArgument);
  const std::string message(MessageOf(address.status()));
  EXPECT_EQ(message.find('\n'), message.npos) << message;
  return message;
}

TEST(AddressTest, SplitsSchemeRestAndParameters) {
  const absl::StatusOr<Address> address = ParseAddress("unix:/run/a.sock?mode=0666&group=adm");
  ASSERT_TRUE(address.ok()) << address.status();
  EXPECT_EQ(address->scheme, "unix");
  EXPECT_EQ(address->kind, Address::Kind::kPath);
  EXPECT_EQ(address->rest, "/run/a.sock");
  EXPECT_THAT(address->parameters, UnorderedElementsAre(Pair("mode", "0666"), Pair("group", "adm")));
}

TEST(AddressTest, TellsNamesPathsAndAbstractNames) {
  EXPECT_EQ(ParseAddress("shm:monitor")->kind, Address::Kind::kName);
  EXPECT_EQ(ParseAddress("shm:./monitor")->kind, Address::Kind::kPath);
  const Address abstract = *ParseAddress("shm:@a/b:c");
  EXPECT_EQ(abstract.kind, Address::Kind::kAbstract);
  EXPECT_EQ(abstract.rest, "a/b:c");
}

TEST(AddressTest, WithoutASchemeIsAutomatic) {
  for (std::string_view text : {"monitor", "monitor?uid=5:6", "/run/a:b.sock", "@mon", "./x:y"}) {
    EXPECT_EQ(ParseAddress(text)->scheme, "ipc") << text;
  }
}

TEST(AddressTest, ExecTakesEverythingAsItIs) {
  EXPECT_EQ(ParseAddress("exec:prog --a=%zz?x&y")->rest, "prog --a=%zz?x&y");
  EXPECT_THAT(ErrorOf("exec:"), HasSubstr("expected a command"));
}

TEST(AddressTest, SchemesWithTheirOwnRest) {
  EXPECT_EQ(ParseAddress("pipe:3,4")->rest, "3,4");
  EXPECT_EQ(ParseAddress("stdio:")->rest, "");
  EXPECT_EQ(ParseAddress("grpc:localhost:50051")->rest, "localhost:50051");
  EXPECT_THAT(ErrorOf("stdio:x"), HasSubstr("takes nothing"));
  EXPECT_THAT(ErrorOf("socketpair:"), HasSubstr("number of a descriptor"));
}

TEST(AddressTest, PercentStandsForAByte) {
  EXPECT_EQ(ParseAddress("unix:/tmp/a%3fb%25")->rest, "/tmp/a?b%");
  EXPECT_THAT(ErrorOf("unix:/tmp/50%"), AllOf(HasSubstr("written %25"), HasSubstr("position 13")));
  EXPECT_THAT(ErrorOf("unix:/tmp/%00"), HasSubstr("NUL"));
}

TEST(AddressTest, NamesTheNearestScheme) {
  EXPECT_THAT(ErrorOf("unx:monitor"),
              AllOf(HasSubstr("unknown scheme 'unx'"), HasSubstr("did you mean 'unix'?"),
                    HasSubstr("position 1"), HasSubstr("known: shm unix")));
  EXPECT_THAT(ErrorOf("UNIX:monitor"), HasSubstr("did you mean 'unix'?"));
  EXPECT_THAT(ErrorOf("hsm:monitor"), HasSubstr("did you mean 'shm'?"));
  EXPECT_THAT(ErrorOf("telegraph:monitor"), ::testing::Not(HasSubstr("did you mean")));
}

TEST(AddressTest, SaysWhatIsWrongAndWhere) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("empty"));
  EXPECT_THAT(ErrorOf("shm:"), AllOf(HasSubstr("nothing after 'shm:'"), HasSubstr("position 5")));
  EXPECT_THAT(ErrorOf(":x"), HasSubstr("nothing before the colon"));
  EXPECT_THAT(ErrorOf("shm:@"), HasSubstr("nothing after '@'"));
  EXPECT_THAT(ErrorOf("?x=1"), HasSubstr("no name"));
  EXPECT_THAT(ErrorOf(std::string_view("shm:a\0b", 7)),
              AllOf(HasSubstr("NUL"), HasSubstr("position 6"), HasSubstr("a\\x00b")));
  EXPECT_THAT(ErrorOf("shm:a b"), AllOf(HasSubstr("' ' cannot be part"), HasSubstr("position 6")));
  EXPECT_THAT(ErrorOf("shm:.x"), HasSubstr("does not start with '.'"));
  EXPECT_THAT(ErrorOf("unix:/tmp/"), HasSubstr("not a directory"));
  EXPECT_THAT(ErrorOf("shm:" + std::string(65, 'a')), HasSubstr("65 bytes; 64 is the most"));
  EXPECT_THAT(ErrorOf("shm:@" + std::string(108, 'a')), HasSubstr("108 bytes; 107 is the most"));
  EXPECT_THAT(ErrorOf("unix:" + std::string(5000, '/') + "x"), HasSubstr("4095 is the most"));
}

TEST(AddressTest, RefusesBadParameters) {
  EXPECT_THAT(ErrorOf("shm:x?"), HasSubstr("empty parameter; expected key=value after '?'"));
  EXPECT_THAT(ErrorOf("shm:x?a=1&"), HasSubstr("expected key=value after '&'"));
  EXPECT_THAT(ErrorOf("shm:x?mode"), AllOf(HasSubstr("'mode' has no '='"), HasSubstr("position 7")));
  EXPECT_THAT(ErrorOf("shm:x?=1"), HasSubstr("no key"));
  EXPECT_THAT(ErrorOf("shm:x?mode="), HasSubstr("'mode' has no value"));
  EXPECT_THAT(ErrorOf("shm:x?Mode=1"), HasSubstr("'M' in parameter 'Mode'"));
  EXPECT_THAT(ErrorOf("shm:x?a=1&a=2"), AllOf(HasSubstr("'a' is there twice"), HasSubstr("position 11")));
}

TEST(AddressTest, ToStringComesBack) {
  for (std::string_view text : {"shm:monitor", "unix:/a%3fb?x=1%262&y=%25", "unix:@abs%0a", "exec:a b?c",
                                "pipe:3,4", "unix:%40a/b"}) {
    const Address once = *ParseAddress(text);
    EXPECT_EQ(once.ToString(), text);
    const absl::StatusOr<Address> twice = ParseAddress(once.ToString());
    ASSERT_TRUE(twice.ok()) << twice.status();
    EXPECT_EQ(twice->rest, once.rest);
    EXPECT_EQ(twice->kind, once.kind);
    EXPECT_EQ(twice->parameters, once.parameters);
  }
}

TEST(NearestTest, CountsEditsAndSwaps) {
  EXPECT_EQ(EditDistance("", "abc"), 3);
  EXPECT_EQ(EditDistance("abc", "abc"), 0);
  EXPECT_EQ(EditDistance("abc", "acb"), 1);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
  EXPECT_EQ(EditDistance("ABC", "abc"), 0);
}

TEST(NearestTest, OffersOnlyWhatIsNear) {
  constexpr std::array<std::string_view, 3> kWords = {"ListLinks", "ListRoutes", "Watch"};
  EXPECT_EQ(Nearest("LstLink", kWords), "ListLinks");
  EXPECT_EQ(Nearest("wacth", kWords), "Watch");
  EXPECT_EQ(Nearest("Describe", kWords), "");
  EXPECT_EQ(Nearest("", kWords), "");
  EXPECT_EQ(DidYouMean("Wach", kWords), "; did you mean 'Watch'?");
}

}  // namespace
}  // namespace ipcrpc

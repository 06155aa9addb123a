#include "services/monitor/text.h"

#include "gtest/gtest.h"

namespace ipcrpc::monitor {
namespace {

TEST(ValidUtf8Test, LeavesValidTextAlone) {
  for (const char* text : {"", "eth0", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80", "\xed\x9f\xbf", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(ValidUtf8(text), text);
  }
}

TEST(ValidUtf8Test, EscapesTheRest) {
  EXPECT_EQ(ValidUtf8("a\xff" "b"), "a\\xffb");
  EXPECT_EQ(ValidUtf8("\xc3"), "\\xc3");
  EXPECT_EQ(ValidUtf8("\xe2\x82"), "\\xe2\\x82");
  EXPECT_EQ(ValidUtf8("\xc0\x80"), "\\xc0\\x80");
  EXPECT_EQ(ValidUtf8("\xe0\x80\x80"), "\\xe0\\x80\\x80");
  EXPECT_EQ(ValidUtf8("\xed\xa0\x80"), "\\xed\\xa0\\x80");
  EXPECT_EQ(ValidUtf8("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");
  EXPECT_EQ(ValidUtf8("\xf8\x88\x80\x80\x80"), "\\xf8\\x88\\x80\\x80\\x80");
  EXPECT_EQ(ValidUtf8("\x80x"), "\\x80x");
}

}  // namespace
}  // namespace ipcrpc::monitor

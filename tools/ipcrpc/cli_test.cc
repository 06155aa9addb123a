#include <gmock/gmock.h>
#include <google/protobuf/compiler/importer.h>
#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <thread>

#include "tools/ipcrpc/json.h"
#include "tools/ipcrpc/json_input.h"
#include "tools/ipcrpc/output.h"
#include "tools/ipcrpc/target.h"

namespace ipcrpc::cli {
namespace {

using google::protobuf::Message;
using testing::ElementsAre;

std::vector<std::string> Split(JsonSplitter& splitter, bool at_end) {
  std::vector<std::string> values;
  while (std::optional<std::string> value = splitter.Next(at_end)) values.push_back(*value);
  return values;
}

std::vector<std::string> Split(std::string_view text) {
  JsonSplitter splitter;
  splitter.Feed(text);
  return Split(splitter, true);
}

TEST(JsonSplitterTest, ValuesNeedNothingBetweenThem) {
  EXPECT_THAT(Split(R"({"a":1}{"b":2} [3] "x"{} 4 5)"),
              ElementsAre(R"({"a":1})", R"({"b":2})", "[3]", R"("x")", "{}", "4", "5"));
  EXPECT_TRUE(Split("").empty());
  EXPECT_TRUE(Split(" \n\t\r ").empty());
}

TEST(JsonSplitterTest, BracketsInStringsDontCount) {
  EXPECT_THAT(Split(R"({"a":"}\"}"}{'b':'{"'})"), ElementsAre(R"({"a":"}\"}"})", R"({'b':'{"'})"));
  EXPECT_THAT(Split("{\"\\\\\"}{}"), ElementsAre("{\"\\\\\"}", "{}"));
}

TEST(JsonSplitterTest, GivesAValueAsSoonAsItIsComplete) {
  const std::string text = R"( {"a":{"b":"\"}"}} {"c":1})";
  JsonSplitter splitter;
  std::vector<std::string> values;
  for (const char c : text) {
    splitter.Feed(std::string_view(&c, 1));
    for (const std::string& value : Split(splitter, false)) {
      values.push_back(value);
      EXPECT_EQ(c, '}');
    }
  }
  EXPECT_THAT(values, ElementsAre(R"({"a":{"b":"\"}"}})", R"({"c":1})"));
}

TEST(JsonSplitterTest, WhatIsCutOffIsForTheParserToSee) {
  EXPECT_THAT(Split(R"({} {"a":)"), ElementsAre("{}", R"({"a":)"));
  EXPECT_THAT(Split("}{}"), ElementsAre("}", "{}"));
}

TEST(JsonInputTest, TextIsThereAtOnce) {
  auto input = JsonInput::Open(R"({"a":1}{})");
  ASSERT_TRUE(input.ok());
  EXPECT_EQ(*(*input)->Next(), R"({"a":1})");
  EXPECT_EQ(*(*input)->Next(), "{}");
  EXPECT_EQ(*(*input)->Next(), std::nullopt);
  EXPECT_EQ(*(*input)->Next(), std::nullopt);
}

TEST(JsonInputTest, ReadsAFile) {
  const std::string path = testing::TempDir() + "/requests.json";
  FILE* file = std::fopen(path.c_str(), "w");
  ASSERT_NE(file, nullptr);
  std::fputs("{\"a\":\n1}\n{}\n", file);
  std::fclose(file);
  auto input = JsonInput::Open("@" + path);
  ASSERT_TRUE(input.ok());
  EXPECT_EQ(*(*input)->Next(), "{\"a\":\n1}");
  EXPECT_EQ(*(*input)->Next(), "{}");
  EXPECT_EQ(*(*input)->Next(), std::nullopt);
  std::remove(path.c_str());
}

TEST(JsonInputTest, NamesTheFileThatIsNotThere) {
  const auto input = JsonInput::Open("@/no/such/file");
  EXPECT_EQ(View(input.status()), "cannot read /no/such/file: No such file or directory");
}

TEST(JsonInputTest, StopEndsAWaitOnAPipe) {
  const std::string path = testing::TempDir() + "/requests.fifo";
  std::remove(path.c_str());
  ASSERT_EQ(mkfifo(path.c_str(), 0600), 0);
  FILE* keep_open = nullptr;
  std::thread opener([&] { keep_open = std::fopen(path.c_str(), "w"); });
  auto input = JsonInput::Open("@" + path);
  opener.join();
  ASSERT_TRUE(input.ok());
  std::fputs("{}", keep_open);
  std::fflush(keep_open);
  EXPECT_EQ(*(*input)->Next(), "{}") << "not held back until more comes";
  std::thread stopper([&] { (*input)->Stop(); });
  EXPECT_EQ(*(*input)->Next(), std::nullopt);
  stopper.join();
  std::fclose(keep_open);
  std::remove(path.c_str());
}

// Messages of a schema that no code was generated for, as the command has them.
class JsonTest : public testing::Test {
 protected:
  JsonTest() {
    static constexpr char kProto[] = R"(
      syntax = "proto3"; package t;
      message Outer {
        int32 number = 1; Inner inner = 2; repeated Inner inners = 3; map<string, Inner> by_name = 4;
        Colour colour = 5; optional int32 zero = 6; int64 wide = 7;
      }
      message Inner { bool flag = 1; Outer outer = 2; }
      enum Colour { RED = 0; GREEN = 1; })";
    google::protobuf::io::ArrayInputStream stream(kProto, sizeof(kProto) - 1);
    google::protobuf::io::Tokenizer tokenizer(&stream, nullptr);
    google::protobuf::FileDescriptorProto file;
    google::protobuf::compiler::Parser().Parse(&tokenizer, &file);
    file.set_name("t.proto");
    const auto* outer = pool_.BuildFile(file)->FindMessageTypeByName("Outer");
    message_.reset(factory_.GetPrototype(outer)->New());
  }

  std::string ErrorOf(const std::string& json) {
    const absl::Status status = JsonToMessage(json, message_.get());
    EXPECT_FALSE(status.ok()) << json;
    return OneLine(View(status));
  }

  google::protobuf::DescriptorPool pool_;
  google::protobuf::DynamicMessageFactory factory_;
  std::unique_ptr<Message> message_;
};

TEST_F(JsonTest, ThereAndBack) {
  ASSERT_TRUE(
      JsonToMessage(R"({"byName": {"x": {"flag": true}}, "zero": 0, "wide": 5})", message_.get()).ok());
  EXPECT_EQ(*MessageToJson(*message_, JsonForm::kOneLine),
            R"({"byName":{"x":{"flag":true}},"zero":0,"wide":"5"})");
  EXPECT_THAT(*MessageToJson(*message_, JsonForm::kPretty), testing::HasSubstr("\n \"zero\": 0,\n"));
  ASSERT_TRUE(JsonToMessage("{}", message_.get()).ok());
  EXPECT_EQ(*MessageToJson(*message_, JsonForm::kOneLine), "{}") << "overwritten, not merged";
}

TEST_F(JsonTest, UnknownFieldsNameTheNearest) {
  EXPECT_EQ(ErrorOf(R"({"nunber": 1})"), "bad JSON: t.Outer has no field 'nunber'; did you mean 'number'?");
  EXPECT_EQ(ErrorOf(R"({"inner": {"flog": 1}})"),
            "bad JSON: t.Inner has no field 'flog' (in inner); did you mean 'flag'?");
  EXPECT_EQ(ErrorOf(R"({"inners": [{}, {"outer": {"colours": 1}}]})"),
            "bad JSON: t.Outer has no field 'colours' (in inners[1].outer); did you mean 'colour'?");
  EXPECT_EQ(ErrorOf(R"({"byName": {"k": {"flog": 1}}})"),
            "bad JSON: t.Inner has no field 'flog' (in by_name[0].value); did you mean 'flag'?");
  EXPECT_EQ(ErrorOf(R"({"wholly_other": 1})"), "bad JSON: t.Outer has no field 'wholly_other'");
}

TEST_F(JsonTest, WrongValuesNameTheTypeWanted) {
  EXPECT_EQ(ErrorOf(R"({"number": "x"})"), R"x(bad JSON: "x" is no value for number (int32))x");
  EXPECT_EQ(ErrorOf(R"({"number": 5000000000})"), "bad JSON: 5000000000 is no value for number (int32)");
  EXPECT_EQ(ErrorOf(R"({"colour": "GREN"})"),
            R"x(bad JSON: "GREN" is no value for colour (enum t.Colour); did you mean 'GREEN'?)x");
  EXPECT_EQ(ErrorOf(R"({"inner": 5})"), "bad JSON: 5 is no value for inner (message t.Inner)");
}

TEST_F(JsonTest, SyntaxErrorsAreOneLine) {
  EXPECT_EQ(ErrorOf(R"({"number": tru})"), "bad JSON: Unexpected token at: tru}");
  EXPECT_EQ(ErrorOf(R"({"number": 1)"),
            "bad JSON: Unexpected end of string. Expected , or } after key:value pair at: 1");
  EXPECT_EQ(ErrorOf("[1]"), "bad JSON: a message is a JSON object: {…}");
}

TEST(TargetTest, MethodsAndAddressesLookDifferent) {
  for (const char* method : {"pkg.Svc/Name", "/pkg.Svc/Name", "Svc/Name", "a.b.c.D/E_1"}) {
    EXPECT_TRUE(LooksLikeMethod(method)) << method;
  }
  for (const char* other :
       {"shm:monitor", "unix:/run/x", "monitor", "/run/some/sock", "a/b/c", "pkg.Svc", "pkg.Svc/"}) {
    EXPECT_FALSE(LooksLikeMethod(other)) << other;
  }
  EXPECT_TRUE(LooksLikeAddress("shm:monitor"));
  EXPECT_TRUE(LooksLikeAddress("@abstract"));
  EXPECT_TRUE(LooksLikeAddress("/run/x.sock"));
  EXPECT_FALSE(LooksLikeAddress("pkg.Svc"));
}

TEST(TargetTest, TimeoutsAreDurations) {
  EXPECT_EQ(*DeadlineOf(""), Schema::Deadline::max());
  const auto before = std::chrono::system_clock::now();
  EXPECT_GE(*DeadlineOf("1m30s"), before + std::chrono::seconds(90));
  const Schema::Deadline soon = *DeadlineOf("250ms");
  EXPECT_LE(soon, std::chrono::system_clock::now() + std::chrono::milliseconds(250));
  for (const char* wrong : {"5", "-5s", "0s", "soon"}) EXPECT_FALSE(DeadlineOf(wrong).ok()) << wrong;
}

TEST(OutputTest, ErrorsStayOneLineAndTellTheExitCode) {
  EXPECT_EQ(OneLine("a\nb\x1b[1m\n"), "a\\nb\\x1b[1m");
  EXPECT_EQ(Report(absl::OkStatus()), 0);
  EXPECT_EQ(Report(absl::InternalError("x")), kExitToolError);
  EXPECT_EQ(Report(UsageError("x")), kExitUsage);
  EXPECT_EQ(Report(CallFailed(Status(StatusCode::NOT_FOUND, "x"))), 69);
  EXPECT_EQ(View(CallFailed(Status(StatusCode::NOT_FOUND, "x"))), "NOT_FOUND: x");
}

}  // namespace
}  // namespace ipcrpc::cli

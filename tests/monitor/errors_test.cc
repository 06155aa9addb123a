// What a user of the monitor sees who is wrong: one line, with what would be right; tools/ipcrpc/testing has
// the rest.
#include "absl/strings/str_cat.h"
#include "tests/monitor/monitor_test.h"

namespace ipcrpc::e2e {
namespace {

class Errors : public EachScheme {
 protected:
  // The tool's one line for a call of that method with that request.
  static void Expect(const std::string& address, const std::string& method, const std::string& request,
                     int code, const std::string& text) {
    SCOPED_TRACE(absl::StrCat(address, " ", method, " ", request));
    const Outcome outcome = Cli({"call", address, method, "-d", request});
    EXPECT_EQ(outcome.code, code);
    EXPECT_EQ(outcome.out, "");
    EXPECT_EQ(outcome.err.find("ipcrpc: "), 0u) << outcome.err;
    EXPECT_NE(outcome.err.find(text), std::string::npos) << outcome.err << "lacks: " << text;
    EXPECT_EQ(outcome.err.find('\n'), outcome.err.size() - 1) << outcome.err;
  }
};
INSTANTIATE_TEST_SUITE_P(, Errors, testing::Values("shm", "unix"),
                         [](const auto& scheme) { return scheme.param; });

TEST_P(Errors, WrongAddress) {
  auto daemon = StartDaemon({address()});
  const std::string scheme = GetParam();
  Expect(scheme + "x:monitor", kList, "{}", 1, absl::StrCat("did you mean '", scheme, "'?"));
  Expect(scheme + ":monitr", kList, "{}", 1, runtime_dir() + "/monitr.");
  StopDaemon(*daemon);
}

TEST_P(Errors, WrongServiceOrMethod) {
  auto daemon = StartDaemon({address()});
  Expect(address(), "ipcrpc.monitor.v1.NetEvents/Lst", "{}", 1, "did you mean 'List'?");
  Expect(address(), "ipcrpc.monitor.v1.NetEvent/List", "{}", 1,
         "did you mean 'ipcrpc.monitor.v1.NetEvents'?");
  Expect(address(), "ipcrpc.monitor.v2.SystemStatus/Get", "{}", 1,
         "did you mean 'ipcrpc.monitor.v1.SystemStatus'?");
  StopDaemon(*daemon);
}

TEST_P(Errors, WrongFieldOrValue) {
  auto daemon = StartDaemon({address()});
  Expect(address(), kList, R"({"kind":["LINK"]})", 1, "has no field 'kind'; did you mean 'kinds'?");
  Expect(address(), kList, R"({"kinds":["LINKS"]})", 1, "did you mean 'LINK'?");
  Expect(address(), kList, R"({"pageSize":"many"})", 1, R"x("many" is no value for page_size (uint32))x");
  Expect(address(), kWatch, R"({"since_revison":1})", 1, "did you mean");
  StopDaemon(*daemon);
}

TEST_P(Errors, WrongJson) {
  auto daemon = StartDaemon({address()});
  Expect(address(), kList, R"({"kinds":["LINK")", 1, "bad JSON");
  Expect(address(), kList, "kinds", 1, "bad JSON");
  Expect(address(), kList, "{}{}", 1, "takes one message");
  StopDaemon(*daemon);
}

// The daemon's own refusals.
TEST_P(Errors, WrongRequest) {
  auto daemon = StartDaemon({address()});
  Expect(address(), kList, R"({"pageToken":"abc"})", 64 + 3,
         "INVALID_ARGUMENT: page_token 'abc' is not one that");
  Expect(address(), kList, R"({"pageToken":"1.1"})", 64 + 10, "ABORTED: page_token '1.1' has expired");
  Expect(address(), kWatch, R"({"sinceRevision":1})", 64 + 11,
         "OUT_OF_RANGE: since_revision 1 is not in the history");
  Expect(address(), "ipcrpc.monitor.v1.SystemStatus/Watch", R"({"interval":"0.001s"})", 64 + 3,
         "INVALID_ARGUMENT: ");
  Expect(address(), "ipcrpc.monitor.v1.SystemStatus/Get", R"({"sections":[99]})", 64 + 3,
         "INVALID_ARGUMENT: ");
  StopDaemon(*daemon);
}

}  // namespace
}  // namespace ipcrpc::e2e

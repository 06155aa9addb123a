// What one unary call costs each side, as numbers that do not depend on how busy the machine is: instructions, memory asked
// for, system calls, page faults. Bounds of time are for the benchmarks.
//
// The instructions are those of the tests' build (-O1), not of a release; the bounds are close, so that whoever adds to the path
// of every call is told, and whoever takes away from it lowers them.
#include <gtest/gtest.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cstdlib>
#include <ostream>
#include <string>

namespace ipcrpc::bench {
namespace {

constexpr int kCalls = 1000;

struct Output {
  int status;
  std::string text;
};

Output Execute(const std::string& command) {
  Output output = {};
  FILE* const pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return {.status = -1, .text = "popen failed"};
  char line[512];
  while (fgets(line, sizeof line, pipe) != nullptr) output.text += line;
  output.status = pclose(pipe);
  return output;
}

// The number behind `label` in what was printed.
double NumberBehind(const Output& output, const std::string& label) {
  const size_t at = output.text.find(label);
  if (output.status != 0 || at == std::string::npos) {
    ADD_FAILURE() << "status " << output.status << ", no '" << label << "' in: " << output.text;
    return 0;
  }
  return std::strtod(output.text.c_str() + at + label.size(), nullptr);
}

struct Half {
  const char* name;
  double instructions;  // of a call, at most
  double allocations;
};
void PrintTo(const Half& half, std::ostream* out) { *out << half.name; }

class CallCost : public testing::TestWithParam<Half> {};

TEST_P(CallCost, Instructions) {
  const Output output = Execute(std::string("valgrind --tool=callgrind --collect-atstart=no --callgrind-out-file=/dev/null ") + CALL_HALVES +
                            " " + GetParam().name + " " + std::to_string(kCalls));
  const double instructions = NumberBehind(output, "Collected :") / kCalls;
  RecordProperty("instructions_per_call", std::to_string(instructions));
  std::printf("%s: %.0f instructions a call\n", GetParam().name, instructions);
  EXPECT_LE(instructions, GetParam().instructions);
  EXPECT_GE(instructions, 0.95 * GetParam().instructions) << "cheaper than it was: lower the bound";
}

TEST_P(CallCost, AllocationsAndPageFaults) {
  const Output output = Execute(std::string(CALL_HALVES) + " " + GetParam().name + " " + std::to_string(kCalls));
  EXPECT_EQ(NumberBehind(output, "allocations ") / kCalls, GetParam().allocations);
  EXPECT_LE(NumberBehind(output, "faults "), 2) << "pages that were touched for the first time, in all calls";
}

INSTANTIATE_TEST_SUITE_P(Halves, CallCost,
                         testing::Values(Half{"client", 3625, /*the call, which a blocking one has on its stack*/ 1},
                                         Half{"server", 4445, 0}, Half{"guarded", 4530, 0}),
                         [](const auto& half) { return std::string(half.param.name); });

TEST(CallHalves, MakeNoSystemCallButTheDoorbells) {
  const Output output = Execute(std::string(CALL_HALVES) + " client 1000 strict");
  EXPECT_EQ(output.status, 0) << (WIFSIGNALED(output.status) ? "killed for a system call" : output.text);
}

}  // namespace
}  // namespace ipcrpc::bench

// Runs the tests in namespaces of their own, and in a process without other threads.
#include <stdio.h>

#include "gtest/gtest.h"
#include "tests/faults/private_world.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  if (const std::string error = faults::EnterPrivateWorld(); !error.empty()) {
    fprintf(stderr, "%s\n", error.c_str());
    return 1;
  }
  return RUN_ALL_TESTS();
}

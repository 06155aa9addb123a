// Of the tests of the rendezvous; see rendezvous_kit.h.
#include "gtest/gtest.h"
#include "transport/testing/rendezvous_kit.h"

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  return ipcrpc::rendezvous::RunTestsInIpcNamespace();
}

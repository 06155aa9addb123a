// The automatic choice where a sandbox refuses what a transport needs: the next one is taken, and the channel says why.
#include <errno.h>
#include <sys/syscall.h>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipcrpc/log.h"
#include "tests/faults/private_world.h"
#include "tests/faults/processes.h"
#include "transport/testing/refuse_system_call.h"

namespace faults {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Refusal = ipcrpc::TransportInfo::Refusal;

// In a child that is refused the call: 0 when `expect` holds of the channel after a call went through.
template <typename Expect>
int CallWithout(long system_call, int error, const std::string& target, Expect expect) {
  return Child([&] {
           ipcrpc::RefuseSystemCall(system_call, error);
           ipcrpc::SetLogSink([](ipcrpc::LogSeverity, std::string_view) {});
           const auto channel = ipcrpc::CreateChannel(target);
           ipcrpc::ClientContext context;
           context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
           behaviour::Msg response;
           const ipcrpc::Status status = behaviour::Methods::NewStub(channel)->Unary(&context, {}, &response);
           EXPECT_TRUE(status.ok()) << status.error_message();
           expect(channel->GetTransportInfo());
           return ::testing::Test::HasFailure() ? 1 : 0;
         })
      .Wait();
}

TEST(AutomaticChoice, GoesOnWhereMemfdCreateIsRefused) {
  RunningServer server({"shm:sandboxed", "unix:sandboxed"});
  ASSERT_TRUE(server.started());
  for (const int error : {EPERM, ENOSYS}) {
    EXPECT_EQ(CallWithout(SYS_memfd_create, error, "ipc:sandboxed",
                          [](const ipcrpc::TransportInfo& info) {
                            EXPECT_THAT(info.place, StartsWith("unix:"));
                            EXPECT_THAT(info.refused,
                                        ElementsAre(AllOf(Field(&Refusal::transport, "shm"),
                                                          Field(&Refusal::reason, HasSubstr("memfd_create")))));
                          }),
              0);
  }
  EXPECT_EQ(server.Stop(), 0);
}

}  // namespace
}  // namespace faults

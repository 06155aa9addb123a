// Each header by its own name, as sources include them, and what nothing else here uses of them.
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/security/auth_context.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/channel_arguments.h>
#include <grpcpp/support/error_details.h>
#include <grpcpp/support/status.h>
#include <grpcpp/support/status_code_enum.h>
#include <grpcpp/support/string_ref.h>
#include <grpcpp/support/stub_options.h>
#include <grpcpp/support/sync_stream.h>
#include <grpcpp/support/time.h>

#include "fixture.h"

namespace differential {
namespace {

class HeadersTest : public DifferentialTest {};

TEST_F(HeadersTest, OptionsWithoutEffectAreTaken) {
  grpc::ChannelArguments arguments;
  arguments.SetLoadBalancingPolicyName("pick_first");
  arguments.SetServiceConfigJSON("{}");
  arguments.SetUserAgentPrefix("test");
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1);
  arguments.SetString(GRPC_ARG_DEFAULT_AUTHORITY, "x");
  Start([](grpc::ServerBuilder& builder) {
    builder.SetMaxMessageSize(5'000'000);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 1000);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  }, arguments);
  EXPECT_TRUE(Call(Data(4'500'000)).error_code() == StatusCode::RESOURCE_EXHAUSTED) << "at the client, the answer";
  EXPECT_TRUE(Call().ok());
}

TEST_F(HeadersTest, StringRefs) {
  const grpc::string_ref ref("metadata");
  EXPECT_EQ(ref.size(), 8u);
  EXPECT_EQ(ref.length(), 8u);
  EXPECT_FALSE(ref.empty());
  EXPECT_EQ(std::string(ref.begin(), ref.end()), "metadata");
  EXPECT_EQ(std::string(ref.data(), ref.size()), "metadata");
  EXPECT_TRUE(ref == grpc::string_ref("metadata"));
  EXPECT_TRUE(ref != "other");
  EXPECT_TRUE(ref < "other");
  EXPECT_EQ(ref.find('t'), 2u);
  EXPECT_TRUE(ref.starts_with("meta"));
  EXPECT_TRUE(ref.ends_with("data"));
  EXPECT_EQ(ref.substr(4, 2), "da");
}

TEST_F(HeadersTest, PropagationOptionsChain) {
  grpc::PropagationOptions options;
  options.enable_deadline_propagation()
      .disable_deadline_propagation()
      .enable_cancellation_propagation()
      .disable_cancellation_propagation()
      .enable_census_stats_propagation()
      .disable_census_tracing_propagation();
}

}  // namespace
}  // namespace differential

// The standard health service, as the server offers it by itself.
#include <grpcpp/health_check_service_interface.h>

#include "fixture.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace differential {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

class HealthTest : public DifferentialTest {
 protected:
  ~HealthTest() override { StopServer(); }

  void StartWithHealth(bool enabled = true) {
    grpc::EnableDefaultHealthCheckService(enabled);
    Start();
    grpc::EnableDefaultHealthCheckService(false);
    health_ = Health::NewStub(channel_);
  }
  Status Check(const std::string& service, HealthCheckResponse* response) {
    ClientContext context;
    context.set_deadline(In(kLimit));
    HealthCheckRequest request;
    request.set_service(service);
    return health_->Check(&context, request, response);
  }
  HealthCheckResponse::ServingStatus StatusOf(const std::string& service) {
    HealthCheckResponse response;
    EXPECT_TRUE(Check(service, &response).ok()) << service;
    return response.status();
  }

  std::unique_ptr<Health::Stub> health_;
};

TEST_F(HealthTest, IsOffUnlessAskedFor) {
  EXPECT_FALSE(grpc::DefaultHealthCheckServiceEnabled());
  StartWithHealth(false);
  EXPECT_EQ(server_->GetHealthCheckService(), nullptr);
  HealthCheckResponse response;
  EXPECT_EQ(Check("", &response).error_code(), StatusCode::UNIMPLEMENTED);
}

TEST_F(HealthTest, CheckSaysWhatWasSet) {
  StartWithHealth();
  grpc::HealthCheckServiceInterface* const service = server_->GetHealthCheckService();
  ASSERT_NE(service, nullptr);
  EXPECT_EQ(StatusOf(""), HealthCheckResponse::SERVING);
  HealthCheckResponse response;
  EXPECT_EQ(Check("a", &response).error_code(), StatusCode::NOT_FOUND);
  service->SetServingStatus("a", true);
  service->SetServingStatus("b", false);
  EXPECT_EQ(StatusOf("a"), HealthCheckResponse::SERVING);
  EXPECT_EQ(StatusOf("b"), HealthCheckResponse::NOT_SERVING);
  service->SetServingStatus(false);
  EXPECT_EQ(StatusOf("a"), HealthCheckResponse::NOT_SERVING);
  EXPECT_EQ(StatusOf(""), HealthCheckResponse::NOT_SERVING);
  service->SetServingStatus(true);
  EXPECT_EQ(StatusOf("b"), HealthCheckResponse::SERVING);
  service->Shutdown();
  service->SetServingStatus("a", true);
  service->SetServingStatus(true);
  for (const char* name : {"", "a", "b"}) EXPECT_EQ(StatusOf(name), HealthCheckResponse::NOT_SERVING) << name;
}

// Requests whose bytes do not parse: a string that isn't UTF-8.
TEST_F(HealthTest, ARequestThatDoesNotParseIsAnInvalidArgument) {
  StartWithHealth();
  HealthCheckResponse response;
  EXPECT_EQ(Check("\xff\xfe", &response).error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(StatusOf(""), HealthCheckResponse::SERVING);
}

TEST_F(HealthTest, WatchTellsThePresentStatusAndEveryChange) {
  StartWithHealth();
  grpc::HealthCheckServiceInterface* const service = server_->GetHealthCheckService();
  ASSERT_NE(service, nullptr);
  ClientContext server_context, unknown_context;
  HealthCheckRequest request;
  HealthCheckResponse response;
  const auto server = health_->Watch(&server_context, request);
  ASSERT_TRUE(server->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  request.set_service("later");
  const auto unknown = health_->Watch(&unknown_context, request);
  ASSERT_TRUE(unknown->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVICE_UNKNOWN);
  service->SetServingStatus("later", false);
  ASSERT_TRUE(unknown->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  service->SetServingStatus("later", true);
  ASSERT_TRUE(unknown->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::SERVING);
  service->SetServingStatus("", false);
  ASSERT_TRUE(server->Read(&response));
  EXPECT_EQ(response.status(), HealthCheckResponse::NOT_SERVING);
  unknown_context.TryCancel();
  EXPECT_FALSE(unknown->Read(&response));
  EXPECT_EQ(unknown->Finish().error_code(), StatusCode::CANCELLED);
  std::jthread stopper([&] { StopServer(); });
  while (server->Read(&response)) {
  }
  EXPECT_FALSE(server->Finish().ok());
}

}  // namespace
}  // namespace differential

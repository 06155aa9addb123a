// grpc.health.v1.Health over Statuses. Its messages are made at run time from embedded bytes (reflection/protocol.h), so that a
// program may have its own health.pb, or gRPC's, beside it.
#pragma once

#include "ipcrpc/server.h"
#include "rpc/health/statuses.h"

namespace ipcrpc::health {

class HealthService final : public Service {
 public:
  HealthService();

  Statuses& statuses() { return statuses_; }

 private:
  Statuses statuses_;
};

}  // namespace ipcrpc::health

// The standard health service (grpc.health.v1.Health), which a server offers by itself when asked to.
#pragma once

#include <string>

#include "ipcrpc/export.h"

namespace ipcrpc {

// What a server's health service says: Server::GetHealthCheckService(). Lives as long as the server. Thread-safe; never blocks.
// The empty name stands for the server and is SERVING at first; a name that was never set is unknown (Check: NOT_FOUND, Watch:
// SERVICE_UNKNOWN).
class IPCRPC_EXPORT HealthCheckServiceInterface {
 public:
  virtual ~HealthCheckServiceInterface() = default;

  // SERVING or NOT_SERVING, from now on, of that service.
  virtual void SetServingStatus(const std::string& service_name, bool serving) = 0;
  // Of all that were set.
  virtual void SetServingStatus(bool serving) = 0;
  // All are NOT_SERVING for good, also those that are set later.
  virtual void Shutdown() {}
};

// Whether servers that are built from now on have the service. At first they have not.
IPCRPC_EXPORT void EnableDefaultHealthCheckService(bool enable);
IPCRPC_EXPORT bool DefaultHealthCheckServiceEnabled();

}  // namespace ipcrpc

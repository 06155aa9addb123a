#include "rpc/reflection/plugin.h"

#include <atomic>

#include "ipcrpc/ext/proto_server_reflection_plugin.h"
#include "rpc/reflection/reflection_service.h"

namespace ipcrpc::reflection {
namespace {

std::atomic<bool> g_enabled{false};

}  // namespace

void InitProtoReflectionServerBuilderPlugin() { g_enabled.store(true); }

bool Enabled() { return g_enabled.load(); }

std::vector<std::unique_ptr<Service>> MakeServices(std::function<std::vector<std::string>()> service_names) {
  std::vector<std::unique_ptr<Service>> services;
  services.push_back(std::make_unique<ReflectionService>(ReflectionService::Version::kV1, service_names));
  services.push_back(
      std::make_unique<ReflectionService>(ReflectionService::Version::kV1Alpha, service_names));
  return services;
}

}  // namespace ipcrpc::reflection

#include "transport/base/features.h"

#include <cstdlib>
#include <string>

namespace ipcrpc {

bool FeatureAllowed(std::string_view feature) {
  static const std::string disabled = [] {
    const char* value = std::getenv("IPCRPC_DISABLE");
    return std::string(",") + (value == nullptr ? "" : value) + ",";
  }();
  return disabled.find("," + std::string(feature) + ",") == std::string::npos;
}

}  // namespace ipcrpc

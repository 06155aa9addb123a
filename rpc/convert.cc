#include "rpc/convert.h"

#include <string>

namespace ipcrpc::rpc {

Status FromAbsl(const absl::Status& status) {
  return Status(static_cast<StatusCode>(status.code()), std::string(status.message()));
}

}  // namespace ipcrpc::rpc

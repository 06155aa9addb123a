#include "ipcrpc/status.h"

namespace ipcrpc {

const Status Status::OK;
const Status Status::CANCELLED(StatusCode::CANCELLED, "");

}  // namespace ipcrpc

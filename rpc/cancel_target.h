// What a context cancels: a running call.
#pragma once

namespace ipcrpc::internal {

class CancelTarget {
 public:
  virtual void Cancel() = 0;

 protected:
  ~CancelTarget() = default;
};

}  // namespace ipcrpc::internal

// What a context cancels: a running call.
#pragma once

namespace ipcrpc::internal {

class CancelTarget {
 public:
  virtual void Cancel() = 0;

 protected:
  ~CancelTarget() = default;  // nobody owns one as such, but by a shared_ptr that knows better
};

}  // namespace ipcrpc::internal

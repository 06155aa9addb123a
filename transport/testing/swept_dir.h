// A runtime directory of a test that also sweeps what killed peers left in the kernel, by their ledgers in it.
#pragma once

#include "transport/names.h"
#include "transport/testing/temp_dir.h"

namespace ipcrpc {

class SweptRuntimeDir : public TempRuntimeDir {
 public:
  ~SweptRuntimeDir() { SweepDirectory(path()); }
};

}  // namespace ipcrpc

// A directory for the sockets and files of a run, which goes with it.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

#include "bench/process.h"

namespace ipcrpc::bench {

class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "ipcrpc-bench.XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) Fail("cannot make a directory like " + name);
    path_ = name;
  }
  ~ScratchDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace ipcrpc::bench

// A directory that goes with the test, set as the runtime directory of this process and its children.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <string>

namespace ipcrpc {

class TempRuntimeDir {
 public:
  TempRuntimeDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ipcrpc-test-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) abort();
    path_ = pattern;
    if (const char* before = getenv("IPCRPC_RUNTIME_DIR")) before_ = before;
    setenv("IPCRPC_RUNTIME_DIR", path_.c_str(), 1);
  }
  ~TempRuntimeDir() {
    if (before_.empty()) {
      unsetenv("IPCRPC_RUNTIME_DIR");
    } else {
      setenv("IPCRPC_RUNTIME_DIR", before_.c_str(), 1);
    }
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempRuntimeDir(const TempRuntimeDir&) = delete;
  TempRuntimeDir& operator=(const TempRuntimeDir&) = delete;

  const std::string& path() const { return path_; }
  bool empty() const { return std::filesystem::is_empty(path_); }

 private:
  std::string path_;
  std::string before_;
};

}  // namespace ipcrpc

// File descriptors as arguments, for tests: files that are told apart, and which transports pass them.
#pragma once

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "gtest/gtest.h"
#include "ipcrpc/unique_fd.h"

namespace behaviour {

using ipcrpc::UniqueFd;

// Which these are is part of the specification.
inline bool PassesFds(std::string_view scheme) {
  return scheme == "shm" || scheme == "unix" || scheme == "socketpair" || scheme == "inproc";
}

inline UniqueFd FileWith(std::string_view text) {
  UniqueFd file(memfd_create("passed", MFD_CLOEXEC));
  EXPECT_EQ(pwrite(file.get(), text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  return file;
}

inline std::string TextOf(const UniqueFd& file) {
  char text[256];
  const ssize_t got = pread(file.get(), text, sizeof(text), 0);
  EXPECT_GE(got, 0);
  return std::string(text, static_cast<size_t>(got < 0 ? 0 : got));
}

}  // namespace behaviour

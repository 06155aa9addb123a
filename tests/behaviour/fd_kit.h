// File descriptors as arguments, for tests: files that are told apart, and which transports pass them.
#pragma once

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "ipcrpc/status.h"
#include "ipcrpc/unique_fd.h"

namespace behaviour {

using ipcrpc::UniqueFd;

// Which these are is part of the specification.
inline bool PassesFds(std::string_view scheme) {
  return scheme == "shm" || scheme == "unix" || scheme == "socketpair" || scheme == "inproc";
}

// The status of a call whose descriptors could not go because of the transport.
inline void ExpectFdsRefused(const ipcrpc::Status& status, std::string_view scheme) {
  EXPECT_EQ(status.error_code(), ipcrpc::StatusCode::FAILED_PRECONDITION) << status.error_message();
  EXPECT_THAT(status.error_message(), ::testing::HasSubstr("cannot go over"));
  EXPECT_THAT(status.error_message(), ::testing::HasSubstr(std::string(scheme)));
  EXPECT_THAT(status.error_message(), ::testing::HasSubstr("shm, unix"));
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

// What the tests of snapshots have in common.
#pragma once

#include <gmock/gmock.h>

#include <string_view>

#include "ipcrpc/raw_snapshot.h"

namespace ipcrpc {

inline const SnapshotSchema kSchema = {.fingerprint = 7, .type_name = "test.Text", .descriptors = "descriptors"};

inline SnapshotError Publish(RawSnapshotPublisher& publisher, std::string_view text) {
  return publisher.Publish(text.data(), text.size());
}

inline std::string_view Text(const RawSnapshotReader& reader) {
  return {static_cast<const char*>(reader.data()), reader.size()};
}

MATCHER_P(Fails, code, "") {
  *result_listener << "code " << arg.code << ": " << arg.message;
  return arg.code == static_cast<int>(code);
}
MATCHER(Succeeds, "") {
  *result_listener << "code " << arg.code << ": " << arg.message;
  return arg.ok();
}

}  // namespace ipcrpc

// How a reader finds a snapshot that has a name.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "transport/address.h"
#include "transport/shm/mapping.h"
#include "transport/snapshot/segment.h"

namespace ipcrpc::snapshot {

// A name of the runtime directory, or the path of a file. INVALID_ARGUMENT.
absl::StatusOr<Address> ParsePlace(const std::string& text);

// Where a reader looks.
struct ReadPlace {
  std::vector<std::string> paths;
  std::optional<uid_t> believe;  // beside root and us
};
absl::StatusOr<ReadPlace> ParseReadPlace(const std::string& place);

// Which file it is, whatever it is called; all zero when there is none.
struct FileId {
  dev_t device = 0;
  ino_t inode = 0;
  bool operator==(const FileId&) const = default;
};
FileId FileAt(const std::string& path);

// A segment to read, examined: its owner alone may write it, who is to be believed.
struct FoundSegment {
  Mapping memory;
  std::string path;
  FileId file;
  Shape shape;
};
// The first whose writer lives, else the first that there is. `guarded`: against being cut short. NOT_FOUND lists all
// paths tried; other errors: see RawSnapshotReader::Read().
absl::StatusOr<FoundSegment> Find(const ReadPlace& place, bool guarded);

// Whether the process that made a segment lives; `silence` is left alone.
SnapshotWriter WriterOf(const Shape& shape);

}  // namespace ipcrpc::snapshot

// Snapshots at home in files: how the writer puts one at its name, and how readers find it there.
//
// A file is made under another name, filled, and then changes places with what is at its own, so that whoever
// opens it finds it complete. The one before is marked as over, then removed. A writer may die between any
// two of these steps: a file that somebody may read has a name until it is marked, under which the next
// writer, or a sweep, finds it and does the rest. The name's lock (transport/names.h) is the writer's; so one
// that is free has no writer.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/address.h"
#include "transport/base/fd.h"
#include "transport/names.h"
#include "transport/snapshot/segment.h"

namespace ipcrpc::snapshot {

// A place of the writer's: its lock, and the file once it is there. When this goes, readers are told, and
// both go (not in a forked child).
class FileHome {
 public:
  // INVALID_ARGUMENT: bad place or parameter; ALREADY_EXISTS: somebody alive has it, or what is there is not
  // a snapshot; FAILED_PRECONDITION: no runtime directory; PERMISSION_DENIED.
  static absl::StatusOr<std::unique_ptr<FileHome>> Take(const std::string& place);
  ~FileHome();
  FileHome(const FileHome&) = delete;
  FileHome& operator=(const FileHome&) = delete;

  // A file of `size` zeroes, its memory reserved, that nobody can find yet. It stays ours.
  // RESOURCE_EXHAUSTED: no room.
  absl::StatusOr<const UniqueFd*> NewFile(uint64_t size);
  // Puts what NewFile() gave last to the name, and ends what was there.
  absl::Status Place();

  const std::string& path() const { return path_; }

 private:
  FileHome() = default;
  void Drop();  // what NewFile() gave, unplaced

  std::string path_;
  mode_t mode_ = 0600;
  std::optional<gid_t> group_;
  pid_t owner_ = 0;
  std::unique_ptr<NameLock> lock_;
  UniqueFd pending_;  // under the other name
  UniqueFd placed_;   // at its name: a dead writer's at first, then ours
  bool ours_ = false;
  bool registered_ = false;  // among the files of this process
};

// Where a reader looks.
struct ReadPlace {
  std::vector<std::string> paths;
  std::optional<uid_t> believe;  // beside root and us
};
absl::StatusOr<ReadPlace> ParseReadPlace(const std::string& place);

// A file to read, examined: a regular file that its owner alone may write, who is to be believed.
struct FoundFile {
  UniqueFd fd;
  std::string path;
  Shape shape;
};
// The first whose writer lives, else the first that there is. NOT_FOUND lists all paths tried; other errors:
// see RawSnapshotReader::Read().
absl::StatusOr<FoundFile> FindFile(const ReadPlace& place);

// Whether the process that made a segment lives; `silence` is left alone.
SnapshotWriter WriterOf(const Shape& shape);

}  // namespace ipcrpc::snapshot

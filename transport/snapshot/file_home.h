// Snapshots at home in files: how the writer puts one at its name, and how readers find it there.
//
// A file is made under another name, filled, and renamed to its own, so that whoever opens it finds it complete. The
// name's lock (transport/names.h) is the writer's; so one that is free has no writer.
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

// A place of the writer's: its lock, and the file once it is there. Both go when this goes (not in a forked child).
class FileHome {
 public:
  // INVALID_ARGUMENT: bad place or parameter; ALREADY_EXISTS: somebody alive has it, or what is there is not a snapshot;
  // FAILED_PRECONDITION: no runtime directory; PERMISSION_DENIED.
  static absl::StatusOr<std::unique_ptr<FileHome>> Take(const std::string& place);
  ~FileHome();
  FileHome(const FileHome&) = delete;
  FileHome& operator=(const FileHome&) = delete;

  // A file of `size` zeroes, its memory reserved, that nobody can find yet. RESOURCE_EXHAUSTED: no room.
  absl::StatusOr<UniqueFd> NewFile(uint64_t size);
  // Puts what NewFile() gave last to the name, in the place of what is there. A snapshot that a dead writer left is over
  // then; one of our own is the caller's to end.
  absl::Status Place(const UniqueFd& file);
  // Takes the file away, if it is still ours.
  void Remove();

  const std::string& path() const { return path_; }

 private:
  FileHome() = default;

  std::string path_;
  mode_t mode_ = 0600;
  std::optional<gid_t> group_;
  pid_t owner_ = 0;
  std::unique_ptr<NameLock> lock_;
  UniqueFd predecessor_;  // a dead writer's file, until ours is in its place
  dev_t device_ = 0;      // of our file, to remove no other's
  ino_t inode_ = 0;       // 0: not there
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
// The first whose writer lives, else the first that there is. NOT_FOUND lists all paths tried; other errors: see
// RawSnapshotReader::Read().
absl::StatusOr<FoundFile> FindFile(const ReadPlace& place);

// Whether the process that made a segment lives; `silence` is left alone.
SnapshotWriter WriterOf(const Shape& shape);

}  // namespace ipcrpc::snapshot

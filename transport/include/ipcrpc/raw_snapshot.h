// Raw snapshots: the newest state of something, left in shared memory by one process for any number of
// others, which read it without asking anybody. Bytes alone; ipcrpc/snapshot.h has them typed.
//
// A place is a name ("monitor.net": the file monitor.net.snap in the runtime directory) or a path with a
// slash, and parameters: ?mode=0644&group=adm where it is made (0600 when left out; nobody else may write),
// ?uid=NAME where it is read (a further owner to believe, beside root and oneself).
//
// ?home= where it is made says in what memory: `file`, that file itself, when left out; `posix`, an object of /dev/shm; or
// `sysv`, a System V segment. The file then says which, so readers look for all of them in the same way. `memfd` is
// sealed memory without a name or a file, for readers that are handed a descriptor.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ipcrpc/export.h"
#include "ipcrpc/unique_fd.h"

namespace ipcrpc {

// What went wrong. `code` is the number of an ipcrpc::StatusCode; 0 when nothing did.
struct SnapshotError {
  int code = 0;
  std::string message{};

  bool ok() const { return code == 0; }
};

// What the bytes of a snapshot are. Travels with it, so that a reader without the types can make sense of
// them.
struct SnapshotSchema {
  uint64_t fingerprint = 0;
  std::string type_name{};  // "pkg.Message"
  std::string
      descriptors{};  // google.protobuf.FileDescriptorSet, serialised; what is imported before who imports it
};

// The writing side. Nobody can be at one name twice. Made at the first Publish(); when this is destroyed the
// file is removed and its readers see that it is over. After fork() it belongs to the parent alone.
// Thread-safe.
class IPCRPC_EXPORT RawSnapshotPublisher {
 public:
  RawSnapshotPublisher(std::string place, SnapshotSchema schema);
  ~RawSnapshotPublisher();
  RawSnapshotPublisher(const RawSnapshotPublisher&) = delete;
  RawSnapshotPublisher& operator=(const RawSnapshotPublisher&) = delete;

  // Replaces what readers see, and wakes those that wait. Never waits for a reader. A larger message than any
  // before may need a new file, which readers find by themselves. ALREADY_EXISTS: another process has the
  // name; INVALID_ARGUMENT: bad place; FAILED_PRECONDITION: no runtime directory, or in a forked child;
  // PERMISSION_DENIED; RESOURCE_EXHAUSTED: no memory, or more than 256 MiB. What was there stays.
  SnapshotError Publish(const void* data, size_t size);

  // Tells readers that the writer lives. Publish() does, too; between publications once a second is right. No
  // system call.
  void Beat();

  // The file, once it is made; empty where there is none (home=memfd).
  std::string path() const;
  // What its place begins with: "weather" of "weather?home=memfd".
  std::string name() const;
  const SnapshotSchema& schema() const;

  // A descriptor of the memory that is written now, to be handed to readers: they can map it, and neither write to it nor
  // change its size. Invalid unless home=memfd, and before the first Publish(). When the memory is outgrown, its readers are
  // told, and have to be handed the next.
  UniqueFd Share() const;
  // Copies what was published last, and says its number; 0: nothing is, or it was overwritten as often as it was tried.
  uint64_t CopyLatest(std::string* message) const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

// Somebody who hands snapshots out, for readers that look for none at a place: SnapshotReader has one that asks a server.
class IPCRPC_EXPORT SnapshotSource {
 public:
  struct Answer {
    SnapshotSchema schema{};  // without descriptors, when by value
    UniqueFd memory{};        // what RawSnapshotPublisher::Share() gave; else
    std::string path{};       // the file where it is. By value neither, but
    uint64_t revision = 0;
    std::string message{};  // of that number, empty when it is the one asked with
  };

  virtual ~SnapshotSource();

  // Blocks until it knows. `by_value`: not where it is, but what is in it, unless that is revision `known`. Errors are
  // those of RawSnapshotReader::Read(); FAILED_PRECONDITION and RESOURCE_EXHAUSTED, when not by value: it can be told by value.
  virtual SnapshotError Ask(bool by_value, uint64_t known, Answer* answer) = 0;
  // For messages.
  virtual std::string name() const = 0;
};

struct SnapshotReaderOptions {
  // Survive a file that is cut short under us (DATA_LOSS instead of SIGBUS). Takes the process's SIGBUS
  // handler while something is mapped; signals that are not ours go to the one before.
  bool guard_sigbus = true;
  // When the writer has not said for so long that it lives, Read() looks whether it does, and gives
  // UNAVAILABLE if not. It costs a look at the clock for each Read(). 0: Read() never asks.
  std::chrono::nanoseconds max_silence{0};
  // Refuse another schema than the expected one, not only another type name. Messages of one type understand
  // one another across versions, so this is for those who want to know.
  bool same_schema_only = false;
};

// The process that writes a snapshot.
struct SnapshotWriter {
  enum class State {
    kAlive,
    kDead,
    kInvisible,  // in another PID namespace: judge by `silence`
  };
  State state = State::kDead;
  pid_t pid = 0;
  std::chrono::nanoseconds silence{0};  // since it last said that it lives
};

// The reading side. By one thread at a time. Maps the file at the first Read() and finds its successor when
// it is replaced; any other Read() makes no system call.
class IPCRPC_EXPORT RawSnapshotReader {
 public:
  // `expected`: with a type name, other types are refused.
  explicit RawSnapshotReader(std::string place, SnapshotReaderOptions options = {},
                             SnapshotSchema expected = {});
  // Asks for the memory at the first Read(), and when it has been outgrown. Where memory cannot be had, or 8 attempts
  // at reading it failed, asks for the message: then each Read() asks, Changed() is always true, and WaitForChange() asks every
  // 100 ms. When the writer is found dead, asks again.
  explicit RawSnapshotReader(std::unique_ptr<SnapshotSource> source, SnapshotReaderOptions options = {},
                             SnapshotSchema expected = {});
  ~RawSnapshotReader();
  RawSnapshotReader(const RawSnapshotReader&) = delete;
  RawSnapshotReader& operator=(const RawSnapshotReader&) = delete;

  // Whether there is something else than Read() gave last: one load.
  bool Changed() const { return latest_->load(std::memory_order_acquire) != revision_; }

  // Brings data() up to date, or leaves it as it was.
  // NOT_FOUND: no such snapshot, or its writer has stopped (the message lists the paths tried);
  // PERMISSION_DENIED: may not be read, or is not to be believed; FAILED_PRECONDITION: not a snapshot, or of
  // another type or layout; ABORTED: the writer was faster than 8 attempts; DATA_LOSS: the file was cut short
  // or is not well-formed; UNAVAILABLE: its writer is dead (max_silence).
  SnapshotError Read();

  // What Read() copied last: until the next Read(). Aligned to 8.
  const void* data() const { return data_; }
  size_t size() const { return size_; }
  // Its number, 0 before the first; grows, also from one writer to the next.
  uint64_t revision() const { return revision_; }

  // Sleeps until Changed(). REQUIRES: a Read() that went well. DEADLINE_EXCEEDED; UNAVAILABLE: its writer
  // died, which is seen within a second.
  SnapshotError WaitForChange(std::chrono::steady_clock::time_point deadline);

  // Asks the system about the writer of what was read last; kInvisible, of no pid, where that came by value.
  SnapshotWriter writer() const;
  // Of what was read last. The path is the name of the source where there is no file.
  const SnapshotSchema& schema() const;
  const std::string& path() const;

 private:
  struct State;
  const std::unique_ptr<State> state_;
  const std::atomic<uint64_t>* latest_;
  uint64_t revision_ = 0;
  const void* data_ = nullptr;
  size_t size_ = 0;
};

// The names of the snapshots in the directories where readers look, in ascending order.
IPCRPC_EXPORT std::vector<std::string> ListSnapshots();

}  // namespace ipcrpc

// Snapshots: the newest message of some type, left in shared memory by one process for any number of others.
// Reading it is no call: an unchanged one costs one load, a changed one a copy and a parse, and neither a
// system call.
//
//   ipcrpc::SnapshotPublisher<Weather> publisher("weather?mode=0644");
//   publisher.Publish(weather);                          // in the daemon, whenever it changes
//   publisher.Beat();                                    // once a second, so that readers hear that it lives
//
//   ipcrpc::SnapshotReader<Weather> reader("weather");
//   if (const Weather* now = reader.Read()) ...          // anywhere else; else reader.status() says why not
//
//   ipcrpc::SnapshotReader<Weather> reader(channel, "weather");   // of a daemon that has a SnapshotService: no name on disk
//
// Places, options and errors: ipcrpc/raw_snapshot.h. `ipcrpc snapshot weather` prints it.
#pragma once

#include <google/protobuf/message.h>

#include <chrono>
#include <climits>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "ipcrpc/channel.h"
#include "ipcrpc/export.h"
#include "ipcrpc/raw_snapshot.h"
#include "ipcrpc/status.h"

namespace ipcrpc {

// What a snapshot of messages of this type says of itself. The fingerprint is a hash of the type and of all
// that its fields reach.
IPCRPC_EXPORT SnapshotSchema SnapshotSchemaOf(const google::protobuf::Descriptor& type);

// Asks the ipcrpc.v1.Snapshots of a server (ipcrpc/snapshot_service.h) for the snapshot of that name. Each question is a call of
// 5 s at most, whose errors are the reader's: UNAVAILABLE when the server is not there, UNIMPLEMENTED when it hands none out.
IPCRPC_EXPORT std::unique_ptr<SnapshotSource> MakeSnapshotSource(std::shared_ptr<ChannelInterface> channel, std::string name);

namespace internal {
inline Status ToStatus(SnapshotError error) {
  return error.ok() ? Status() : Status(static_cast<StatusCode>(error.code), std::move(error.message));
}
}  // namespace internal

// One for each place and process; see RawSnapshotPublisher. Beat() by any thread, Publish() by one at a time.
template <typename T>
class SnapshotPublisher {
  static_assert(std::is_base_of_v<google::protobuf::Message, T>, "a snapshot holds a protobuf message");

 public:
  explicit SnapshotPublisher(std::string place)
      : raw_(std::move(place), SnapshotSchemaOf(*T::descriptor())) {}

  Status Publish(const T& message) {
    const size_t size = message.ByteSizeLong();
    if (size > INT_MAX)
      return Status(StatusCode::RESOURCE_EXHAUSTED, "the message is too large for a snapshot");
    if (bytes_.size() < size) bytes_.resize(size);
    message.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(bytes_.data()));
    return internal::ToStatus(raw_.Publish(bytes_.data(), size));
  }

  void Beat() { raw_.Beat(); }
  // The file, once something is published; empty with home=memfd.
  std::string path() const { return raw_.path(); }
  const RawSnapshotPublisher& raw() const { return raw_; }

 private:
  RawSnapshotPublisher raw_;
  std::string bytes_;
};

// By one thread at a time; see RawSnapshotReader.
template <typename T>
class SnapshotReader {
  static_assert(std::is_base_of_v<google::protobuf::Message, T>, "a snapshot holds a protobuf message");

 public:
  explicit SnapshotReader(std::string place, SnapshotReaderOptions options = {})
      : raw_(std::move(place), options, SnapshotSchemaOf(*T::descriptor())),
        asks_(options.max_silence.count() > 0) {}
  // The server's snapshot of that name: its first Read() makes a call and maps what it is handed; calls follow only when the
  // message has outgrown that, when the writer is found dead, or where memory cannot be handed out (each Read() then).
  SnapshotReader(std::shared_ptr<ChannelInterface> channel, std::string name, SnapshotReaderOptions options = {})
      : raw_(MakeSnapshotSource(std::move(channel), std::move(name)), options, SnapshotSchemaOf(*T::descriptor())),
        asks_(options.max_silence.count() > 0) {}

  // The newest message, which stays as it is until another Read() gives a newer one. Null: see status().
  const T* Read() {
    if (!raw_.Changed() && !asks_ && parsed_) [[likely]]
      return current_;
    return ReadChanged();
  }
  // Whether Read() has something else to give than the last time: one load. Where it asks a server each time, always.
  bool Changed() const { return raw_.Changed(); }
  // Why Read() gave null.
  const Status& status() const { return status_; }

  // What Read() gave last, whatever became of its writer since. Null before.
  const T* last() const { return revision_ == 0 ? nullptr : current_; }
  uint64_t revision() const { return revision_; }

  // Sleeps until Read() has something new; see RawSnapshotReader.
  Status WaitForChange(std::chrono::steady_clock::time_point deadline) {
    return internal::ToStatus(raw_.WaitForChange(deadline));
  }

  SnapshotWriter writer() const { return raw_.writer(); }
  const std::string& path() const { return raw_.path(); }

 private:
  const T* ReadChanged() {
    status_ = internal::ToStatus(raw_.Read());
    if (status_.ok() && raw_.revision() != revision_) Parse();
    parsed_ = status_.ok();
    return parsed_ ? current_ : nullptr;
  }

  void Parse() {
    if (!spare_->ParseFromArray(raw_.data(), static_cast<int>(raw_.size()))) {
      status_ = Status(StatusCode::DATA_LOSS,
                       raw_.path() + ": what is published is no " + T::descriptor()->full_name());
      return;
    }
    std::swap(current_, spare_);
    revision_ = raw_.revision();
  }

  RawSnapshotReader raw_;
  const bool asks_;
  bool parsed_ = false;  // the last Read() went well
  uint64_t revision_ = 0;
  T messages_[2];  // a message keeps its memory, so that parsing the next allocates little
  T* current_ = &messages_[0];
  T* spare_ = &messages_[1];
  Status status_;
};

}  // namespace ipcrpc

// Protobuf's large fields without its memcpy. glibc 2.36 copies 2 KiB and more by `rep movsb` up to about the size of the
// second-level cache, which falls to 2-4 GB/s, from 50, where the target lies a few bytes behind the source in its page
// (transport/base/copy.h): a matter of luck, as a ring's offsets and malloc's are what they are. So a field that is written is
// handed to us to copy; one that is read is handed out in pieces that are too short for it.
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream.h>

#include <algorithm>
#include <cstring>

#include "ipcrpc/internal/message_codec.h"
#include "transport/base/copy.h"

namespace ipcrpc::internal {
namespace {

namespace io = google::protobuf::io;

// What protobuf is given to write to at once: fields that do not fit come to WriteAliasedRaw().
constexpr size_t kWindow = 1024;
// What it is given to read: with the few bytes that it keeps of the one before, each copy is shorter than 2 KiB.
constexpr int kReadWindow = 2000;

class OutputWindows final : public io::ZeroCopyOutputStream {
 public:
  explicit OutputWindows(std::span<std::byte> room) : at_(room.data()), end_(at_ + room.size()) {}
  OutputWindows(MessageSink& sink, size_t size) : sink_(&sink), left_(size) {}

  bool Next(void** data, int* size) override {
    if (!Refill()) return false;
    *data = at_;
    *size = static_cast<int>(std::min<size_t>(end_ - at_, kWindow));
    at_ += *size;
    written_ += *size;
    return true;
  }
  void BackUp(int count) override {
    at_ -= count;
    written_ -= count;
  }
  int64_t ByteCount() const override { return written_; }
  bool AllowsAliasing() const override { return true; }
  bool WriteAliasedRaw(const void* data, int size) override {
    const auto* from = static_cast<const std::byte*>(data);
    for (size_t left = static_cast<size_t>(size); left != 0;) {
      if (!Refill()) return false;
      const size_t piece = std::min<size_t>(end_ - at_, left);
      CopyBytes(at_, from, piece);
      at_ += piece;
      from += piece;
      left -= piece;
    }
    written_ += size;
    return true;
  }

  // The message had become shorter since its size was asked for: somebody changes it meanwhile. No old bytes go out.
  void Finish() {
    while (Refill()) {
      std::memset(at_, 0, end_ - at_);
      at_ = end_;
    }
  }

 private:
  bool Refill() {
    if (at_ != end_) return true;
    if (left_ == 0) return false;
    const std::span<std::byte> room = sink_->Next();
    at_ = room.data();
    end_ = at_ + room.size();
    left_ -= room.size();
    return true;
  }

  MessageSink* const sink_ = nullptr;
  size_t left_ = 0;  // that the sink has still to give
  std::byte* at_ = nullptr;
  std::byte* end_ = nullptr;
  int64_t written_ = 0;
};

class InputWindows final : public io::ZeroCopyInputStream {
 public:
  InputWindows(const std::byte* data, int size) : data_(data), size_(size) {}

  bool Next(const void** data, int* size) override {
    if (at_ == size_) return false;
    *data = data_ + at_;
    *size = std::min(size_ - at_, kReadWindow);
    at_ += *size;
    return true;
  }
  void BackUp(int count) override { at_ -= count; }
  bool Skip(int count) override {
    const bool enough = count <= size_ - at_;
    at_ = enough ? at_ + count : size_;
    return enough;
  }
  int64_t ByteCount() const override { return at_; }

 private:
  const std::byte* const data_;
  const int size_;
  int at_ = 0;
};

void Write(const google::protobuf::MessageLite& message, OutputWindows& windows) {
  {
    io::CodedOutputStream coded(&windows);
    coded.EnableAliasing(true);
    message.SerializeWithCachedSizes(&coded);
  }
  windows.Finish();
}

}  // namespace

void WriteLarge(const google::protobuf::MessageLite& message, std::span<std::byte> out) {
  OutputWindows windows(out);
  Write(message, windows);
}

void WriteLarge(const google::protobuf::MessageLite& message, MessageSink& sink, size_t size) {
  OutputWindows windows(sink, size);
  Write(message, windows);
}

void CopyLargeMessage(void* to, const void* from, size_t size) {
  CopyBytes(static_cast<std::byte*>(to), static_cast<const std::byte*>(from), size);
}

bool ParseLarge(google::protobuf::MessageLite& message, const std::byte* data, int size) {
  InputWindows windows(data, size);
  // Bounded, so that no field can claim, and have memory reserved for, more than there is.
  return message.ParseFromBoundedZeroCopyStream(&windows, size);
}

}  // namespace ipcrpc::internal

// A server's end of a connection: frames in any order, with memory that is shown and messages that refer to it. Nothing that a client
// sends ends more than its own connection, and what it has shown is not kept.
//
// An input is a row of steps: a byte that says which, two of length, and so many bytes of it.
//   0  a frame, as it is
//   1  memory is shown: its entry. Which it really is, is the step by six: a pool, sealed, not sealed, no memory
//   2  a message of stream 1 that refers: its references
//   3  a message with its bytes, behind one byte of flags
//   4  a call of a method begins, as stream 1, 2, …
//   5  the server's frames are taken
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ipcrpc/generic/callback_generic_service.h"
#include "ipcrpc/ipcrpc.h"
#include "ipcrpc/runtime.h"
#include "rpc/frame.h"
#include "transport/base/clock.h"
#include "transport/fd_queue.h"
#include "transport/link.h"
#include "transport/scheme.h"

namespace {

using namespace ipcrpc::rpc;  // NOLINT: all of its frames
using ipcrpc::Link;
using ipcrpc::UniqueFd;

constexpr char kAddress[] = "inproc:connection-fuzz";
constexpr uint32_t kMemoryBytes = 64 * 1024;
constexpr int kMostSteps = 64;

void Require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

// Reads every byte of each message, and keeps the last one of its call.
class Reads final : public ipcrpc::CallbackGenericService {
 public:
  ipcrpc::ServerGenericBidiReactor* CreateReactor(ipcrpc::GenericCallbackServerContext*) override { return new Reactor; }

 private:
  class Reactor final : public ipcrpc::ServerGenericBidiReactor {
   public:
    Reactor() { StartRead(&in_); }
    void OnReadDone(bool ok) override {
      if (!ok) return Finish(ipcrpc::Status::OK);
      std::vector<ipcrpc::Slice> slices;
      Require(in_.Dump(&slices).ok(), "a message that is none");
      uint64_t sum = 0;
      for (const ipcrpc::Slice& slice : slices) {
        for (const uint8_t byte : slice) sum += byte;
      }
      const ipcrpc::Slice answer(&sum, sizeof(sum));
      out_ = ipcrpc::ByteBuffer(&answer, 1);
      StartWrite(&out_);
    }
    void OnWriteDone(bool ok) override {
      if (!ok) return Finish(ipcrpc::Status::OK);
      StartRead(&in_);
    }
    void OnDone() override { delete this; }

   private:
    ipcrpc::ByteBuffer in_, out_;
  };
};

class Service {
 public:
  Service() : runtime_(ipcrpc::Runtime::WithoutThreads()) {
    ipcrpc::ServerBuilder builder;
    builder.AddListeningPort(kAddress).SetRuntime(runtime_);
    builder.RegisterCallbackGenericService(&reads_);
    server_ = builder.BuildAndStart();
    Require(server_ != nullptr, "the server does not start");
  }
  void Run() {
    for (int i = 0; i < 4; ++i) runtime_->RunOnce();
  }

 private:
  const std::shared_ptr<ipcrpc::Runtime> runtime_;
  Reads reads_;
  std::unique_ptr<ipcrpc::Server> server_;
};

// Good and bad memory to show.
UniqueFd Memfd(int seals) {
  UniqueFd fd(memfd_create("fuzzed", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  const std::string bytes(kMemoryBytes, 'm');
  Require(pwrite(fd.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()), "no memory");
  Require(fcntl(fd.get(), F_ADD_SEALS, seals) == 0, "memory cannot be sealed");
  return fd;
}
int MemoryNumber(size_t which) {
  constexpr int kFixed = F_SEAL_SHRINK | F_SEAL_GROW;
  static const auto* const all = new std::array<UniqueFd, 4>{Memfd(kFixed | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL), Memfd(kFixed | F_SEAL_WRITE),
                                                             Memfd(kFixed), UniqueFd(open("/dev/null", O_RDONLY | O_CLOEXEC))};
  return (*all)[which % all->size()].get();
}

class Ignores final : public ipcrpc::FrameSink {
 public:
  Verdict OnFrame(std::span<const std::byte>, bool) override { return Verdict::kConsumed; }
  void OnSpace() override {}
};

class Client {
 public:
  explicit Client(Service& service) : service_(service), link_(std::move(*ipcrpc::Connect(*ipcrpc::ParseAddress(kAddress), ipcrpc::kNoDeadline))) {
    HelloBody hello;
    hello.features = kTakesReferences;
    Send({.type = FrameType::kHello}, {}, {reinterpret_cast<const char*>(&hello), sizeof(hello)});
    service_.Run();
  }
  ~Client() {
    link_.reset();
    service_.Run();
  }

  void SendBytes(std::string_view frame, int descriptor = -1) {
    if (frame.empty() || frame.size() > link_->max_frame_bytes()) return;
    std::byte* at = link_->Reserve(static_cast<uint32_t>(frame.size()), Link::Class::kData);
    if (at == nullptr) {
      Take();
      at = link_->Reserve(static_cast<uint32_t>(frame.size()), Link::Class::kData);
      if (at == nullptr) return;
    }
    if (descriptor >= 0) {
      const UniqueFd fd = UniqueFd::DuplicateOf(descriptor);
      if (link_->SendFds(parcels_ + 1, {&fd, 1}) != Link::FdSending::kSent) return;
      ++parcels_;
    }
    std::memcpy(at, frame.data(), frame.size());
    link_->Commit(static_cast<uint32_t>(frame.size()));
    link_->Flush();
  }
  void Send(FrameHeader header, std::string_view block, std::string_view message, int descriptor = -1) {
    header.block_bytes = static_cast<uint32_t>(block.size());
    if (descriptor >= 0) {
      header.fd_count = 1;
      header.fd_sequence = parcels_ + 1;
    }
    std::string frame(reinterpret_cast<const char*>(&header), sizeof(header));
    SendBytes(frame.append(block).append(message), descriptor);
  }
  void Show(size_t which, std::string_view body) {
    std::string block;
    AppendEntry(block, EntryKind::kMemory, {}, body);
    Send({.type = FrameType::kMemory, .number = ++memories_}, block, {}, MemoryNumber(which));
  }
  void Refer(std::string_view bodies) {
    std::string block;
    uint32_t bytes = 0;
    for (; bodies.size() >= sizeof(ReferenceBody); bodies.remove_prefix(sizeof(ReferenceBody))) {
      ReferenceBody body;
      std::memcpy(&body, bodies.data(), sizeof(body));
      bytes += body.bytes;
      AppendEntry(block, EntryKind::kReference, {}, bodies.substr(0, sizeof(body)));
    }
    Send({.type = FrameType::kMessage, .flags = kHasMessage | kFirstChunk | kRefers, .stream = 1,
          .message_bytes = bytes + static_cast<uint32_t>(bodies.size())}, block, bodies);
  }
  void Say(uint8_t flags, std::string_view bytes) {
    Send({.type = FrameType::kMessage, .flags = static_cast<uint8_t>(flags | kHasMessage), .stream = 1,
          .message_bytes = static_cast<uint32_t>(bytes.size())}, {}, bytes);
  }
  void Begin(std::string_view more) {
    std::string block;
    AppendEntry(block, EntryKind::kMethodName, {}, "/fuzz.Reads/All");
    block.append(more);
    Send({.type = FrameType::kBegin, .stream = ++streams_}, block, {});
  }
  // False: the server has hung up.
  bool Take() {
    service_.Run();
    Ignores sink;
    Link::Progress progress;
    do {
      progress = link_->Poll(sink, 64);
    } while (progress == Link::Progress::kFrames);
    link_->DropFds();
    return progress != Link::Progress::kClosed;
  }

 private:
  Service& service_;
  std::unique_ptr<Link> link_;
  uint32_t parcels_ = 0, memories_ = 0, streams_ = 0;
};

// A client that keeps to the protocol is served.
void ExpectServed(Service& service) {
  Client client(service);
  client.Begin({});
  client.Show(1, {"\x00\x00\x01\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00", 16});
  client.Say(kFirstChunk, "still there?");
  Require(client.Take(), "the server has hung up on somebody else");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static auto* const service = new Service;
  {
    Client client(*service);
    std::string_view rest(reinterpret_cast<const char*>(data), size);
    for (int step = 0; step < kMostSteps && rest.size() >= 3; ++step) {
      const auto what = static_cast<uint8_t>(rest[0]);
      uint16_t length;
      std::memcpy(&length, rest.data() + 1, sizeof(length));
      rest.remove_prefix(3);
      const std::string_view bytes = rest.substr(0, length);
      rest.remove_prefix(bytes.size());
      switch (what % 6) {
        case 0: client.SendBytes(bytes); break;
        case 1: client.Show(what / 6, bytes); break;
        case 2: client.Refer(bytes); break;
        case 3: client.Say(bytes.empty() ? uint8_t{0} : static_cast<uint8_t>(bytes[0]), bytes.substr(std::min<size_t>(1, bytes.size()))); break;
        case 4: client.Begin(bytes); break;
        default:
          if (!client.Take()) return 0;
      }
    }
    client.Take();
  }
  ExpectServed(*service);
  return 0;
}

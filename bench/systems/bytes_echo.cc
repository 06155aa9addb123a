// Payloads as bytes, without protobuf: from private memory, from blocks of a pool, or written once. Each side reads what came and
// writes what it answers. Variants:
//   copied      from private memory
//   lent        from a pool
//   handed      the same, of which 64 bytes are written and read, whatever its size
//   registered  the answer is memory that was written once; the request is small
#include <ipcrpc/bytes_payload.h>
#include <ipcrpc/generic/generic_stub.h>
#include <ipcrpc/ipcrpc.h>
#include <ipcrpc/memory_pool.h>
#include <ipcrpc/registered_memory.h>

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "bench/systems/echo_system.h"
#include "bench/systems/payload.h"
#include "echo.ipcrpc.pb.h"

namespace ipcrpc::bench {
namespace {

enum class Memory { kCopied, kLent, kHanded, kRegistered };

constexpr char kMethod[] = "/ipcrpc.bench.EchoService/Exchange";
constexpr size_t kPoolBlocks = 8;
constexpr size_t kRequestBytes = 64;

std::span<const std::byte> BytesOf(const Slice& slice) { return {reinterpret_cast<const std::byte*>(slice.begin()), slice.size()}; }

// What one side sends.
class Sender {
 public:
  explicit Sender(Memory memory) : memory_(memory) {}

  Slice Write(size_t bytes, uint64_t id) {
    if (memory_ == Memory::kCopied || bytes < kTouched * 2) {
      private_.resize(std::max(private_.size(), bytes));
      WriteWords({private_.data(), bytes}, id);
      return Slice(private_.data(), bytes, Slice::STATIC_SLICE);
    }
    if (memory_ == Memory::kRegistered) return Registered(bytes);
    if (pool_ == nullptr || pool_->size() < kPoolBlocks * bytes) {
      if (const Status status = MemoryPool::Create(kPoolBlocks * bytes, &pool_); !status.ok()) Fail(status.error_message());
    }
    Loan loan = pool_->Take(bytes);
    WriteWords(loan.bytes().first(memory_ == Memory::kHanded ? kTouched : bytes), id);
    return std::move(loan).Seal();
  }

 private:
  const Slice& Registered(size_t bytes) {
    if (registered_.size() == bytes) return registered_;
    const auto fill = [](std::span<std::byte> out) { WriteWords(out, 0); };
    if (const Status status = RegisterMemory(bytes, fill, &registered_); !status.ok()) Fail(status.error_message());
    return registered_;
  }

  const Memory memory_;
  std::vector<std::byte> private_;
  std::unique_ptr<MemoryPool> pool_;
  Slice registered_;
};

void Check(const Slice& payload, Memory memory, size_t bytes, uint64_t id) {
  if (payload.size() != bytes) Fail("a payload of another size");
  CheckWords(BytesOf(payload).first(memory == Memory::kHanded ? kTouched : bytes), id);
}

class Handler final : public EchoService::WithRawCallbackMethod_Exchange<EchoService::Service> {
 public:
  explicit Handler(Memory memory) : memory_(memory), sender_(memory) {}

  ServerUnaryReactor* Exchange(CallbackServerContext* context, const ByteBuffer* request, ByteBuffer* response) override {
    BytesPayload payload;
    if (const Status status = BytesPayload::Parse(*request, &payload); !status.ok()) Fail(status.error_message());
    const uint64_t id = FirstWord(payload.data.begin());
    size_t bytes = payload.data.size();
    if (memory_ == Memory::kRegistered) {
      bytes = reinterpret_cast<const uint64_t*>(payload.data.begin())[1];
    } else {
      Check(payload.data, memory_, bytes, id);
    }
    *response = BytesPayload{sender_.Write(bytes, id)}.ToByteBuffer();
    auto* const reactor = context->DefaultReactor();
    reactor->Finish(Status::OK);
    return reactor;
  }

 private:
  const Memory memory_;
  Sender sender_;  // one client calls, one call at a time
};

class BytesConnection final : public Connection {
 public:
  BytesConnection(const std::string& address, Memory memory, size_t bytes)
      : memory_(memory), bytes_(bytes), sender_(memory), stub_(CreateCustomChannel(address, InsecureChannelCredentials(), {})) {}

  void Echo(uint64_t id) override {
    BytesPayload request, response;
    if (memory_ == Memory::kRegistered) {
      const uint64_t words[kRequestBytes / sizeof(uint64_t)] = {id, bytes_};
      request.data = Slice(words, sizeof(words), Slice::STATIC_SLICE);
      Call(request, &response);
      return Check(response.data, memory_, bytes_, 0);
    }
    request.data = sender_.Write(bytes_, id);
    Call(request, &response);
    Check(response.data, memory_, bytes_, id);
  }

 private:
  void Call(const BytesPayload& request, BytesPayload* response) {
    ClientContext context;
    const Status status = stub_.UnaryCall(&context, kMethod, StubOptions(), &request, response);
    if (!status.ok()) Fail("the call failed: " + std::string(status.error_message()));
  }

  const Memory memory_;
  const size_t bytes_;
  Sender sender_;
  TemplatedGenericStub<BytesPayload, BytesPayload> stub_;
};

class BytesSystem final : public EchoSystem {
 public:
  explicit BytesSystem(Memory memory) : memory_(memory) {}

  void Serve(const std::string& address, const ReadySignal& ready) override {
    const Termination termination;
    Handler handler(memory_);
    ServerBuilder builder;
    builder.AddListeningPort(address, InsecureServerCredentials());
    builder.RegisterService(&handler);
    const std::unique_ptr<Server> server = builder.BuildAndStart();
    if (server == nullptr) Fail(builder.error());
    ready.Tell();
    termination.Await();
    server->Shutdown();
  }
  std::unique_ptr<Connection> Connect(const std::string& address, size_t bytes) override {
    return std::make_unique<BytesConnection>(address, memory_, bytes);
  }

 private:
  const Memory memory_;
};

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) {
  using namespace ipcrpc::bench;
  return EchoMain(argc, argv, [](std::string_view variant) -> std::unique_ptr<EchoSystem> {
    if (variant == "copied") return std::make_unique<BytesSystem>(Memory::kCopied);
    if (variant == "lent") return std::make_unique<BytesSystem>(Memory::kLent);
    if (variant == "handed") return std::make_unique<BytesSystem>(Memory::kHanded);
    if (variant == "registered") return std::make_unique<BytesSystem>(Memory::kRegistered);
    return nullptr;
  });
}

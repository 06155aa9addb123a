// frames_client COUNT [ADDRESS]: has that many frames of 8 MiB measured, each brighter than the one before, without copying them.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#include <ipcrpc/bytes_payload.h>
#include <ipcrpc/generic/generic_stub.h>
#include <ipcrpc/ipcrpc.h>
#include <ipcrpc/memory_pool.h>

#include "frames.ipcrpc.pb.h"

namespace {

constexpr size_t kFrameBytes = 8 << 20;

int Fail(const ipcrpc::Status& status) {
  std::fprintf(stderr, "frames_client: %s\n", status.error_message().c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  const int count = argc > 1 ? std::atoi(argv[1]) : 4;
  std::unique_ptr<ipcrpc::MemoryPool> pool;
  if (const ipcrpc::Status status = ipcrpc::MemoryPool::Create(4 * kFrameBytes, &pool); !status.ok()) return Fail(status);
  ipcrpc::TemplatedGenericStub<ipcrpc::BytesPayload, frames::Light> stub(ipcrpc::CreateChannel(argc > 2 ? argv[2] : "shm:meter"));
  for (int i = 0; i < count; ++i) {
    ipcrpc::Loan frame = pool->Take(kFrameBytes);
    std::memset(frame.bytes().data(), i, frame.size());  // what a camera would do
    const ipcrpc::BytesPayload request{std::move(frame).Seal()};
    frames::Light light;
    ipcrpc::ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(std::chrono::steady_clock::now() + std::chrono::seconds(5));
    const ipcrpc::Status status = stub.UnaryCall(&context, "/frames.Meter/Measure", ipcrpc::StubOptions(), &request, &light);
    if (!status.ok()) return Fail(status);
    std::printf("frame %d: %.1f\n", i, light.mean());
  }
}

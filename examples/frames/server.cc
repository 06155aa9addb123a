// frames_server [ADDRESS]: tells how bright frames are, until it is killed. They are read where the client has written them.
#include <cstdint>
#include <cstdio>
#include <numeric>

#include <ipcrpc/bytes_payload.h>
#include <ipcrpc/ipcrpc.h>
#include <ipcrpc/support/serialization_traits.h>

#include "frames.ipcrpc.pb.h"

// The method's messages as bytes: a frame of 8 MiB is not copied into an object of protobuf's.
struct Meter final : frames::Meter::WithRawCallbackMethod_Measure<frames::Meter::Service> {
  ipcrpc::ServerUnaryReactor* Measure(ipcrpc::CallbackServerContext* context, const ipcrpc::ByteBuffer* request,
                                      ipcrpc::ByteBuffer* response) override {
    auto* const reactor = context->DefaultReactor();
    ipcrpc::BytesPayload frame;
    ipcrpc::Status status = ipcrpc::BytesPayload::Parse(*request, &frame);
    if (status.ok() && frame.data.size() == 0) status = {ipcrpc::StatusCode::INVALID_ARGUMENT, "a frame without points"};
    if (status.ok()) {
      frames::Light light;
      light.set_mean(static_cast<double>(std::accumulate(frame.data.begin(), frame.data.end(), uint64_t{0})) /
                     static_cast<double>(frame.data.size()));
      bool unused;
      status = ipcrpc::SerializationTraits<frames::Light>::Serialize(light, response, &unused);
    }
    reactor->Finish(status);
    return reactor;
  }
};

int main(int argc, char** argv) {
  Meter meter;
  ipcrpc::ServerBuilder builder;
  // The clients are ours: they leave a frame alone as long as it is read here.
  builder.AddListeningPort(argc > 1 ? argv[1] : "shm:meter?trust=peer").RegisterService(&meter);
  builder.SetMaxReceiveMessageSize(64 << 20);
  auto server = builder.BuildAndStart();
  if (server == nullptr) {
    std::fprintf(stderr, "frames_server: %s\n", builder.error().c_str());
    return 1;
  }
  server->Wait();
}

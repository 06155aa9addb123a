// The other process of the differential suite.
//   differential_peer serve ADDRESS   serves; the handlers wait until their client goes, after a first message
//   differential_peer call ADDRESS    begins a Talk, has one message echoed, and waits for another
// Both say "ready" and stay until they are killed.
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "differential.grpc.pb.h"

namespace {

using differential::Methods;
using differential::Msg;
using namespace std::chrono_literals;

void WaitFor(grpc::ServerContext* context) {
  while (!context->IsCancelled()) std::this_thread::sleep_for(1ms);
}

class Service final : public Methods::Service {
  // "wait" waits, all else is echoed.
  grpc::Status Unary(grpc::ServerContext* context, const Msg* request, Msg* response) override {
    if (request->text() == "wait") WaitFor(context);
    *response = *request;
    return grpc::Status::OK;
  }
  grpc::Status Collect(grpc::ServerContext* context, grpc::ServerReader<Msg>* reader, Msg*) override {
    Msg message;
    reader->Read(&message);
    reader->SendInitialMetadata();
    WaitFor(context);
    return grpc::Status::OK;
  }
  grpc::Status Emit(grpc::ServerContext* context, const Msg* request, grpc::ServerWriter<Msg>* writer) override {
    writer->Write(*request);
    WaitFor(context);
    return grpc::Status::OK;
  }
  grpc::Status Talk(grpc::ServerContext*, grpc::ServerReaderWriter<Msg, Msg>* stream) override {
    for (Msg message; stream->Read(&message);) stream->Write(message);
    return grpc::Status::OK;
  }
};

void Ready() {
  std::puts("ready");
  std::fflush(stdout);
}

int Serve(const std::string& address) {
  Service service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  const auto server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  Ready();
  server->Wait();
  return 0;
}

int Call(const std::string& address) {
  const auto stub = Methods::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  const auto stream = stub->Talk(&context);
  Msg message;
  if (!stream->Write(message) || !stream->Read(&message)) return 1;
  Ready();
  stream->Read(&message);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  return std::string(argv[1]) == "serve" ? Serve(argv[2]) : Call(argv[2]);
}

// fixture_server ADDRESS [no-reflection]: serves fixture.proto until SIGTERM. Prints "ready" once it listens.
#include <pthread.h>
#include <signal.h>

#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

#include "ipcrpc/ext/proto_server_reflection_plugin.h"
#include "ipcrpc/ipcrpc.h"
#include "tools/ipcrpc/testing/fixture.ipcrpc.pb.h"

namespace fixture::v1 {
namespace {

class Server final : public Fixture::Service {
 public:
  ipcrpc::Status Echo(ipcrpc::ServerContext* context, const EchoRequest* request,
                      EchoResponse* response) override {
    *response = Answer(*request);
    for (const auto& [key, value] : context->client_metadata()) {
      if (key.rfind("x-", 0) == 0) (*response->mutable_metadata())[std::string(key)] = std::string(value);
    }
    return ipcrpc::Status::OK;
  }

  ipcrpc::Status Fail(ipcrpc::ServerContext*, const FailRequest* request, EchoResponse*) override {
    return ipcrpc::Status(static_cast<ipcrpc::StatusCode>(request->code()), request->message());
  }

  ipcrpc::Status Count(ipcrpc::ServerContext*, const CountRequest* request,
                       ipcrpc::ServerWriter<CountResponse>* writer) override {
    CountResponse response;
    for (int i = 1; i <= request->count(); ++i) {
      response.set_number(i);
      if (!writer->Write(response)) break;
    }
    return request->count() < 0 ? ipcrpc::Status(ipcrpc::StatusCode::OUT_OF_RANGE, "cannot count down")
                                : ipcrpc::Status::OK;
  }

  ipcrpc::Status Sum(ipcrpc::ServerContext*, ipcrpc::ServerReader<CountRequest>* reader,
                     CountResponse* response) override {
    int sum = 0;
    for (CountRequest request; reader->Read(&request);) sum += request.count();
    response->set_number(sum);
    return ipcrpc::Status::OK;
  }

  ipcrpc::Status Chat(ipcrpc::ServerContext*,
                      ipcrpc::ServerReaderWriter<EchoResponse, EchoRequest>* stream) override {
    for (EchoRequest request; stream->Read(&request);) {
      if (request.text() == "end") return ipcrpc::Status(ipcrpc::StatusCode::ABORTED, "as you wish");
      if (!stream->Write(Answer(request))) break;
    }
    return ipcrpc::Status::OK;
  }

  ipcrpc::Status Hang(ipcrpc::ServerContext* context, const EchoRequest*, EchoResponse*) override {
    while (!context->IsCancelled()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return ipcrpc::Status::CANCELLED;
  }

 private:
  static EchoResponse Answer(const EchoRequest& request) {
    EchoResponse response;
    response.set_text(request.pad_bytes() > 0 ? std::string(static_cast<size_t>(request.pad_bytes()), 'x')
                                              : request.text());
    response.set_colour(request.colour());
    if (request.has_nested()) *response.mutable_nested() = request.nested();
    return response;
  }
};

int Main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: fixture_server ADDRESS [no-reflection]\n");
    return 2;
  }
  // Before any thread is made, so that all of them leave the signal to sigwait().
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);

  if (argc < 3 || std::strcmp(argv[2], "no-reflection") != 0) {
    ipcrpc::reflection::InitProtoReflectionServerBuilderPlugin();
  }
  Server service;
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(argv[1]).RegisterService(&service);
  const std::unique_ptr<ipcrpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    std::fprintf(stderr, "fixture_server: %s\n", builder.error().c_str());
    return 1;
  }
  std::puts("ready");
  std::fflush(stdout);
  int signal = 0;
  sigwait(&signals, &signal);
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}

}  // namespace
}  // namespace fixture::v1

int main(int argc, char** argv) { return fixture::v1::Main(argc, argv); }

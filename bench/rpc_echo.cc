#include "bench/rpc_echo.h"

#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "echo.ipcrpc.pb.h"
#include "ipcrpc/ipcrpc.h"

namespace ipcrpc::bench {
namespace {

class EchoHandler final : public EchoService::Service {
 public:
  Status Unary(ServerContext*, const Echo* request, Echo* response) override {
    response->set_id(request->id());
    response->set_payload(request->payload());
    return Status::OK;
  }
  Status Stream(ServerContext*, ServerReaderWriter<Echo, Echo>* stream) override {
    for (Echo message; stream->Read(&message);) {
      if (!stream->Write(message)) break;
    }
    return Status::OK;
  }
};

class EchoServer {
 public:
  explicit EchoServer(const std::string& address) {
    ServerBuilder builder;
    builder.AddListeningPort(address).RegisterService(&handler_);
    server_ = builder.BuildAndStart();
    if (server_ == nullptr) Fail(builder.error());
  }

 private:
  EchoHandler handler_;
  std::unique_ptr<Server> server_;
};

void CloseAll(const std::vector<int>& fds) {
  for (int fd : fds) close(fd);
}

class RpcWorkload : public Workload {
 public:
  explicit RpcWorkload(Endpoints endpoints) : endpoints_(std::move(endpoints)) {}
  ~RpcWorkload() override {
    CloseAll(endpoints_.server_fds);
    CloseAll(endpoints_.client_fds);
  }

  void Serve(const ReadySignal& ready) final {
    CloseAll(endpoints_.client_fds);
    sigset_t end;
    sigemptyset(&end);
    sigaddset(&end, SIGTERM);
    sigprocmask(SIG_BLOCK, &end, nullptr);
    const EchoServer server(endpoints_.server_address);
    ready.Tell();
    int signal;
    sigwait(&end, &signal);
  }

  void Drive(const SharedMemory& sample) final {
    CloseAll(endpoints_.server_fds);
    const auto stub = EchoService::NewStub(CreateChannel(endpoints_.client_address));
    Call(*stub, *sample.As<Sample>());
  }

 protected:
  [[noreturn]] void Failed(const Status& status) const {
    Fail(endpoints_.client_address + ": " + status.error_message());
  }
  static void CheckAnswer(const Echo& answer, uint64_t id, size_t bytes) {
    if (answer.id() != id || answer.payload().size() != bytes) Fail("an answer to another message");
  }

 private:
  virtual void Call(EchoService::Stub& stub, Sample& sample) = 0;

  const Endpoints endpoints_;
};

class Unary final : public RpcWorkload {
 public:
  using RpcWorkload::RpcWorkload;

 private:
  void Call(EchoService::Stub& stub, Sample& sample) override {
    Echo request, response;
    request.set_payload(std::string(kPayloadBytes, 'x'));
    uint64_t turn = 0;
    Measure(sample, [&] {
      request.set_id(++turn);
      ClientContext context;
      const Status status = stub.Unary(&context, request, &response);
      if (!status.ok()) Failed(status);
      CheckAnswer(response, turn, kPayloadBytes);
    });
  }
};

class Stream final : public RpcWorkload {
 public:
  Stream(Endpoints endpoints, size_t bytes) : RpcWorkload(std::move(endpoints)), bytes_(bytes) {}

 private:
  void Call(EchoService::Stub& stub, Sample& sample) override {
    ClientContext context;
    const auto stream = stub.Stream(&context);
    std::thread writer([&] {
      Echo message;
      message.set_payload(std::string(bytes_, 'x'));
      for (uint64_t id = 1;; ++id) {
        message.set_id(id);
        if (!stream->Write(message)) return;
      }
    });
    Echo answer;
    uint64_t turn = 0;
    Measure(sample, [&] {
      if (!stream->Read(&answer)) {
        context.TryCancel();
        Failed(stream->Finish());
      }
      CheckAnswer(answer, ++turn, bytes_);
    });
    context.TryCancel();
    writer.join();
    stream->Finish().IgnoreError();
  }

  const size_t bytes_;
};

class OneProcess final : public Workload {
 public:
  OneProcess(std::unique_ptr<Workload> workload, std::string address)
      : workload_(std::move(workload)), address_(std::move(address)) {}
  void Serve(const ReadySignal& ready) override {
    ready.Tell();
    for (;;) pause();
  }
  void Drive(const SharedMemory& sample) override {
    const EchoServer server(address_);
    workload_->Drive(sample);
  }

 private:
  const std::unique_ptr<Workload> workload_;
  const std::string address_;
};

}  // namespace

Endpoints At(const std::string& address) { return {address, address, {}, {}}; }

Endpoints InheritedSocketPair() {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) != 0) Fail("socketpair");
  return {"socketpair:" + std::to_string(fds[0]), "socketpair:" + std::to_string(fds[1]), {fds[0]}, {fds[1]}};
}

Endpoints InheritedPipes() {
  int there[2], back[2];
  if (pipe(there) != 0 || pipe(back) != 0) Fail("pipe");
  const auto address = [](int read, int write) { return "pipe:" + std::to_string(read) + "," + std::to_string(write); };
  return {address(there[0], back[1]), address(back[0], there[1]), {there[0], back[1]}, {back[0], there[1]}};
}

std::unique_ptr<Workload> RpcEcho(Endpoints endpoints) { return std::make_unique<Unary>(std::move(endpoints)); }

std::unique_ptr<Workload> RpcStream(Endpoints endpoints, size_t bytes) {
  return std::make_unique<Stream>(std::move(endpoints), bytes);
}

std::unique_ptr<Workload> InOneProcess(std::unique_ptr<Workload> workload, const std::string& address) {
  return std::make_unique<OneProcess>(std::move(workload), address);
}

}  // namespace ipcrpc::bench

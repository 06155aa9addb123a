#include "tests/faults/processes.h"

#include <sys/wait.h>

#include <chrono>
#include <utility>

namespace faults {
namespace {

using behaviour::Methods;
using behaviour::Msg;
using ipcrpc::ServerContext;
using ipcrpc::Status;

class Echo final : public Methods::Service {
  Status Unary(ServerContext*, const Msg* request, Msg* response) override {
    *response = *request;
    return Status::OK;
  }
  Status Talk(ServerContext*, ipcrpc::ServerReaderWriter<Msg, Msg>* stream) override {
    for (Msg message; stream->Read(&message) && stream->Write(message);) {
    }
    return Status::OK;
  }
};

int Serve(const std::vector<std::string>& addresses, int ready) {
  sigset_t end;
  sigemptyset(&end);
  sigaddset(&end, SIGTERM);
  sigprocmask(SIG_BLOCK, &end, nullptr);
  Echo service;
  ipcrpc::ServerBuilder builder;
  for (const std::string& address : addresses) builder.AddListeningPort(address);
  builder.RegisterService(&service);
  const std::unique_ptr<ipcrpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    fprintf(stderr, "%s\n", builder.error().c_str());
    return 1;
  }
  if (write(ready, "r", 1) != 1) return 1;
  close(ready);
  int signal;
  sigwait(&end, &signal);
  server->Shutdown(std::chrono::system_clock::now());
  return 0;
}

}  // namespace

Child::~Child() {
  if (pid_ > 0) Kill();
}

void Child::Kill() {
  Signal(SIGKILL);
  Wait();
}

int Child::Wait() {
  int status = 0;
  waitpid(std::exchange(pid_, -1), &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

RunningServer::RunningServer(std::vector<std::string> addresses) {
  int ready[2];
  if (pipe(ready) != 0) return;
  child_ = std::make_unique<Child>([&] {
    close(ready[0]);
    return Serve(addresses, ready[1]);
  });
  close(ready[1]);
  char byte;
  started_ = read(ready[0], &byte, 1) == 1;
  close(ready[0]);
}

int RunningServer::Stop() {
  child_->Signal(SIGTERM);
  return child_->Wait();
}

}  // namespace faults

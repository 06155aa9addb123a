// behaviour_peer serve ADDRESS: serves, plainly, until it is killed.
// behaviour_peer keep ADDRESS: answers every call with no bytes and keeps its request as it came, until it is killed.
// behaviour_peer call ADDRESS N: begins N calls that the server does not end, and stays until it is killed.
// behaviour_peer emit ADDRESS MS: has messages emitted that it does not read, with a deadline unless MS is 0, until it is killed.
// behaviour_peer pass ADDRESS: has messages with descriptors echoed, until it is killed.
// behaviour_peer exit ADDRESS: exits while a handler of its own server waits for its client.
// behaviour_peer as ADDRESS UID GID GROUP…: becomes that user, calls once, and exits with the call's status code.
// Says "ready" on its standard output when it is.
#include <grp.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ipcrpc/generic/callback_generic_service.h"
#include "ipcrpc/ipcrpc.h"
#include "tests/behaviour/behaviour.ipcrpc.pb.h"

namespace behaviour {
namespace {

void SayReady() {
  std::puts("ready");
  std::fflush(stdout);
}

// Echoes, descriptors too; "hang" makes a handler stay until its call is cancelled.
class Server final : public Methods::Service {
 public:
  ipcrpc::Status Unary(ipcrpc::ServerContext* context, const Msg* request, Msg* response) override {
    if (request->text() == "hang") {
      while (!context->IsCancelled()) usleep(1000);
    }
    *response = *request;
    for (ipcrpc::UniqueFd& fd : context->TakeFds()) context->AttachFd(std::move(fd));
    return ipcrpc::Status::OK;
  }
  ipcrpc::Status Collect(ipcrpc::ServerContext*, ipcrpc::ServerReader<Msg>* reader, Msg* response) override {
    int64_t count = 0;
    for (Msg message; reader->Read(&message);) ++count;
    response->set_number(count);
    return ipcrpc::Status::OK;
  }
  ipcrpc::Status Talk(ipcrpc::ServerContext* context, ipcrpc::ServerReaderWriter<Msg, Msg>* stream) override {
    for (Msg message; stream->Read(&message);) {
      for (ipcrpc::UniqueFd& fd : context->TakeFds()) context->AttachFd(std::move(fd));
      if (!stream->Write(message)) break;
    }
    return ipcrpc::Status::OK;
  }
};

int Serve(const std::string& address) {
  Server service;
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(address);
  builder.RegisterService(&service);
  const std::unique_ptr<ipcrpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) {
    std::printf("%s\n", builder.error().c_str());
    return 1;
  }
  SayReady();
  server->Wait();
  return 0;
}

class Keeper final : public ipcrpc::CallbackGenericService {
 public:
  ipcrpc::ServerGenericBidiReactor* CreateReactor(ipcrpc::GenericCallbackServerContext*) override { return new Reactor; }

 private:
  class Reactor final : public ipcrpc::ServerGenericBidiReactor {
   public:
    Reactor() { StartRead(request_); }
    void OnReadDone(bool) override {
      const ipcrpc::Slice none;
      response_ = ipcrpc::ByteBuffer(&none, 1);
      StartWriteAndFinish(&response_, ipcrpc::WriteOptions(), ipcrpc::Status::OK);
    }
    void OnDone() override { delete this; }

   private:
    ipcrpc::ByteBuffer* const request_ = Kept();
    ipcrpc::ByteBuffer response_;
  };

  // For good, and known to be.
  static ipcrpc::ByteBuffer* Kept() {
    static std::mutex mu;
    static auto* const all = new std::deque<ipcrpc::ByteBuffer>;
    std::lock_guard lock(mu);
    return &all->emplace_back();
  }
};

int Keep(const std::string& address) {
  Keeper service;
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(address);
  builder.RegisterCallbackGenericService(&service);
  const std::unique_ptr<ipcrpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  SayReady();
  server->Wait();
  return 0;
}

int Call(const std::string& address, int calls) {
  const auto stub = Methods::NewStub(ipcrpc::CreateChannel(address));
  std::vector<std::unique_ptr<ipcrpc::ClientContext>> contexts;
  std::vector<std::unique_ptr<ipcrpc::ClientReaderWriter<Msg, Msg>>> streams;
  for (int i = 0; i < calls; ++i) {
    contexts.push_back(std::make_unique<ipcrpc::ClientContext>());
    streams.push_back(stub->Talk(contexts.back().get()));
    Msg message;
    message.set_number(i);
    if (!streams.back()->Write(message) || !streams.back()->Read(&message)) return 1;
  }
  SayReady();
  for (;;) pause();
}

int Emit(const std::string& address, int deadline_ms) {
  const auto stub = Methods::NewStub(ipcrpc::CreateChannel(address));
  ipcrpc::ClientContext context;
  if (deadline_ms != 0) context.set_deadline(std::chrono::steady_clock::now() + std::chrono::milliseconds(deadline_ms));
  const auto stream = stub->Emit(&context, Msg());
  SayReady();
  for (;;) pause();
}

int Pass(const std::string& address) {
  const auto stub = Methods::NewStub(ipcrpc::CreateChannel(address));
  ipcrpc::ClientContext context;
  const auto stream = stub->Talk(&context);
  SayReady();
  Msg message;
  do {
    context.AttachFd(ipcrpc::UniqueFd::DuplicateOf(STDOUT_FILENO));
    message.set_number(message.number() + 1);
  } while (stream->Write(message) && stream->Read(&message));
  return 1;
}

int CallAs(const std::string& address, uid_t uid, gid_t gid, const std::vector<gid_t>& groups) {
  if (setgroups(groups.size(), groups.data()) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0) return 255;
  SayReady();
  const auto stub = Methods::NewStub(ipcrpc::CreateChannel(address));
  ipcrpc::ClientContext context;
  context.set_deadline(std::chrono::steady_clock::now() + std::chrono::seconds(20));
  Msg response;
  const ipcrpc::Status status = stub->Unary(&context, Msg(), &response);
  if (status.error_message().find("may not be called by") == std::string::npos && !status.ok()) {
    std::fprintf(stderr, "%s\n", status.error_message().c_str());
  }
  // LeakSanitizer cannot look at a process that has changed its user.
  _exit(status.error_code());
}

int Exit(const std::string& address) {
  auto* const service = new Server;
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(address);
  builder.RegisterService(service);
  static auto* const server = builder.BuildAndStart().release();
  if (server == nullptr) return 1;
  static const auto* const stub = Methods::NewStub(ipcrpc::CreateChannel(address)).release();
  auto* const context = new ipcrpc::ClientContext;
  static auto* const stream = const_cast<Methods::Stub*>(stub)->Talk(context).release();
  Msg message;
  if (!stream->Write(message) || !stream->Read(&message)) return 1;
  SayReady();
  return 0;
}

}  // namespace
}  // namespace behaviour

int main(int argc, char** argv) {
  if (argc == 3 && std::strcmp(argv[1], "serve") == 0) return behaviour::Serve(argv[2]);
  if (argc == 3 && std::strcmp(argv[1], "keep") == 0) return behaviour::Keep(argv[2]);
  if (argc == 3 && std::strcmp(argv[1], "exit") == 0) return behaviour::Exit(argv[2]);
  if (argc == 3 && std::strcmp(argv[1], "pass") == 0) return behaviour::Pass(argv[2]);
  if (argc == 4 && std::strcmp(argv[1], "call") == 0) return behaviour::Call(argv[2], std::atoi(argv[3]));
  if (argc == 4 && std::strcmp(argv[1], "emit") == 0) return behaviour::Emit(argv[2], std::atoi(argv[3]));
  if (argc >= 5 && std::strcmp(argv[1], "as") == 0) {
    std::vector<gid_t> groups;
    for (int i = 5; i < argc; ++i) groups.push_back(static_cast<gid_t>(std::atoi(argv[i])));
    return behaviour::CallAs(argv[2], static_cast<uid_t>(std::atoi(argv[3])), static_cast<gid_t>(std::atoi(argv[4])), groups);
  }
  std::fprintf(stderr, "usage: behaviour_peer serve ADDRESS | keep ADDRESS | pass ADDRESS | exit ADDRESS | call ADDRESS N | emit ADDRESS MS |"
                       " as ADDRESS UID GID GROUP...\n");
  return 2;
}

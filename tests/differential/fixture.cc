#include "fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

extern char** environ;

namespace differential {
namespace {

// Where the tests' servers have their names; goes with the program.
class Directory : public ::testing::Environment {
 public:
  void SetUp() override {
    // A death test's child does not come to its end: it is its parent's guest.
    if (const char* const parents = getenv("DIFFERENTIAL_DIRECTORY")) {
      path_ = parents;
      return;
    }
    std::string pattern = (std::filesystem::temp_directory_path() / "differential-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
    owner_ = true;
    setenv("DIFFERENTIAL_DIRECTORY", path_.c_str(), 1);
    setenv("IPCRPC_RUNTIME_DIR", path_.c_str(), 1);
  }
  void TearDown() override {
    if (!owner_) return;
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  bool owner_ = false;
};
auto* const directory = dynamic_cast<Directory*>(::testing::AddGlobalTestEnvironment(new Directory));

std::string Replaced(std::string text, const std::string& what, const std::string& with) {
  const size_t at = text.find(what);
  return at == std::string::npos ? text : text.replace(at, what.size(), with);
}

}  // namespace

std::string FreshAddress() {
  static std::atomic<int> next{0};
  const char* pattern = getenv("DIFFERENTIAL_ADDRESS");
  EXPECT_NE(pattern, nullptr) << "set DIFFERENTIAL_ADDRESS, such as unix:{dir}/{name}";
  return Replaced(Replaced(pattern == nullptr ? "" : pattern, "{dir}", directory->path()), "{name}", "d" + std::to_string(getpid()) + "-" + std::to_string(next++));
}

bool Settles(const std::atomic<int>& count) {
  return Eventually([&count] {
    const int before = count;
    std::this_thread::sleep_for(150ms);
    return count == before;
  });
}

Msg Number(int64_t number) {
  Msg message;
  message.set_number(number);
  return message;
}

Msg Data(size_t bytes, char fill) {
  Msg message;
  message.set_data(std::string(bytes, fill));
  return message;
}

Msg OfSize(size_t bytes) {
  Msg message = Data(bytes);
  message.set_data(std::string(bytes - (message.ByteSizeLong() - bytes), 'x'));
  if (message.ByteSizeLong() < bytes) message.set_number(1);  // its length needs a byte less: two bytes more
  while (message.ByteSizeLong() > bytes) message.mutable_data()->pop_back();
  EXPECT_EQ(message.ByteSizeLong(), bytes);
  return message;
}

Msg Broken() {
  Msg message;
  message.set_text("\xff\xfe");
  return message;
}

std::string AllBytes() {
  std::string all;
  for (int i = 0; i < 256; ++i) all.push_back(static_cast<char>(i));
  return all;
}

std::vector<std::string> Values(const Metadata& metadata, const std::string& key) {
  std::vector<std::string> values;
  const auto [begin, end] = metadata.equal_range(key);
  for (auto it = begin; it != end; ++it) values.emplace_back(it->second.data(), it->second.size());
  return values;
}

Status LambdaService::Unary(ServerContext* context, const Msg* request, Msg* response) {
  if (unary) return unary(context, request, response);
  *response = *request;
  return Status::OK;
}

Status LambdaService::Collect(ServerContext* context, Collector* reader, Msg* response) {
  if (collect) return collect(context, reader, response);
  int64_t count = 0, sum = 0;
  for (Msg message; reader->Read(&message); ++count) sum += message.number();
  response->set_number(sum);
  response->set_text(std::to_string(count));
  return Status::OK;
}

Status LambdaService::Emit(ServerContext* context, const Msg* request, Emitter* writer) {
  if (emit) return emit(context, request, writer);
  for (int64_t i = 0; i < request->number(); ++i) {
    if (!writer->Write(Number(i))) break;
  }
  return Status::OK;
}

Status LambdaService::Talk(ServerContext* context, Talker* stream) {
  if (talk) return talk(context, stream);
  for (Msg message; stream->Read(&message);) {
    if (!stream->Write(message)) break;
  }
  return Status::OK;
}

grpc::ChannelArguments Impatient(grpc::ChannelArguments arguments) {
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 20);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100);
  return arguments;
}

std::unique_ptr<grpc::Server> Serve(const std::string& address, grpc::Service* service, const Configure& configure) {
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  if (service != nullptr) builder.RegisterService(service);
  if (configure) configure(builder);
  return builder.BuildAndStart();
}

std::shared_ptr<grpc::Channel> Connect(const std::string& address, const grpc::ChannelArguments& arguments) {
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), Impatient(arguments));
}

void DifferentialTest::Start(const Configure& configure, const grpc::ChannelArguments& arguments) {
  server_ = Serve(address(), &service_, configure);
  EXPECT_NE(server_, nullptr);
  channel_ = Connect(address(), arguments);
  stub_ = Methods::NewStub(channel_);
}

void DifferentialTest::StopServer() {
  if (server_ != nullptr) server_->Shutdown(In(0ms));
  server_.reset();
}

Status DifferentialTest::CallOn(Methods::StubInterface& stub, const Msg& request, Msg* response) {
  Msg unused;
  ClientContext context;
  context.set_deadline(In(kLimit));
  return stub.Unary(&context, request, response == nullptr ? &unused : response);
}

void DifferentialTest::ExpectAlive() {
  const auto fresh = Absent::NewStub(Connect(address()));
  const auto used = Absent::NewStub(channel_);
  for (Absent::Stub* stub : {fresh.get(), used.get()}) {
    ClientContext context;
    context.set_deadline(In(kLimit));
    Msg response;
    EXPECT_EQ(stub->Unary(&context, Msg(), &response).error_code(), StatusCode::UNIMPLEMENTED);
  }
}

Peer::Peer(const std::vector<std::string>& arguments) {
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) return;
  std::vector<char*> argv = {const_cast<char*>(DIFFERENTIAL_PEER)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  EXPECT_EQ(posix_spawn(&pid_, DIFFERENTIAL_PEER, &actions, nullptr, argv.data(), environ), 0) << DIFFERENTIAL_PEER;
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  std::string said;
  char byte;
  while (read(out[0], &byte, 1) == 1 && byte != '\n') said += byte;
  close(out[0]);
  EXPECT_EQ(said, "ready");
}

Peer::~Peer() { Kill(); }

void Peer::Stop() {
  kill(pid_, SIGSTOP);
  int status;
  EXPECT_EQ(waitpid(pid_, &status, WUNTRACED), pid_);
}

void Peer::Continue() { kill(pid_, SIGCONT); }

void Peer::Kill() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

}  // namespace differential

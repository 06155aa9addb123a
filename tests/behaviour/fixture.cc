#include "tests/behaviour/fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>

extern char** environ;

namespace behaviour {
namespace {

// The runtime directory of this program and its children; goes with it.
class RuntimeDirectory : public ::testing::Environment {
 public:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "ipcrpc-behaviour-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    path_ = pattern;
    setenv("IPCRPC_RUNTIME_DIR", path_.c_str(), 1);
  }
  void TearDown() override {
    // Whoever binds a name sweeps what killed peers left in the kernel.
    LambdaService service;
    ipcrpc::ServerBuilder builder;
    builder.AddListeningPort("unix:last").RegisterService(&service);
    builder.BuildAndStart().reset();
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

 private:
  std::string path_;
};
const auto* const kRuntimeDirectory = ::testing::AddGlobalTestEnvironment(new RuntimeDirectory);

size_t EntriesOf(const char* directory) {
  size_t count = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(directory)) ++count;
  return count;
}

}  // namespace

std::string FreshName() {
  static std::atomic<int> next{0};
  return "t" + std::to_string(next++);
}

Status LambdaService::Unary(ServerContext* context, const Msg* request, Msg* response) {
  if (unary) return unary(context, request, response);
  *response = *request;
  return Status::OK;
}

Status LambdaService::Collect(ServerContext* context, ServerCollector* reader, Msg* response) {
  if (collect) return collect(context, reader, response);
  int64_t count = 0, sum = 0;
  for (Msg message; reader->Read(&message); ++count) sum += message.number();
  response->set_number(sum);
  response->set_text(std::to_string(count));
  return Status::OK;
}

Status LambdaService::Emit(ServerContext* context, const Msg* request, ServerEmitter* writer) {
  if (emit) return emit(context, request, writer);
  for (int64_t i = 0; i < request->number(); ++i) {
    if (!writer->Write(Number(i))) break;
  }
  return Status::OK;
}

Status LambdaService::Talk(ServerContext* context, ServerTalk* stream) {
  if (talk) return talk(context, stream);
  for (Msg message; stream->Read(&message);) {
    if (!stream->Write(message)) break;
  }
  return Status::OK;
}

Holdings Holdings::Now() {
  std::ifstream maps("/proc/self/maps");
  size_t shared = 0;
  for (std::string line; std::getline(maps, line);) shared += line.find("memfd:ipcrpc") != std::string::npos ? 1 : 0;
  return {EntriesOf("/proc/self/task"), EntriesOf("/proc/self/fd"), shared};
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

namespace {

// A scheme alone, or with the parameters of its addresses.
std::string FreshAddress(std::string_view scheme, std::string_view suffix = "") {
  if (std::ranges::find(kOneConnection, scheme) != std::end(kOneConnection)) return std::string(scheme) + ":";
  const size_t end = std::min(scheme.find('?'), scheme.size());
  return std::string(scheme.substr(0, end)).append(":").append(FreshName()).append(suffix).append(scheme.substr(end));
}

}  // namespace

BehaviourTest::BehaviourTest() : place_(FreshAddress(GetParam())) {}

std::unique_ptr<ipcrpc::MeetingPlace> BehaviourTest::NewPlace() {
  return std::make_unique<ipcrpc::MeetingPlace>(FreshAddress(GetParam()));
}

BehaviourTest::~BehaviourTest() { StopServer(); }

void BehaviourTest::StopServer() {
  if (server_ != nullptr) server_->Shutdown(In(0ms));
  server_.reset();
}

std::string BehaviourTest::OtherAddress(std::string_view suffix) const { return FreshAddress(GetParam(), suffix); }

std::unique_ptr<ipcrpc::Server> BehaviourTest::Serve(ipcrpc::Service& service, const std::string& at,
                                                     const std::function<void(ipcrpc::ServerBuilder&)>& configure) {
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(at, ipcrpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  if (configure) configure(builder);
  std::unique_ptr<ipcrpc::Server> server = builder.BuildAndStart();
  EXPECT_NE(server, nullptr) << builder.error();
  return server;
}

void BehaviourTest::Start(const std::function<void(ipcrpc::ServerBuilder&)>& configure,
                          const ipcrpc::ChannelArguments& arguments) {
  if (server_ == nullptr) server_ = Serve(service_, address(), configure);
  channel_ = ipcrpc::CreateCustomChannel(client_address(), ipcrpc::InsecureChannelCredentials(), arguments);
  stub_ = Methods::NewStub(channel_);
}

std::unique_ptr<Methods::Stub> BehaviourTest::NewStub(const ipcrpc::ChannelArguments& arguments) {
  return Methods::NewStub(ipcrpc::CreateCustomChannel(client_address(), ipcrpc::InsecureChannelCredentials(), arguments));
}

void BehaviourTest::ExpectAlive() {
  const std::unique_ptr<Methods::Stub> fresh = one_connection() && stub_ != nullptr ? nullptr : NewStub();
  for (Methods::Stub* stub : {fresh.get(), stub_.get()}) {
    if (stub == nullptr) continue;
    ClientContext context;
    context.set_deadline(In(20s));
    Msg response;
    const Status status = stub->Missing(&context, Msg(), &response);
    EXPECT_EQ(status.error_code(), StatusCode::UNIMPLEMENTED) << status.error_message();
  }
}

Process::Process(const std::vector<std::string>& arguments) {
  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) return;
  std::vector<char*> argv = {const_cast<char*>(BEHAVIOUR_PEER)};
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  const int error = posix_spawn(&pid_, BEHAVIOUR_PEER, &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(out[1]);
  EXPECT_EQ(error, 0) << BEHAVIOUR_PEER;
  std::string said;
  char byte;
  while (error == 0 && read(out[0], &byte, 1) == 1 && byte != '\n') said += byte;
  close(out[0]);
  ready_ = said == "ready";
  EXPECT_TRUE(ready_) << "the peer said '" << said << "'";
}

Process::~Process() {
  if (pid_ > 0) Kill();
}

void Process::Signal(int signal) { kill(pid_, signal); }

void Process::Stop() {
  Signal(SIGSTOP);
  int status;
  EXPECT_EQ(waitpid(pid_, &status, WUNTRACED), pid_);
  EXPECT_TRUE(WIFSTOPPED(status));
}

void Process::Kill() {
  Signal(SIGKILL);
  Wait();
}

int Process::Wait() {
  int status = -1;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return status;
}

std::string SchemeName(const ::testing::TestParamInfo<std::string_view>& info) {
  std::string name(info.param);
  std::replace_if(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) == 0; }, '_');
  return name;
}

}  // namespace behaviour

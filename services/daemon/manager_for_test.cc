#include "services/daemon/manager_for_test.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <condition_variable>
#include <cstring>
#include <fstream>
#include <iterator>
#include <mutex>
#include <sstream>
#include <thread>

#include "ipcrpc/generic/generic_stub.h"
#include "ipcrpc/ipcrpc.h"

namespace ipcrpc::hosting {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds kLook{5};
constexpr int kFirstSocket = 3;  // SD_LISTEN_FDS_START

std::string Contents(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

bool Within(pid_t pid, std::chrono::milliseconds patience) {
  const UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
  pollfd ended = {.fd = process.get(), .events = POLLIN, .revents = 0};
  return poll(&ended, 1, static_cast<int>(patience.count())) == 1;
}

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& string : strings) pointers.push_back(string.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

// ---- Hosted ----------------------------------------------------------------------------------

Hosted::~Hosted() {
  if (pid_ <= 0) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void Hosted::Signal(int signal) const { kill(pid_, signal); }

std::optional<int> Hosted::Wait() {
  if (!Within(pid_, kPatience)) return std::nullopt;
  int status = 0;
  waitpid(std::exchange(pid_, 0), &status, 0);
  return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

std::string Hosted::Said() const { return Contents(stderr_path_); }

bool Hosted::Says(const std::string& text) const {
  const auto end = Clock::now() + kPatience;
  while (Said().find(text) == std::string::npos) {
    if (Clock::now() > end) return false;
    std::this_thread::sleep_for(kLook);
  }
  return true;
}

// ---- Manager ---------------------------------------------------------------------------------

Manager::Manager() : notifications_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
  setenv("IPCRPC_RUNTIME_DIR", directory_.path().c_str(), 1);
  sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = {}};
  std::strncpy(name.sun_path, (own_.path() + "/notify").c_str(), sizeof name.sun_path - 1);
  const int on = 1;
  if (bind(notifications_.get(), reinterpret_cast<sockaddr*>(&name), sizeof name) != 0 ||
      setsockopt(notifications_.get(), SOL_SOCKET, SO_PASSCRED, &on, sizeof on) != 0) {
    abort();
  }
}

std::unique_ptr<Hosted> Manager::Start(std::vector<std::string> arguments, const Options& options) {
  arguments.insert(arguments.begin(), IPCRPC_DAEMON_PROGRAM);
  return StartProgram(std::move(arguments), options);
}

std::unique_ptr<Hosted> Manager::StartProgram(std::vector<std::string> arguments, const Options& options) {
  const std::string log = own_.path() + "/stderr-" + std::to_string(started_++);
  const UniqueFd stderr_file(open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  std::vector<std::string> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    const std::string name(*variable, std::strcspn(*variable, "="));
    if (options.environment.count(name) == 0) environment.emplace_back(*variable);
  }
  environment.push_back("NOTIFY_SOCKET=" + own_.path() + "/notify");
  for (const auto& [name, value] : options.environment) environment.push_back(name + "=" + value);
  if (options.journal) {
    struct stat info;
    fstat(stderr_file.get(), &info);
    environment.push_back("JOURNAL_STREAM=" + std::to_string(info.st_dev) + ":" +
                          std::to_string(info.st_ino));
  }
  std::string pid_variable;
  if (!options.sockets.empty()) {
    environment.push_back("LISTEN_FDS=" + std::to_string(options.sockets.size()));
    std::string names;
    for (const Socket& socket : options.sockets) names += (names.empty() ? "" : ":") + socket.name;
    environment.push_back("LISTEN_FDNAMES=" + names);
    environment.push_back("LISTEN_PID=" + std::string(20, '\0'));  // filled in where it is known
  }
  std::vector<char*> argument_pointers = Pointers(arguments), environment_pointers = Pointers(environment);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid < 0) abort();
  if (pid > 0) return std::make_unique<Hosted>(pid, log);
  // This process has threads: nothing here may allocate.
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);
  dup2(stderr_file.get(), STDERR_FILENO);
  // Out of the way of their numbers first.
  int high[16];
  const size_t count = std::min(options.sockets.size(), std::size(high));
  for (size_t i = 0; i < count; ++i) high[i] = fcntl(options.sockets[i].fd, F_DUPFD_CLOEXEC, 100);
  for (size_t i = 0; i < count; ++i) dup2(high[i], kFirstSocket + static_cast<int>(i));
  if (count > 0) {
    char* const digits = environment_pointers[environment_pointers.size() - 2] + std::strlen("LISTEN_PID=");
    std::snprintf(digits, 20, "%d", getpid());
  }
  execve(argument_pointers[0], argument_pointers.data(), environment_pointers.data());
  _exit(127);
}

std::optional<Notification> Manager::Next(std::chrono::milliseconds patience) {
  pollfd ready = {.fd = notifications_.get(), .events = POLLIN, .revents = 0};
  if (poll(&ready, 1, static_cast<int>(patience.count())) != 1) return std::nullopt;
  char text[4096];
  alignas(cmsghdr) char control[1024];
  iovec piece = {.iov_base = text, .iov_len = sizeof text};
  msghdr message = {};
  message.msg_iov = &piece, message.msg_iovlen = 1;
  message.msg_control = control, message.msg_controllen = sizeof control;
  const ssize_t size = recvmsg(notifications_.get(), &message, MSG_CMSG_CLOEXEC);
  if (size < 0) return std::nullopt;
  Notification notification;
  for (cmsghdr* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_type == SCM_CREDENTIALS) {
      ucred sender;
      std::memcpy(&sender, CMSG_DATA(part), sizeof sender);
      notification.sender = sender.pid;
    } else if (part->cmsg_type == SCM_RIGHTS) {
      for (size_t at = 0; at < part->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
        int fd;
        std::memcpy(&fd, CMSG_DATA(part) + at, sizeof fd);
        notification.fds.emplace_back(fd);
      }
    }
  }
  std::istringstream lines(std::string(text, static_cast<size_t>(size)));
  for (std::string line; std::getline(lines, line);) {
    const size_t equals = line.find('=');
    notification.fields[line.substr(0, equals)] = equals == std::string::npos ? "" : line.substr(equals + 1);
  }
  return notification;
}

Notification Manager::Await(const std::string& key) {
  const auto end = Clock::now() + kPatience;
  while (Clock::now() < end) {
    std::optional<Notification> notification =
        Next(std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()));
    if (notification && notification->has(key)) return *std::move(notification);
  }
  ADD_FAILURE() << "the daemon did not notify " << key;
  return {};
}

// ---- calls -----------------------------------------------------------------------------------

struct OpenCall::State {
  ClientContext context;
  ByteBuffer request, response;
  std::mutex mu;
  std::condition_variable changed;
  std::optional<Status> status;
};

OpenCall::OpenCall(const std::shared_ptr<Channel>& channel, const std::string& method,
                   const std::string& text)
    : state_(std::make_shared<State>()) {
  const Slice slice(text);
  state_->request = ByteBuffer(&slice, 1);
  state_->context.set_deadline(Clock::now() + kPatience);
  GenericStub(channel).UnaryCall(&state_->context, method, StubOptions(), &state_->request, &state_->response,
                                 [state = state_](Status status) {
                                   const std::lock_guard lock(state->mu);
                                   state->status = std::move(status);
                                   state->changed.notify_all();
                                 });
}

Answer OpenCall::End() {
  std::unique_lock lock(state_->mu);
  state_->changed.wait(lock, [this] { return state_->status.has_value(); });
  Slice slice;
  const bool bytes = state_->response.Valid() && state_->response.DumpToSingleSlice(&slice).ok();
  return {*state_->status, bytes ? std::string(slice.begin(), slice.end()) : ""};
}

Answer CallBytes(const std::string& address, const std::string& method, const std::string& text) {
  return OpenCall(CreateChannel(address), method, text).End();
}

std::string HealthAt(const std::string& address) {
  const Answer answer = CallBytes(address, "/grpc.health.v1.Health/Check", "");
  if (!answer.status.ok()) return answer.status.error_message();
  return answer.text == "\x08\x01" ? "SERVING" : "NOT_SERVING";
}

}  // namespace ipcrpc::hosting

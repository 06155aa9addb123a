#include "bench/suites/roudi.h"

#include <grp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace ipcrpc::bench {
namespace {

constexpr char kProgram[] = "/usr/bin/iox-roudi";
constexpr char kReady[] = "ready";
constexpr int kPatienceMs = 10'000;

// Chunks for each size of message that there is, with its headers.
constexpr char kConfiguration[] = R"([general]
version = 1
[[segment]]
[[segment.mempool]]
size = 256
count = 256
[[segment.mempool]]
size = 8192
count = 256
[[segment.mempool]]
size = 131072
count = 64
[[segment.mempool]]
size = 1049600
count = 64
)";

}  // namespace

bool Roudi::Installed() { return access(kProgram, X_OK) == 0; }

Roudi::~Roudi() {
  if (process_ != nullptr) process_->Terminate();
  if (output_ >= 0) close(output_);
  if (!ready_) return;
  // Version 2.0.3 aborts at its end when clients have come and gone, and leaves its segments: its own, and that of our group.
  shm_unlink("/iceoryx_mgmt");
  if (const group* own = getgrgid(getegid()); own != nullptr) shm_unlink(("/" + std::string(own->gr_name)).c_str());
  // Its socket and lock, and those of programs that ended no better (iceoryx_echo's name themselves).
  std::error_code error;
  for (const auto& file : std::filesystem::directory_iterator("/tmp", error)) {
    const std::string name = file.path().filename();
    if (name == "roudi" || name == "roudi.lock" || name.starts_with("ipcrpc-bench-")) std::filesystem::remove(file.path(), error);
  }
}

void Roudi::Start() {
  if (process_ != nullptr) return;
  const std::string configuration = directory_ + "/roudi.toml";
  std::ofstream(configuration) << kConfiguration;
  int output[2];
  if (pipe(output) != 0) Fail("pipe");
  process_ = std::make_unique<Process>(Process::kAnyCpu, [&] {
    dup2(output[1], STDOUT_FILENO);
    dup2(output[1], STDERR_FILENO);
    execl(kProgram, kProgram, "--config-file", configuration.c_str(), "--monitoring-mode", "off", nullptr);
    Fail(std::string("cannot run ") + kProgram);
  });
  close(output[1]);
  output_ = output[0];
  std::string said;
  char text[512];
  for (pollfd more = {.fd = output_, .events = POLLIN, .revents = 0}; poll(&more, 1, kPatienceMs) == 1;) {
    const ssize_t got = read(output_, text, sizeof(text));
    if (got <= 0) break;
    said.append(text, static_cast<size_t>(got));
    if ((ready_ = said.find(kReady) != std::string::npos)) return;
  }
  fprintf(stderr, "iox-roudi did not get ready: %s\n", said.c_str());
}

}  // namespace ipcrpc::bench

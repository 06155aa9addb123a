// What a process that has confined itself can do, and what it cannot.
#include "services/monitord/confine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <iostream>
#include <string>
#include <thread>

#include "gtest/gtest.h"
#include "services/monitor/netlink_socket.h"

namespace ipcrpc::monitor {
namespace {

int problems = 0;

void Expect(bool right, const std::string& what) {
  if (right) return;
  ++problems;
  std::cerr << "wrong: " << what << ": " << strerror(errno) << "\n";
}
void Refused(const char* what, bool failed) {
  Expect(failed && errno == EPERM, what);
  errno = 0;
}
// The value of a line of this thread's status.
std::string Status(const std::string& key) {
  std::ifstream file("/proc/thread-self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key + ":\t")) return line.substr(key.size() + 2);
  }
  return "";
}

// In a process of its own; whether all went well.
bool InAnotherProcess(const std::function<void()>& run) {
  const pid_t child = fork();
  if (child == 0) {
    run();
    _exit(problems == 0 ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void TryWhatIsForbidden() {
  Refused("write a file", open("/tmp/ipcrpc-confined", O_WRONLY | O_CREAT, 0600) < 0);
  Refused("write a file that is there", open("/dev/null", O_RDWR) < 0);
  Refused("a file without a name", open("/tmp", O_TMPFILE | O_WRONLY, 0600) < 0);
  Refused("unlink", unlink("/tmp/ipcrpc-none") < 0);
  Refused("run a program", execl("/bin/true", "true", nullptr) < 0);
  Refused("fork", fork() < 0);
  Refused("a socket of the Internet", socket(AF_INET, SOCK_STREAM, 0) < 0);
  Refused("a Unix socket", socket(AF_UNIX, SOCK_STREAM, 0) < 0);
  Refused("a signal to another process", kill(getppid(), 0) < 0);
  Refused("trace", ptrace(PTRACE_ATTACH, getppid(), nullptr, nullptr) < 0);
  Refused("another namespace", unshare(CLONE_NEWNET) < 0);
  Refused("mount", mount("none", "/tmp", "tmpfs", 0, nullptr) < 0);
  Refused("another user", setuid(65534) < 0);
  Refused("new code", mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED);
  void* const page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  Expect(page != MAP_FAILED, "memory");
  Refused("code out of data", mprotect(page, 4096, PROT_READ | PROT_EXEC) < 0);
}

void TryWhatIsNeeded() {
  Expect(NetlinkQuery::Open().ok(), "a Netlink socket");
  Expect(NetlinkFeed::Open(NETLINK_KOBJECT_UEVENT, 1, 4 << 20).ok(), "a socket for uevents");
  Expect(!std::ifstream("/proc/stat").fail(), "/proc/stat");
  bool ran = false;
  std::thread([&] {
    ran = true;
    Expect(Status("Seccomp") == "2", "the filter in a thread");
  }).join();
  Expect(ran, "a thread");
}

TEST(ConfineTest, TakesAllRightsButWhatACollectorNeeds) {
  EXPECT_TRUE(InAnotherProcess([] {
    Expect(Confine(/*process_events=*/false).ok(), "Confine");
    for (const char* set : {"CapEff", "CapPrm", "CapInh", "CapAmb"}) {
      Expect(Status(set) == "0000000000000000", std::string(set) + " " + Status(set));
    }
    Expect(Status("NoNewPrivs") == "1", "NoNewPrivs");
    Expect(Status("Seccomp") == "2", "Seccomp");
    TryWhatIsForbidden();
    TryWhatIsNeeded();
  }));
}

TEST(ConfineTest, KeepsOneCapabilityForProcessEventsIfItIsThere) {
  const bool there = std::stoull(Status("CapPrm"), nullptr, 16) >> CAP_NET_ADMIN & 1;
  EXPECT_TRUE(InAnotherProcess([there] {
    Expect(Confine(/*process_events=*/true).ok(), "Confine");
    const std::string kept = there ? "0000000000001000" : "0000000000000000";
    for (const char* set : {"CapEff", "CapPrm"}) Expect(Status(set) == kept, std::string(set) + " " + Status(set));
    TryWhatIsForbidden();
    TryWhatIsNeeded();
  }));
}

}  // namespace
}  // namespace ipcrpc::monitor

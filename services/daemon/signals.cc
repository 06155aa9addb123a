#include "services/daemon/signals.h"

#include <dirent.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

namespace ipcrpc::hosting {
namespace {

sigset_t Ours() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, signal);
  return signals;
}

}  // namespace

Signals::Signals() {
  signal(SIGPIPE, SIG_IGN);
  const sigset_t signals = Ours();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  fd_.reset(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
}

int Signals::Take() {
  signalfd_siginfo info;
  return read(fd_.get(), &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

void Signals::Release() {
  const sigset_t signals = Ours();
  pthread_sigmask(SIG_UNBLOCK, &signals, nullptr);
}

int Signals::Threads() {
  DIR* const tasks = opendir("/proc/self/task");
  if (tasks == nullptr) return 1;
  int threads = 0;
  while (const dirent* entry = readdir(tasks)) threads += entry->d_name[0] != '.';
  closedir(tasks);
  return threads;
}

}  // namespace ipcrpc::hosting

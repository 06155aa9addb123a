#include "transport/sysvmq/queue.h"

#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <time.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <utility>

#include "transport/base/clock.h"

namespace ipcrpc::sysvmq {

int Send(int queue, long type, const std::byte* from, size_t size) {
  Message message;
  message.type = type;
  if (size > 0) std::memcpy(message.bytes, from, size);
  while (true) {
    if (msgsnd(queue, &message, size, IPC_NOWAIT) == 0) return 0;
    if (errno != EINTR) return -1;
  }
}

ssize_t Receive(int queue, Message& message) {
  while (true) {
    const ssize_t got = msgrcv(queue, &message, sizeof message.bytes, 0, IPC_NOWAIT | MSG_NOERROR);
    if (got >= 0 || errno != EINTR) {
      if (got < 0 && errno == ENOMSG) errno = EAGAIN;
      return got;
    }
  }
}

void Remove(int queue) { msgctl(queue, IPC_RMID, nullptr); }

int Reader::NewEvent() { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

Reader::~Reader() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mu_);
    stop_ = true;
    changed_.notify_all();
  }
  // Removing the queue has woken it. Where that is not ours to do a kick does; and since a peer with the right to read
  // here could take that, another.
  while (!ended_.load(std::memory_order_acquire)) {
    Send(queue_, kKick, nullptr, 0);
    const timespec pause = ToTimespec(200'000);
    if (!ended_.load(std::memory_order_acquire)) nanosleep(&pause, nullptr);
  }
  thread_.join();
}

ssize_t Reader::Receive(Message& message) {
  {
    const std::lock_guard lock(mu_);
    if (armed_) {
      errno = EAGAIN;
      return -1;
    }
    if (std::exchange(holding_, false)) {
      eventfd_t ignored;
      eventfd_read(event_.get(), &ignored);
      errno = held_error_;
      if (held_size_ < 0) return -1;
      message.type = held_.type;
      std::memcpy(message.bytes, held_.bytes, static_cast<size_t>(held_size_));
      return held_size_;
    }
  }
  return sysvmq::Receive(queue_, message);
}

bool Reader::Arm() {
  const std::lock_guard lock(mu_);
  if (holding_) return false;
  if (armed_) return true;
  // What is there already needs no thread.
  held_size_ = sysvmq::Receive(queue_, held_);
  held_error_ = errno;
  if (held_size_ >= 0 || held_error_ != EAGAIN) {
    holding_ = true;
    eventfd_write(event_.get(), 1);
    return false;
  }
  armed_ = true;
  if (thread_.joinable()) {
    changed_.notify_all();
  } else {
    StartThread();
  }
  return true;
}

void Reader::Disarm() {
  std::unique_lock lock(mu_);
  while (armed_) {
    disarm_ = true;
    // It comes behind what is there. A peer with the right to read here could take it.
    Send(queue_, kKick, nullptr, 0);
    changed_.wait_for(lock, std::chrono::milliseconds(1), [this] { return !armed_; });
  }
}

// REQUIRES: mu_.
void Reader::StartThread() {
  // Signals are for the program's own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    thread_ = std::thread([this] { Run(); });
    pthread_setname_np(thread_.native_handle(), "ipcrpc-sysvmq");
  } catch (const std::system_error&) {
    // No thread to be had: as if something were there, so that the receiver asks again.
    armed_ = false;
    held_size_ = -1;
    held_error_ = EAGAIN;
    holding_ = true;
    eventfd_write(event_.get(), 1);
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void Reader::Run() {
  std::unique_lock lock(mu_);
  while (true) {
    changed_.wait(lock, [this] { return armed_ || stop_; });
    if (stop_) break;
    lock.unlock();
    Message message;
    const ssize_t got = msgrcv(queue_, &message, sizeof message.bytes, 0, MSG_NOERROR);
    const int error = errno;
    lock.lock();
    if (got < 0 && error == EINTR) continue;
    const bool kicked = got >= 0 && message.type == kKick;
    if (kicked && !disarm_) continue;
    if (!kicked) {
      held_size_ = got;
      held_error_ = error;
      if (got >= 0) {
        held_.type = message.type;
        std::memcpy(held_.bytes, message.bytes, static_cast<size_t>(got));
      }
      holding_ = true;
      eventfd_write(event_.get(), 1);
    }
    armed_ = false;
    if (std::exchange(disarm_, false)) changed_.notify_all();
  }
  ended_.store(true, std::memory_order_release);
}

}  // namespace ipcrpc::sysvmq

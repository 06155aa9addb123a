// A System V message queue, and a thread that makes one pollable.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <thread>

#include "transport/base/fd.h"

namespace ipcrpc::sysvmq {

// The most in one message; eight of them fill a queue (kernel.msgmnb, 16 KiB).
inline constexpr size_t kMessageBytes = 2048;

enum Type : long {
  kData = 1,
  kEnd = 2,        // no bytes: the sender has closed
  kWantSpace = 3,  // no bytes: the queue was full; answer when you get here
  kSpace = 4,      // no bytes: that answer
  kKick = 5,       // no bytes: whoever waits here shall look round
};

struct Message {
  long type;
  std::byte bytes[kMessageBytes];
};

// Without blocking: 0, or -1 with errno. What is longer than a message of ours is cut off, and then makes no sense.
int Send(int queue, long type, const std::byte* from, size_t size);
ssize_t Receive(int queue, Message& message);
void Remove(int queue);

// Messages of a queue, for one receiver that polls.
//
// The receiver reads the queue itself while it is awake. Before it sleeps on fd() it arms the reader: a thread, made at
// the first time, takes over and waits in the kernel for one message, holds it for the receiver, makes fd() readable and
// parks. While it waits the queue is its own, or messages would overtake each other. So there is no thread before the
// first sleep, none runs while the receiver is awake, and it ends with the reader.
class Reader {
 public:
  explicit Reader(int queue) : queue_(queue) {}
  ~Reader();  // the queue is removed, or a kick ends the thread; not for a forked child
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  int queue() const { return queue_; }
  int fd() const { return event_.get(); }

  // As sysvmq::Receive. EAGAIN also while the thread has the queue.
  ssize_t Receive(Message& message);
  // False: there is a message.
  bool Arm();
  // Takes the queue back from the thread, which may have a message by now: then the next Receive() has it. Blocks for as long
  // as it takes the thread to answer.
  void Disarm();

 private:
  void Run();
  void StartThread();

  const int queue_;
  const UniqueFd event_{NewEvent()};
  static int NewEvent();

  std::mutex mu_;
  std::condition_variable changed_;
  bool armed_ = false;    // the queue is the thread's
  bool holding_ = false;  // held_ is there
  bool disarm_ = false;   // the thread is to give it back
  bool stop_ = false;
  std::atomic<bool> ended_{false};
  Message held_;
  ssize_t held_size_ = 0;
  int held_error_ = 0;
  std::thread thread_;
};

}  // namespace ipcrpc::sysvmq

// Reads and writes that are no points of thread cancellation.
//
// In a program with threads glibc's read() and write() take a note before and after, for pthread_cancel(), which nothing here
// allows for. On the path of a call that is seen. Sanitizers look at glibc's own.
#pragma once

#include <mqueue.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#include <cstddef>

namespace ipcrpc {

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline ssize_t DirectRead(int fd, void* to, size_t size) { return read(fd, to, size); }
inline ssize_t DirectWrite(int fd, const void* from, size_t size) { return write(fd, from, size); }
inline ssize_t DirectReceive(mqd_t queue, char* to, size_t size) { return mq_receive(queue, to, size, nullptr); }
inline int DirectSend(mqd_t queue, const char* from, size_t size) { return mq_send(queue, from, size, 0); }
#else
inline ssize_t DirectRead(int fd, void* to, size_t size) { return syscall(SYS_read, fd, to, size); }
inline ssize_t DirectWrite(int fd, const void* from, size_t size) { return syscall(SYS_write, fd, from, size); }
inline ssize_t DirectReceive(mqd_t queue, char* to, size_t size) {
  return syscall(SYS_mq_timedreceive, queue, to, size, nullptr, nullptr);
}
inline int DirectSend(mqd_t queue, const char* from, size_t size) {
  return static_cast<int>(syscall(SYS_mq_timedsend, queue, from, size, 0u, nullptr));
}
#endif

}  // namespace ipcrpc

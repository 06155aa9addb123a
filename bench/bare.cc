#include "bench/bare.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/netlink.h>
#include <mqueue.h>
#include <poll.h>
#include <semaphore.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include "bench/scratch_directory.h"

namespace ipcrpc::bench {
namespace {

// An Echo with 64 bytes of payload, serialised.
constexpr size_t kMessageBytes = 71;

using Side = Mechanism::Side;

Side Other(Side side) { return side == Side::kClient ? Side::kServer : Side::kClient; }
size_t Index(Side side) { return side == Side::kClient ? 0 : 1; }

// A side whose peer has gone has nothing more to do.
void Check(bool ok) {
  if (!ok) _exit(1);
}

// ---- what carries bytes ------------------------------------------------------------------------

// Two descriptors for each side, to read from and to write to.
class Descriptors final : public Mechanism {
 public:
  static std::unique_ptr<Mechanism> SocketPair() {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) Fail("socketpair");
    auto mechanism = std::make_unique<Descriptors>();
    mechanism->read_[0] = mechanism->write_[0] = fds[0];
    mechanism->read_[1] = mechanism->write_[1] = fds[1];
    return mechanism;
  }
  static std::unique_ptr<Mechanism> Pipes() {
    int there[2], back[2];
    if (pipe2(there, O_CLOEXEC) != 0 || pipe2(back, O_CLOEXEC) != 0) Fail("pipe");
    return OverPipes(there, back);
  }
  static std::unique_ptr<Mechanism> Fifos() {
    const ScratchDirectory directory;
    int there[2], back[2];
    MakeFifo(directory.path() + "/there", there);
    MakeFifo(directory.path() + "/back", back);
    return OverPipes(there, back);
  }
  ~Descriptors() override {
    Close(Side::kClient);
    Close(Side::kServer);
  }

  void Take(Side side) override { Close(Other(side)); }
  void Send(Side side, const char* data, size_t size) override {
    while (size > 0) {
      const ssize_t sent = write(write_[Index(side)], data, size);
      Check(sent > 0);
      data += sent, size -= static_cast<size_t>(sent);
    }
  }
  void Receive(Side side, char* data, size_t size) override {
    while (size > 0) {
      const ssize_t got = read(read_[Index(side)], data, size);
      Check(got > 0);
      data += got, size -= static_cast<size_t>(got);
    }
  }

 private:
  static std::unique_ptr<Mechanism> OverPipes(const int there[2], const int back[2]) {
    auto mechanism = std::make_unique<Descriptors>();
    mechanism->read_[0] = back[0], mechanism->write_[0] = there[1];
    mechanism->read_[1] = there[0], mechanism->write_[1] = back[1];
    return mechanism;
  }
  // With both ends open, as pipe() leaves them; the name may go.
  static void MakeFifo(const std::string& path, int ends[2]) {
    if (mkfifo(path.c_str(), 0600) != 0) Fail("mkfifo " + path);
    ends[0] = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    ends[1] = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (ends[0] < 0 || ends[1] < 0 || fcntl(ends[0], F_SETFL, 0) != 0) Fail("cannot open " + path);
  }
  void Close(Side side) {
    const size_t i = Index(side);
    if (read_[i] >= 0) close(read_[i]);
    if (write_[i] != read_[i] && write_[i] >= 0) close(write_[i]);
    read_[i] = write_[i] = -1;
  }
  int read_[2] = {-1, -1};
  int write_[2] = {-1, -1};
};

// What moves whole messages of a limited size: cut by the sender, and received by as many reads.
class Messages : public Mechanism {
 public:
  void Send(Side side, const char* data, size_t size) final {
    for (size_t at = 0; at < size; at += limit_) SendOne(Index(side), data + at, std::min(limit_, size - at));
  }
  void Receive(Side side, char* data, size_t size) final {
    for (size_t at = 0; at < size;) {
      const size_t got = ReceiveOne(Index(side));
      std::memcpy(data + at, buffer(), std::min(got, size - at));
      at += got;
    }
  }

 protected:
  explicit Messages(size_t limit) : limit_(limit), buffer_(sizeof(long) + limit) {}
  size_t limit() const { return limit_; }
  char* room() { return buffer_.data(); }
  size_t room_bytes() const { return buffer_.size(); }

 private:
  virtual void SendOne(size_t side, const char* data, size_t size) = 0;
  virtual size_t ReceiveOne(size_t side) = 0;  // into buffer()
  virtual const char* buffer() { return buffer_.data(); }

  const size_t limit_;
  std::vector<char> buffer_;
};

class PosixQueues final : public Messages {
 public:
  PosixQueues() : Messages(1024) {
    for (size_t i = 0; i < 2; ++i) {
      const std::string name = "/ipcrpc-bench." + std::to_string(getpid()) + (i == 0 ? ".a" : ".b");
      mq_attr geometry = {};
      geometry.mq_maxmsg = 8;
      geometry.mq_msgsize = static_cast<long>(limit());
      queue_[i] = mq_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600, &geometry);
      if (queue_[i] < 0) Fail("mq_open: " + std::string(strerror(errno)));
      mq_unlink(name.c_str());
    }
  }
  ~PosixQueues() override {
    mq_close(queue_[0]);
    mq_close(queue_[1]);
  }

 private:
  void SendOne(size_t side, const char* data, size_t size) override { Check(mq_send(queue_[side], data, size, 0) == 0); }
  size_t ReceiveOne(size_t side) override {
    const ssize_t got = mq_receive(queue_[1 - side], room(), limit(), nullptr);
    Check(got > 0);
    return static_cast<size_t>(got);
  }
  mqd_t queue_[2];
};

class SystemVQueues final : public Messages {
 public:
  SystemVQueues() : Messages(4096) {
    for (int& queue : queue_) {
      if ((queue = msgget(IPC_PRIVATE, 0600)) < 0) Fail("msgget: " + std::string(strerror(errno)));
    }
  }
  // In the parent alone: the sides are processes that end by _exit().
  ~SystemVQueues() override {
    for (int queue : queue_) msgctl(queue, IPC_RMID, nullptr);
  }

 private:
  void SendOne(size_t side, const char* data, size_t size) override {
    char message[sizeof(long) + 4096];
    const long type = 1;
    std::memcpy(message, &type, sizeof(type));
    std::memcpy(message + sizeof(type), data, size);
    Check(msgsnd(queue_[side], message, size, 0) == 0);
  }
  size_t ReceiveOne(size_t side) override {
    const ssize_t got = msgrcv(queue_[1 - side], room(), limit(), 0, 0);
    Check(got > 0);
    return static_cast<size_t>(got);
  }
  const char* buffer() override { return room() + sizeof(long); }
  int queue_[2];
};

class Netlink final : public Messages {
 public:
  Netlink() : Messages(16 * 1024) {
    for (size_t i = 0; i < 2; ++i) {
      socket_[i] = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_USERSOCK);
      address_[i].nl_family = AF_NETLINK;
      auto* address = reinterpret_cast<sockaddr*>(&address_[i]);
      socklen_t size = sizeof(sockaddr_nl);
      if (socket_[i] < 0 || bind(socket_[i], address, size) != 0 || getsockname(socket_[i], address, &size) != 0) {
        Fail("netlink: " + std::string(strerror(errno)));
      }
    }
  }
  ~Netlink() override {
    close(socket_[0]);
    close(socket_[1]);
  }

 private:
  void SendOne(size_t side, const char* data, size_t size) override {
    const auto* to = reinterpret_cast<const sockaddr*>(&address_[1 - side]);
    Check(sendto(socket_[side], data, size, 0, to, sizeof(sockaddr_nl)) == static_cast<ssize_t>(size));
  }
  size_t ReceiveOne(size_t side) override {
    const ssize_t got = recv(socket_[side], room(), limit(), 0);
    Check(got > 0);
    return static_cast<size_t>(got);
  }
  int socket_[2];
  sockaddr_nl address_[2] = {};
};

// ---- what only wakes ---------------------------------------------------------------------------

// A turn for each side; no data.
template <typename Turns>
class Wakes final : public Mechanism {
 public:
  void Send(Side side, const char*, size_t) override { turns_.Post(1 - Index(side)); }
  void Receive(Side side, char*, size_t) override { turns_.Await(Index(side)); }

 private:
  Turns turns_;
};

class FutexTurns {
 public:
  void Post(size_t side) {
    std::atomic<uint32_t>& word = words()[side].word;
    word.fetch_add(1, std::memory_order_release);
    syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }
  void Await(size_t side) {
    std::atomic<uint32_t>& word = words()[side].word;
    while (word.load(std::memory_order_acquire) == seen_) syscall(SYS_futex, &word, FUTEX_WAIT, seen_, nullptr, nullptr, 0);
    ++seen_;
  }

 private:
  struct Word {
    alignas(64) std::atomic<uint32_t> word;
  };
  Word* words() { return memory_.As<Word>(); }
  SharedMemory memory_{2 * sizeof(Word)};
  uint32_t seen_ = 0;
};

class EventfdTurns {
 public:
  EventfdTurns() {
    for (int& fd : fds_) fd = eventfd(0, EFD_CLOEXEC);
  }
  ~EventfdTurns() {
    for (int fd : fds_) close(fd);
  }
  void Post(size_t side) { Check(eventfd_write(fds_[side], 1) == 0); }
  void Await(size_t side) {
    eventfd_t value;
    Check(eventfd_read(fds_[side], &value) == 0);
  }

 private:
  int fds_[2];
};

class SemaphoreTurns {
 public:
  SemaphoreTurns() {
    for (size_t i = 0; i < 2; ++i) sem_init(&semaphores()[i].semaphore, /*pshared=*/1, 0);
  }
  void Post(size_t side) { Check(sem_post(&semaphores()[side].semaphore) == 0); }
  void Await(size_t side) {
    while (sem_wait(&semaphores()[side].semaphore) != 0) Check(errno == EINTR);
  }

 private:
  struct Semaphore {
    alignas(64) sem_t semaphore;
  };
  Semaphore* semaphores() { return memory_.As<Semaphore>(); }
  SharedMemory memory_{2 * sizeof(Semaphore)};
};

class SystemVSemaphoreTurns {
 public:
  SystemVSemaphoreTurns() : set_(semget(IPC_PRIVATE, 2, 0600)) {
    if (set_ < 0) Fail("semget: " + std::string(strerror(errno)));
  }
  ~SystemVSemaphoreTurns() { semctl(set_, 0, IPC_RMID); }
  void Post(size_t side) { Change(side, 1); }
  void Await(size_t side) { Change(side, -1); }

 private:
  void Change(size_t side, short by) {
    sembuf operation = {.sem_num = static_cast<unsigned short>(side), .sem_op = by, .sem_flg = 0};
    Check(semop(set_, &operation, 1) == 0);
  }
  const int set_;
};

template <typename T>
std::unique_ptr<Mechanism> Make() {
  return std::make_unique<T>();
}

// ---- workloads ---------------------------------------------------------------------------------

class BareEcho : public Workload {
 public:
  BareEcho(MechanismFactory make, size_t bytes) : mechanism_(make()), message_(bytes) {}

  void Serve(const ReadySignal& ready, const SharedMemory&) override {
    mechanism_->Take(Side::kServer);
    ready.Tell();
    for (;;) {
      mechanism_->Receive(Side::kServer, message_.data(), message_.size());
      mechanism_->Send(Side::kServer, message_.data(), message_.size());
    }
  }

 protected:
  const std::unique_ptr<Mechanism> mechanism_;
  std::vector<char> message_;
};

class Unary final : public BareEcho {
 public:
  explicit Unary(MechanismFactory make) : BareEcho(make, kMessageBytes) {}
  void Drive(const SharedMemory& sample) override {
    mechanism_->Take(Side::kClient);
    Measure(*sample.As<Sample>(), [this] {
      mechanism_->Send(Side::kClient, message_.data(), message_.size());
      mechanism_->Receive(Side::kClient, message_.data(), message_.size());
    });
  }
};

class Stream final : public BareEcho {
 public:
  using BareEcho::BareEcho;
  void Drive(const SharedMemory& sample) override {
    mechanism_->Take(Side::kClient);
    std::thread([this] {
      const std::vector<char> message(message_.size());
      for (;;) mechanism_->Send(Side::kClient, message.data(), message.size());
    }).detach();
    Measure(*sample.As<Sample>(), [this] { mechanism_->Receive(Side::kClient, message_.data(), message_.size()); });
    _exit(0);  // the sender never ends by itself
  }
};

}  // namespace

const std::vector<BareMechanism>& BareMechanisms() {
  static const std::vector<BareMechanism> kMechanisms = {
      {"futex", Make<Wakes<FutexTurns>>, false},
      {"eventfd", Make<Wakes<EventfdTurns>>, false},
      {"POSIX semaphores", Make<Wakes<SemaphoreTurns>>, false},
      {"System V semaphores", Make<Wakes<SystemVSemaphoreTurns>>, false},
      {"socket pair", Descriptors::SocketPair, true},
      {"pipes", Descriptors::Pipes, true},
      {"FIFOs", Descriptors::Fifos, true},
      {"POSIX queues", Make<PosixQueues>, true},
      {"System V queues", Make<SystemVQueues>, true},
      {"netlink", Make<Netlink>, true},
  };
  return kMechanisms;
}

const BareMechanism& FindBare(const std::string& name) {
  for (const BareMechanism& mechanism : BareMechanisms()) {
    if (mechanism.name == name) return mechanism;
  }
  Fail("no bare mechanism '" + name + "'");
}

std::unique_ptr<Workload> BareUnary(MechanismFactory make) { return std::make_unique<Unary>(make); }
std::unique_ptr<Workload> BareStream(MechanismFactory make, size_t bytes) { return std::make_unique<Stream>(make, bytes); }

}  // namespace ipcrpc::bench

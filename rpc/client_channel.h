// A channel: an address and the connection to it, made when a call needs one and made again when it is lost.
#pragma once

#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ipcrpc/channel.h"
#include "ipcrpc/internal/call.h"
#include "ipcrpc/internal/mutex.h"
#include "rpc/backoff.h"
#include "rpc/client_connection.h"
#include "transport/scheme.h"

namespace ipcrpc::rpc {

// One who wants a connection and does not wait for it.
class Applicant {
 public:
  // Or why there is none. Once, on a thread that may be used for a while.
  virtual void OnConnection(absl::StatusOr<std::shared_ptr<ClientConnection>> connection) = 0;

 protected:
  ~Applicant() = default;
};

// Makes a link, as Connect() of transport/scheme.h does.
using Connector = std::function<absl::StatusOr<std::unique_ptr<Link>>(int64_t deadline_ns, std::vector<Refusal>* refused)>;

class ClientChannel final : public ChannelInterface, public std::enable_shared_from_this<ClientChannel> {
 public:
  ClientChannel(const std::string& target, const ChannelArguments& arguments, std::shared_ptr<IoRuntime> runtime);
  // `target` is what it is called; `connect` runs on many threads, one at a time.
  ClientChannel(const std::string& target, Connector connect, const ChannelArguments& arguments, std::shared_ptr<IoRuntime> runtime);
  ~ClientChannel() override;

  ConnectivityState GetState(bool try_to_connect) override;
  TransportInfo GetTransportInfo() override;

  // The connection for a new call; connects if there is none, by the calling thread. `wait_for_ready`: tries until
  // the deadline, or until `cancelled()`, asked every tenth of a second and at WakeWaiters(). Else UNAVAILABLE (and what
  // Connect() says) after one try.
  absl::StatusOr<std::shared_ptr<ClientConnection>> Get(bool wait_for_ready, int64_t deadline_ns,
                                                        const std::function<bool()>& cancelled);

  // Has those who wait in Get() ask at once whether they are cancelled.
  void WakeWaiters();

  // Null when there is none now.
  std::shared_ptr<ClientConnection> Current();
  // The connection if there is one. Else null, and the applicant is told, with what Get() would have returned by
  // its deadline: by the one worker that connects for all of them.
  std::shared_ptr<ClientConnection> GetOrApply(Applicant* applicant, bool wait_for_ready, int64_t deadline_ns);
  // False: the applicant is being told already.
  bool Withdraw(Applicant* applicant);

  IoRuntime& runtime() const { return *runtime_; }
  // A forked child has a runtime of its own, where it hears that the channel is none of its.
  IoRuntime& runtime_for_reactions() const { return ours() ? *runtime_ : *IoRuntime::Default(); }
  int64_t max_receive_bytes() const { return max_receive_bytes_; }
  int64_t max_send_bytes() const { return max_send_bytes_; }
  const std::string& target() const { return target_; }
  // False in a forked child of the process that made the channel.
  bool ours() const { return fork_guard_.ours(); }

 private:
  bool WaitForStateChangeNs(ConnectivityState last, int64_t deadline_ns) override;
  bool WaitForConnectedNs(int64_t deadline_ns) override;

  struct Application {
    Applicant* applicant;
    bool wait_for_ready;
    int64_t deadline_ns;
    uint64_t deadline_timer;  // 0: none
  };

  enum class Outcome { kConnected, kFailed, kHopeless, kCancelled, kOutOfTime };
  // One try to connect, that of another thread if there is one; kConnected may be lost again by now. The mutex is
  // held but for the while.
  Outcome TryOnce(std::unique_lock<std::mutex>& lock, int64_t deadline_ns, const std::function<bool()>& cancelled);
  // For servers that do not answer at once: by a worker, so that whoever waits for it can leave.
  void ConnectPatiently();
  void Conclude(absl::StatusOr<std::unique_ptr<Link>> link, const std::vector<Refusal>& refused);
  // The last failure as the status of a call.
  absl::Status Failure() const;
  absl::Status OutOfTime() const;
  void Pause(std::unique_lock<std::mutex>& lock, int64_t until_ns);
  void ConnectForApplicants();
  void Expire(Applicant* applicant);
  // Takes it out; false: it is not there. Both with mu_ held.
  bool TakeOut(Applicant* applicant);
  void NoteTransport(TransportInfo transport, bool kept_from_a_better_one);
  static void ConnectInBackground(std::weak_ptr<ClientChannel> channel);
  void SetState(ConnectivityState state);
  // Returns the one before. With mu_ held.
  std::shared_ptr<ClientConnection> Exchange(std::shared_ptr<ClientConnection> connection);
  void OnGone(const ClientConnection* connection);

  const ForkGuard fork_guard_;
  const std::string target_;
  const Connector connect_;
  const bool automatic_;  // the transport is chosen each time
  const std::shared_ptr<IoRuntime> runtime_;
  const int64_t max_receive_bytes_, max_send_bytes_;
  const Keepalive keepalive_;

  std::mutex mu_;
  std::condition_variable changed_;
  ConnectivityState state_ = ConnectivityState::IDLE;
  bool connecting_ = false;
  uint64_t tries_ = 0;  // that are concluded; of the last one:
  absl::StatusCode failure_code_ = absl::StatusCode::kOk;  // not a Status: those must not be shared by threads
  std::string failure_;
  Backoff backoff_;
  int64_t next_try_ns_ = 0;  // for those who wait until it works
  bool background_ = false;  // a GetState(true) connects on a worker, until it has worked
  std::shared_ptr<ClientConnection> connection_;  // written with connection_mu_ held, too
  internal::Mutex connection_mu_;                 // for Current(), which every call asks
  std::vector<Application> applications_;
  bool connects_for_applicants_ = false;  // a worker does
  TransportInfo transport_;
  std::string said_;  // the last automatic choice that was logged
};

}  // namespace ipcrpc::rpc

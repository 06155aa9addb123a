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
#include "rpc/client_connection.h"
#include "transport/address.h"
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

class ClientChannel final : public ChannelInterface, public std::enable_shared_from_this<ClientChannel> {
 public:
  ClientChannel(const std::string& target, const ChannelArguments& arguments, std::shared_ptr<IoRuntime> runtime);
  ~ClientChannel() override;

  ConnectivityState GetState(bool try_to_connect) override;
  TransportInfo GetTransportInfo() override;

  // The connection for a new call; connects if there is none, by the calling thread. `wait_for_ready`: tries until
  // the deadline, or until `cancelled()`, asked every tenth of a second. Else UNAVAILABLE (and what Connect() says) after
  // one try.
  absl::StatusOr<std::shared_ptr<ClientConnection>> Get(bool wait_for_ready, int64_t deadline_ns,
                                                        const std::function<bool()>& cancelled);

  // Null when there is none now.
  std::shared_ptr<ClientConnection> Current();
  // The connection if there is one. Else null, and the applicant is told, with what Get() would have returned by
  // its deadline: by the one worker that connects for all of them.
  std::shared_ptr<ClientConnection> GetOrApply(Applicant* applicant, bool wait_for_ready, int64_t deadline_ns);
  // False: the applicant is being told already.
  bool Withdraw(Applicant* applicant);

  IoRuntime& runtime() const { return *runtime_; }
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

  absl::StatusOr<std::shared_ptr<ClientConnection>> ConnectOnce(std::unique_lock<std::mutex>& lock, int64_t deadline_ns);
  // Once: UNAVAILABLE and DEADLINE_EXCEEDED are calls' statuses. `hopeless`: no other try would help.
  absl::StatusOr<std::shared_ptr<ClientConnection>> TryOnce(std::unique_lock<std::mutex>& lock, int64_t deadline_ns, bool* hopeless);
  void ConnectForApplicants();
  void Expire(Applicant* applicant);
  // Takes it out; false: it is not there. Both with mu_ held.
  bool TakeOut(Applicant* applicant);
  void NoteTransport(TransportInfo transport, bool kept_from_a_better_one);
  static void ConnectInBackground(std::weak_ptr<ClientChannel> channel);
  void SetState(ConnectivityState state);
  void OnGone(const ClientConnection* connection);

  const ForkGuard fork_guard_;
  const std::string target_;
  const absl::StatusOr<Address> address_;
  const std::shared_ptr<IoRuntime> runtime_;
  const int64_t max_receive_bytes_, max_send_bytes_;
  const int64_t initial_backoff_ns_, max_backoff_ns_;

  std::mutex mu_;
  std::condition_variable changed_;
  ConnectivityState state_ = ConnectivityState::IDLE;
  bool connecting_ = false;
  bool background_ = false;  // a GetState(true) connects on a worker, until it has worked
  std::shared_ptr<ClientConnection> connection_;
  std::vector<Application> applications_;
  bool connects_for_applicants_ = false;  // a worker does
  TransportInfo transport_;
  std::string said_;  // the last automatic choice that was logged
};

}  // namespace ipcrpc::rpc

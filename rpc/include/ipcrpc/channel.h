// A client's way to a server: an address, a connection made when needed and made again when lost.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "ipcrpc/export.h"
#include "ipcrpc/time_point.h"

namespace ipcrpc {

namespace internal {
class InterceptedChannel;
}

enum class ConnectivityState { IDLE, CONNECTING, READY, TRANSIENT_FAILURE, SHUTDOWN };

// Credentials exist for source compatibility: who may connect is decided by the socket's mode and owner.
class ChannelCredentials {};
inline std::shared_ptr<ChannelCredentials> InsecureChannelCredentials() {
  return std::make_shared<ChannelCredentials>();
}

// Options of a channel or server, by key: see ipcrpc/argument_names.h.
// Unknown keys are kept and ignored.
class IPCRPC_EXPORT ChannelArguments {
 public:
  void SetInt(const std::string& key, int value) { values_[key] = value; }
  void SetString(const std::string& key, const std::string& value) { values_[key] = value; }
  void SetMaxReceiveMessageSize(int bytes) { SetInt("ipcrpc.max_receive_message_length", bytes); }
  void SetMaxSendMessageSize(int bytes) { SetInt("ipcrpc.max_send_message_length", bytes); }
  void SetLoadBalancingPolicyName(const std::string& name) { SetString("ipcrpc.lb_policy_name", name); }
  void SetServiceConfigJSON(const std::string& json) { SetString("ipcrpc.service_config", json); }
  void SetUserAgentPrefix(const std::string& prefix) { SetString("ipcrpc.primary_user_agent", prefix); }

  int GetInt(const std::string& key, int otherwise) const;
  const std::map<std::string, std::variant<int, std::string>>& values() const { return values_; }

 private:
  std::map<std::string, std::variant<int, std::string>> values_;
};

// How a channel reaches its server.
struct TransportInfo {
  struct Refusal {
    std::string transport;  // "shm"
    std::string reason;
  };
  std::string place;  // "shm:/run/ipcrpc/monitor.shm"; empty while not connected
  std::string peer;   // "pid 12, uid 0, gid 0", as far as the transport knows; empty while not connected
  // What the automatic choice (`ipc:`) tried before, or, while not connected, in vain; in its order.
  std::vector<Refusal> refused;
  std::string error;  // why the last attempt to connect failed; empty when it did not
};

// Thread-safe, as are all stubs on it.
class IPCRPC_EXPORT ChannelInterface {
 public:
  virtual ~ChannelInterface() = default;

  // With `try_to_connect`, an idle channel begins to connect; never blocks.
  virtual ConnectivityState GetState(bool try_to_connect) = 0;

  // Of the connection there is, or of the last attempt at one.
  virtual TransportInfo GetTransportInfo() { return {}; }

  // Blocks until the state is no longer `last` (true) or the deadline (false).
  template <typename T>
  bool WaitForStateChange(ConnectivityState last, T deadline) {
    return WaitForStateChangeNs(last, internal::ToMonotonicNs(deadline));
  }
  // Connects and blocks until that has worked (true) or the deadline (false).
  template <typename T>
  bool WaitForConnected(T deadline) {
    return WaitForConnectedNs(internal::ToMonotonicNs(deadline));
  }

 private:
  friend class internal::InterceptedChannel;
  virtual bool WaitForStateChangeNs(ConnectivityState last, int64_t deadline_ns) = 0;
  virtual bool WaitForConnectedNs(int64_t deadline_ns) = 0;

  internal::InterceptedChannel* intercepted_ = nullptr;  // itself, where calls pass interceptors
};

using Channel = ChannelInterface;

// Never blocks, never fails: a wrong address shows in the status of calls.
IPCRPC_EXPORT std::shared_ptr<Channel> CreateChannel(
    const std::string& target, const std::shared_ptr<ChannelCredentials>& credentials = nullptr);
IPCRPC_EXPORT std::shared_ptr<Channel> CreateCustomChannel(const std::string& target,
                                                           const std::shared_ptr<ChannelCredentials>& credentials,
                                                           const ChannelArguments& arguments);
IPCRPC_EXPORT std::shared_ptr<Channel> CreateCustomChannel(const std::string& target,
                                                           const ChannelArguments& arguments);

}  // namespace ipcrpc

// A server: services on any number of addresses.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ipcrpc/channel.h"
#include "ipcrpc/export.h"
#include "ipcrpc/internal/call.h"
#include "ipcrpc/runtime.h"
#include "ipcrpc/status.h"

namespace ipcrpc {

// Base of generated services. Must outlive the servers it is registered with.
class IPCRPC_EXPORT Service {
 public:
  Service();
  virtual ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  const std::vector<std::unique_ptr<internal::RpcServiceMethod>>& methods() const { return methods_; }

 protected:
  // In the constructor of a generated service, in the order of the .proto.
  void AddMethod(std::unique_ptr<internal::RpcServiceMethod> method) { methods_.push_back(std::move(method)); }

 private:
  std::vector<std::unique_ptr<internal::RpcServiceMethod>> methods_;
};

class ServerCredentials {};
inline std::shared_ptr<ServerCredentials> InsecureServerCredentials() { return std::make_shared<ServerCredentials>(); }

// Made by ServerBuilder. Thread-safe.
class IPCRPC_EXPORT Server {
 public:
  virtual ~Server() = default;  // shuts down

  // No new calls (UNAVAILABLE for them); waits for those that run.
  virtual void Shutdown() = 0;
  // The same; after the deadline those that still run are cancelled.
  template <typename T>
  void Shutdown(const T& deadline) {
    ShutdownNs(internal::ToMonotonicNs(deadline));
  }
  // Blocks until a shutdown is complete. A server all of whose addresses are good for one client (stdio:, pipe:,
  // socketpair:) shuts down here once they have hung up: nobody else can come.
  virtual void Wait() = 0;

 private:
  virtual void ShutdownNs(int64_t deadline_ns) = 0;
};

// Collects what a server consists of. By one thread.
class IPCRPC_EXPORT ServerBuilder {
 public:
  ServerBuilder();
  ~ServerBuilder();

  // Any number of addresses. `selected_port`, if given, is set to 1 when bound and to 0 when not.
  ServerBuilder& AddListeningPort(const std::string& address,
                                  std::shared_ptr<ServerCredentials> credentials = nullptr,
                                  int* selected_port = nullptr);
  // Not owned.
  ServerBuilder& RegisterService(Service* service);
  ServerBuilder& SetMaxReceiveMessageSize(int bytes);
  ServerBuilder& SetMaxSendMessageSize(int bytes);
  ServerBuilder& AddChannelArgument(const std::string& key, int value);
  ServerBuilder& AddChannelArgument(const std::string& key, const std::string& value);

  // Served by this runtime instead of the process's default one.
  ServerBuilder& SetRuntime(std::shared_ptr<Runtime> runtime);

  // Null when an address cannot be bound or two services have the same name; error() says which and why.
  std::unique_ptr<Server> BuildAndStart();
  const std::string& error() const;

 private:
  struct Plan;
  std::unique_ptr<Plan> plan_;
};

}  // namespace ipcrpc

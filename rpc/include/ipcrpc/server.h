// A server: services on any number of addresses.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ipcrpc/authorization.h"
#include "ipcrpc/channel.h"
#include "ipcrpc/export.h"
#include "ipcrpc/internal/call.h"
#include "ipcrpc/runtime.h"
#include "ipcrpc/status.h"
#include "ipcrpc/support/client_interceptor.h"
#include "ipcrpc/support/server_interceptor.h"
#include "ipcrpc/unique_fd.h"

namespace ipcrpc {

class CallbackGenericService;
class HealthCheckServiceInterface;

// Base of generated services. Must outlive the servers it is registered with.
class IPCRPC_EXPORT Service {
 public:
  Service();
  virtual ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  const std::vector<std::unique_ptr<internal::RpcServiceMethod>>& methods() const { return methods_; }
  // What its .proto says of who may call it (ipcrpc/options.proto).
  const AuthorizationPolicy& authorization() const { return authorization_; }

 protected:
  // In the constructor of a generated service, in the order of the .proto.
  void AddMethod(std::unique_ptr<internal::RpcServiceMethod> method) { methods_.push_back(std::move(method)); }
  // By a generated layer on top: the method of that index in the .proto has this handler instead.
  void MarkMethodCallback(int index, std::unique_ptr<internal::MethodHandler> handler) {
    methods_[static_cast<size_t>(index)]->set_handler(std::move(handler));
  }
  internal::MethodHandler* GetHandler(int index) const { return methods_[static_cast<size_t>(index)]->handler(); }
  // In the constructor of a generated service; names as in AuthorizationPolicy.
  void SetRule(const char* name, AuthorizationRule rule) { authorization_.SetRule(name, std::move(rule)); }
  // By one that stands for another, which has these rules.
  void SetAuthorization(AuthorizationPolicy authorization) { authorization_ = std::move(authorization); }

 private:
  std::vector<std::unique_ptr<internal::RpcServiceMethod>> methods_;
  AuthorizationPolicy authorization_;
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
  // Blocks until a shutdown is complete, also one that a successor has asked for (see ServerBuilder::SetTakeOver). A server
  // all of whose addresses are good for one client (stdio:, pipe:, socketpair:) shuts down here once they have hung up:
  // nobody else can come.
  virtual void Wait() = 0;
  // A successor has taken over: this server accepts nobody any more, finishes its calls, and Wait() returns then.
  virtual bool relieved() const = 0;

  // What its health service says; null unless EnableDefaultHealthCheckService(true) was called before it was built. The
  // server's. At Shutdown() those who watch are told UNAVAILABLE.
  virtual HealthCheckServiceInterface* GetHealthCheckService() = 0;

  // A channel to this server within the process, by no address that others know.
  virtual std::shared_ptr<Channel> InProcessChannel(const ChannelArguments& arguments) = 0;

  using ClientInterceptorFactories = std::vector<std::unique_ptr<experimental::ClientInterceptorFactoryInterface>>;
  class experimental_type {
   public:
    explicit experimental_type(Server* server) : server_(server) {}
    // InProcessChannel() whose calls pass interceptors of these factories.
    std::shared_ptr<Channel> InProcessChannelWithInterceptors(const ChannelArguments& arguments,
                                                              ClientInterceptorFactories interceptor_creators) {
      return server_->InterceptedInProcessChannel(arguments, std::move(interceptor_creators));
    }

   private:
    Server* const server_;
  };
  experimental_type experimental() { return experimental_type(this); }

 private:
  virtual std::shared_ptr<Channel> InterceptedInProcessChannel(const ChannelArguments& arguments,
                                                               ClientInterceptorFactories interceptor_creators) = 0;
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
  // Takes every method that no registered service has. One alone; not owned. See generic/callback_generic_service.h.
  ServerBuilder& RegisterCallbackGenericService(CallbackGenericService* service);
  ServerBuilder& SetMaxReceiveMessageSize(int bytes);
  ServerBuilder& SetMaxSendMessageSize(int bytes);
  ServerBuilder& SetMaxMessageSize(int bytes) { return SetMaxReceiveMessageSize(bytes); }
  ServerBuilder& AddChannelArgument(const std::string& key, int value);
  ServerBuilder& AddChannelArgument(const std::string& key, const std::string& value);

  // Taken for compatibility: the runtime has its own measure of threads (Runtime::WithThreads()).
  enum SyncServerOption { NUM_CQS, MIN_POLLERS, MAX_POLLERS, CQ_TIMEOUT_MSEC };
  ServerBuilder& SetSyncServerOption(SyncServerOption, int) { return *this; }

  using ServerInterceptorFactories = std::vector<std::unique_ptr<experimental::ServerInterceptorFactoryInterface>>;
  class IPCRPC_EXPORT experimental_type {
   public:
    explicit experimental_type(ServerBuilder* builder) : builder_(builder) {}
    // Each call of a method that there is, and that its client may call, passes an interceptor of each factory, in this order.
    // Replaces those of before; the next server that is built takes them.
    void SetInterceptorCreators(ServerInterceptorFactories interceptor_creators);

   private:
    ServerBuilder* const builder_;
  };
  experimental_type experimental() { return experimental_type(this); }

  // Served by this runtime instead of the process's default one.
  ServerBuilder& SetRuntime(std::shared_ptr<Runtime> runtime);

  // Hot restart. Where a living server of the same user has an address of this one, and was made with this too, this one takes
  // all its addresses over instead of failing; and this one lets a successor do so. The one that is relieved goes on
  // until its successor is ready, then finishes its calls; no client is refused, and no call lost. See docs/operations.md.
  // `on_relieved`, if given, is called once when a successor has taken over, before Wait() returns. On a thread of the runtime:
  // it must not block.
  ServerBuilder& SetTakeOver(bool allowed, std::function<void()> on_relieved = {});

  // A listening socket that another process keeps, such as a service manager: the address that it is bound at (a unix: or shm: one) is
  // served with it instead of being bound, and stays when this server goes, also as a file with its permissions. One that is bound at
  // none of the addresses is an error of BuildAndStart(). Such an address cannot be taken over by a successor.
  ServerBuilder& AdoptListeningSocket(UniqueFd socket);
  // `keep` is given each listening socket that BuildAndStart() binds and that another process may keep: what it duplicates or sends
  // away can be adopted later. Those addresses, too, stay when this server goes. Not together with SetTakeOver().
  ServerBuilder& KeepListeningSockets(std::function<void(const std::string& address, int socket)> keep);

  // Who may call what, on all addresses of the server; see authorization.h. It stands over the rules of the .proto's
  // (ipcrpc/options.proto), which hold without it, too. Replaces the one of before. BuildAndStart() looks its names up and takes a
  // copy.
  ServerBuilder& SetAuthorizationPolicy(AuthorizationPolicy policy);

  // Null when an address cannot be bound, two services have the same name, or an authorization rule names a user, group, service
  // or method that does not exist; error() says which and why.
  std::unique_ptr<Server> BuildAndStart();
  const std::string& error() const;

 private:
  struct Plan;
  std::unique_ptr<Plan> plan_;
};

}  // namespace ipcrpc

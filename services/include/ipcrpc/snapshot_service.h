// Hands the snapshots of a server out to its clients (ipcrpc.v1.Snapshots), who then read them without a call:
//
//   ipcrpc::SnapshotPublisher<Weather> publisher("weather?home=memfd");
//   ipcrpc::SnapshotService snapshots(publisher);
//   daemon.Register(&snapshots);
//
// With home=memfd a client is handed a descriptor of sealed memory; of any other home it is told the file. Where it can have
// neither (a transport that passes no descriptors, another user, another mount namespace) it is told the message.
// Who may ask is for the server to say (`ipcrpc/authorization.h`), of the methods of "ipcrpc.v1.Snapshots".
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "ipcrpc/export.h"
#include "ipcrpc/server.h"
#include "ipcrpc/server_context.h"
#include "ipcrpc/snapshot.h"

namespace ipcrpc {

namespace v1 {
class GetSnapshotRequest;
class GetSnapshotResponse;
class ListSnapshotsRequest;
class ListSnapshotsResponse;
}  // namespace v1

class IPCRPC_EXPORT SnapshotService final : public Service {
 public:
  SnapshotService();
  template <typename... T>
  explicit SnapshotService(const SnapshotPublisher<T>&... publishers) : SnapshotService() {
    (Add(publishers.raw()), ...);
  }
  ~SnapshotService() override;

  // By its name ("weather" of "weather?home=memfd"; of a path all of it). One of the same name before is handed out no more.
  // Not owned: lives until Remove(), or until the server is gone. Any thread.
  void Add(const RawSnapshotPublisher& publisher);
  // Who reads it goes on, until it is outgrown. When this returns no call uses the publisher. Any thread.
  void Remove(const std::string& name);

 private:
  Status Get(ServerContext* context, const v1::GetSnapshotRequest* request, v1::GetSnapshotResponse* response);
  Status List(ServerContext* context, const v1::ListSnapshotsRequest* request, v1::ListSnapshotsResponse* response);

  std::mutex mu_;
  std::map<std::string, const RawSnapshotPublisher*> publishers_;
};

}  // namespace ipcrpc

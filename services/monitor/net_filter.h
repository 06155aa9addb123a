#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ipcrpc/monitor/v1/net_events.pb.h"

// Which objects a ListRequest or WatchRequest lets through: the server's filter, for clients to apply again.

namespace ipcrpc::monitor {

namespace v1 = ::ipcrpc::monitor::v1;

// Immutable; any thread may ask.
class NetFilter {
 public:
  NetFilter() = default;  // lets everything through
  // INVALID_ARGUMENT: a kind or family that does not exist, an empty name.
  static absl::StatusOr<NetFilter> From(const v1::ListRequest& request);
  static absl::StatusOr<NetFilter> From(const v1::WatchRequest& request);

  bool Passes(const v1::NetObject& object) const;
  // Whether any object of that kind may pass.
  bool WantsKind(v1::NetObject::Kind kind) const { return kinds_ == 0 || (kinds_ & (1u << kind)) != 0; }
  // Either of them: what has moved away from a wanted interface is told to those who knew it there.
  bool Passes(const v1::NetObject& now, const v1::NetObject* old) const {
    return Passes(now) || (old != nullptr && Passes(*old));
  }

 private:
  template <typename Request>
  static absl::StatusOr<NetFilter> Make(const Request& request);
  bool PassesDev(const v1::NetObject& object) const;

  bool all_ = true;
  uint32_t kinds_ = 0;  // bits; 0 = all
  std::vector<std::string> devs_, families_, tables_;
};

// The object of an event; without one when the event has none.
v1::NetObject ObjectOf(const v1::NetEvent& event);
// Those of a list, by kind.
std::vector<v1::NetObject> ObjectsOf(const v1::ListReply& list);
void SetObject(const v1::NetObject& object, v1::NetEvent* event);

}  // namespace ipcrpc::monitor

#include "transport/takeover/succession.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/log.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/names.h"
#include "transport/scheme.h"
#include "transport/takeover/control.h"

namespace ipcrpc::takeover {
namespace {

constexpr UnixSocketKind kControlSocket = {.type = SOCK_SEQPACKET, .suffix = "ctl"};
constexpr int64_t kAnswerNs = 5'000'000'000;

// The next message. UNAVAILABLE: the peer is gone; DEADLINE_EXCEEDED: it says nothing.
absl::StatusOr<Message> Await(int socket) {
  const int64_t deadline_ns = MonotonicNs() + kAnswerNs;
  for (;;) {
    ASSIGN_OR_RETURN(std::optional<Message> message, Receive(socket));
    if (message.has_value()) return *std::move(message);
    const int64_t left_ns = deadline_ns - MonotonicNs();
    if (left_ns <= 0) return absl::DeadlineExceededError("it does not answer");
    const timespec left = ToTimespec(left_ns);
    pollfd entry = {.fd = socket, .events = POLLIN, .revents = 0};
    if (ppoll(&entry, 1, &left, nullptr) < 0 && errno != EINTR) return absl::ErrnoToStatus(errno, "cannot wait for its answer");
  }
}

absl::Status RefusalOf(const Message& message) {
  if (message.kind != Kind::kRefused) return absl::OkStatus();
  const auto code = message.number >= 1 && message.number <= 16 ? static_cast<absl::StatusCode>(message.number)
                                                                : absl::StatusCode::kUnknown;
  return absl::Status(code, Cat("it refuses: ", message.text));
}

}  // namespace

absl::Status Succession::Ask(const std::string& control_place) {
  const Address control = {.scheme = "control",
                           .kind = control_place.front() == '@' ? Address::Kind::kAbstract : Address::Kind::kPath,
                           .rest = control_place.substr(control_place.front() == '@' ? 1 : 0),
                           .parameters = {}};
  absl::StatusOr<UnixConnection> connection = ConnectUnixSocket(control, kControlSocket, MonotonicNs() + kAnswerNs);
  if (!connection.ok()) {
    return absl::Status(connection.status().code(), Cat("its server does not offer itself: ", MessageOf(connection.status())));
  }
  if (connection->peer.uid != geteuid()) {
    return absl::PermissionDeniedError(Cat("it belongs to uid ", connection->peer.uid, ", we are uid ", geteuid()));
  }
  std::vector<std::string> places;
  std::string text;
  for (const Address& wanted : wanted_) {
    absl::StatusOr<std::string> place = ControlPlace(wanted);
    places.push_back(place.ok() ? *std::move(place) : std::string());
    text.append(places.back()).push_back('\0');
  }
  if (text.size() > kMaxTextBytes) return absl::ResourceExhaustedError("too many addresses to ask for");
  RETURN_IF_ERROR(Send(connection->fd.get(), Kind::kAsk, 0, text));
  std::vector<Offered> offered;
  for (;;) {
    absl::StatusOr<Message> message = Await(connection->fd.get());
    const absl::Status heard = message.ok() ? RefusalOf(*message) : message.status();
    if (!heard.ok()) return absl::Status(heard.code(), Cat("asked its server: ", MessageOf(heard)));
    if (message->kind == Kind::kOffered) {
      if (message->number != offered.size()) return absl::InternalError("its server offers other than it says");
      break;
    }
    if (message->kind != Kind::kOffer || message->number >= places.size() || message->fds.empty() ||
        offered.size() >= places.size()) {
      return absl::InternalError("its server does not speak this protocol");
    }
    offered.push_back({places[message->number], std::move(message->fds)});
  }
  std::move(offered.begin(), offered.end(), std::back_inserter(offered_));
  predecessors_.push_back({std::move(connection->fd), DescribeProcess(connection->peer.pid)});
  return absl::OkStatus();
}

absl::StatusOr<Place> Succession::Take(const Address& address) {
  ASSIGN_OR_RETURN(const Scheme* scheme, FindScheme(address.scheme));
  if (scheme->adopt == nullptr) return absl::UnimplementedError(Cat(scheme->name, " addresses cannot be taken over"));
  ASSIGN_OR_RETURN(const std::string control_place, ControlPlace(address));
  const auto find = [&] {
    return std::find_if(offered_.begin(), offered_.end(), [&](const Offered& o) { return o.control_place == control_place; });
  };
  auto found = find();
  if (found == offered_.end()) {
    RETURN_IF_ERROR(Ask(control_place));
    found = find();
    if (found == offered_.end()) return absl::InternalError("its server does not offer the address at whose control socket it is");
  }
  std::vector<UniqueFd> fds = std::move(found->fds);
  offered_.erase(found);
  ASSIGN_OR_RETURN(std::unique_ptr<UnixListenSocket> control,
                   UnixListenSocket::AdoptBeside(control_place, SOCK_SEQPACKET, std::move(fds.front())));
  fds.erase(fds.begin());
  ASSIGN_OR_RETURN(std::unique_ptr<Listener> listener, Adopt(address, std::move(fds)));
  return MakePlace(std::move(listener), std::move(control));
}

absl::Status Succession::Confirm(std::span<Place* const> places) {
  for (Place* place : places) {
    RETURN_IF_ERROR(place->listener->Own());
    RETURN_IF_ERROR(place->control->Own());
  }
  absl::Status result;
  for (const Predecessor& predecessor : predecessors_) {
    // Where it cannot be sent, what the predecessor has said before is still to be read.
    Send(predecessor.socket.get(), Kind::kConfirm).IgnoreError();
    const absl::StatusOr<Message> answer = Await(predecessor.socket.get());
    if (answer.ok()) {
      if (absl::Status refusal = RefusalOf(*answer); !refusal.ok() && result.ok()) {
        result = absl::Status(refusal.code(), Cat("cannot take over from ", predecessor.who, ": ", MessageOf(refusal)));
      }
    } else if (absl::IsDeadlineExceeded(answer.status())) {
      // Stopped, perhaps: it finds the confirmation when it runs again.
      Log(LogSeverity::kWarning, Cat(predecessor.who, ", which was taken over from, does not answer"));
    }
    // Else it is dead, and the addresses are ours all the same.
  }
  if (!result.ok()) {
    for (Place* place : places) {
      place->listener->Abandon();
      place->control->Abandon();
    }
  }
  return result;
}

}  // namespace ipcrpc::takeover

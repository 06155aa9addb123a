#include "rpc/server_connection.h"

#include <chrono>
#include <utility>

#include "rpc/metadata.h"
#include "rpc/callback_server_call.h"
#include "rpc/sync_server_call.h"
#include "transport/base/clock.h"
#include "transport/base/strings.h"

namespace ipcrpc::rpc {
namespace {

// A status must fit into one frame of the smallest link beside the metadata.
constexpr size_t kMaxStatusBytes = 6 * 1024;
// Of a method's name, which the client chooses, in a status.
constexpr size_t kMaxToldName = 512;

// Whether its handler is given the request, and so runs when that is complete.
bool NeedsRequest(const Method& method) {
  return method.type == internal::RpcMethod::NORMAL_RPC ||
         (method.handler->is_callback() && method.type == internal::RpcMethod::SERVER_STREAMING);
}

// What of a status goes into the block; what goes into the header is returned.
uint32_t AppendStatus(std::string& block, const Status& status) {
  if (status.error_message().size() + status.error_details().size() > kMaxStatusBytes) {
    AppendEntry(block, EntryKind::kStatusMessage, {},
                Cat("the status (code ", static_cast<int>(status.error_code()), ") is larger than the limit of ", kMaxStatusBytes, " bytes"));
    return static_cast<uint32_t>(StatusCode::RESOURCE_EXHAUSTED);
  }
  if (!status.error_message().empty()) AppendEntry(block, EntryKind::kStatusMessage, {}, status.error_message());
  if (!status.error_details().empty()) AppendEntry(block, EntryKind::kStatusDetails, {}, status.error_details());
  return static_cast<uint32_t>(status.error_code());
}

std::shared_ptr<const AuthContext> MakeAuthContext(const PeerIdentity& peer) {
  std::multimap<std::string, std::string> properties;
  if (peer.vouched) {
    properties = {{"uid", std::to_string(peer.uid)},
                  {"gid", std::to_string(peer.gid)},
                  {"pid", std::to_string(peer.pid)},
                  {"transport_security_type", "local"}};
  }
  return std::make_shared<const AuthContext>(std::move(properties));
}

}  // namespace

ServerConnection::ServerConnection(std::unique_ptr<Link> accepted, std::shared_ptr<ServerCore> core)
    : Connection(std::move(accepted), std::shared_ptr<IoRuntime>(core, &core->runtime())), core_(std::move(core)) {}

std::shared_ptr<const AuthContext> ServerConnection::auth_context() {
  std::lock_guard lock(auth_mu_);
  if (auth_context_ == nullptr) auth_context_ = MakeAuthContext(link().peer());
  return auth_context_;
}

void ServerConnection::Start() {
  SendHello(core_->limits().max_streams);
  runtime().Attach(shared_from_this());
  StartKeepalive(core_->limits().keepalive);
}

void ServerConnection::DropSilent() {
  link().Close(absl::DeadlineExceededError("the client did not say who it is in time"));
  KickHolder();
}

void ServerConnection::SayGoodbye() { SendControl({.type = FrameType::kGoaway, .number = kStillTaking}); }

void ServerConnection::OnGoaway(uint32_t) {
  client_parted_.store(true, std::memory_order_release);
  core_->NoteChange();
}

void ServerConnection::CancelCalls() {
  const Status why(StatusCode::UNAVAILABLE, "the server is shutting down");
  for (const StreamPtr& stream : AllStreams()) {
    AbortCall(*stream, why);  // unless it has its status already
  }
}

void ServerConnection::CloseWhenDrained(int64_t deadline_ns) {
  // What still waits for space or credit is few: answers to clients that do not read.
  while (!closed() && (stream_count() != 0 || link().wants_write()) && MonotonicNs() < deadline_ns) {
    if (!runtime().threaded()) runtime().RunOnce();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  // Exact, so that the client may make again what it had on its way. Where answers are left the last word would overtake
  // them.
  if (!closed() && stream_count() == 0) {
    std::lock_guard lock(parting_mu_);
    parted_ = true;
    SendControl({.type = FrameType::kGoaway, .number = taken_.load(std::memory_order_relaxed)});
  }
  link().Close(absl::UnavailableError("the server was shut down"));
  KickHolder();
}

void ServerConnection::OnLost(const absl::Status&) {
  waiting_.clear();
  core_->Remove(this);
}

void ServerConnection::OnDeadline(const StreamPtr& stream) {
  AbortCall(*stream, Status(StatusCode::DEADLINE_EXCEEDED, "the deadline has passed"));
}

Connection::Verdict ServerConnection::OnHello(const HelloBody& hello) {
  if (std::exchange(hello_seen_, true)) return Verdict::kFault;
  core_->Greeted(this);
  if (hello.version_min > kWireVersion || hello.version_max < kWireVersion) {
    link().Close(absl::FailedPreconditionError(
        Cat("the client speaks versions ", hello.version_min, " to ", hello.version_max, " of the protocol, this is ", kWireVersion)));
  }
  return Verdict::kConsumed;
}

Connection::Verdict ServerConnection::OnCallFrame(const FrameHeader& header, std::string_view block,
                                                  std::span<const std::byte> payload) {
  if (!hello_seen_) return Verdict::kFault;
  if (header.type == FrameType::kBegin) return OnBegin(header, block, payload);
  StreamPtr held;
  Stream* const stream = Find(header.stream, &held);
  // A cancellation also ends what still waits to be sent.
  if (stream == nullptr || (stream->lingering() && header.type != FrameType::kCancel)) {
    // Over already, here; but never a call that was not begun.
    return header.stream != 0 && header.stream <= last_id_ ? Verdict::kConsumed : Verdict::kFault;
  }
  switch (header.type) {
    case FrameType::kMessage:
      return OnMessageFrame(*stream, header, payload);
    case FrameType::kHalfClose:
      stream->OnHalfClose();
      if (waiting_.erase(header.stream) != 0) {
        Reject(*stream, Status(StatusCode::INTERNAL, "the call has no request"));
      }
      return Verdict::kConsumed;
    case FrameType::kCancel:
      stream->End(Status(StatusCode::CANCELLED, "the client cancelled the call"), {}, /*drop_unread=*/true);
      Erase(*stream);
      waiting_.erase(header.stream);
      return Verdict::kConsumed;
    default:
      return Verdict::kFault;
  }
}

Method* ServerConnection::LookUp(const FrameHeader& header, std::string_view block, bool* fault, std::string_view* other_name) {
  *fault = false;
  std::optional<std::string_view> name;
  EntryReader reader(block);
  while (const std::optional<Entry> entry = reader.Next()) {
    if (entry->kind == EntryKind::kMethodName) name = entry->value;
  }
  if (reader.broken()) {
    *fault = true;
    return nullptr;
  }
  const size_t index = header.number;
  if (name.has_value()) {
    Method* method = core_->methods().Find(*name);
    const bool other = method == nullptr;
    if (other) {
      method = core_->methods().rest();
      *other_name = *name;
    }
    if (index < kMaxMethods && method != nullptr && name->size() <= kMaxIndexedName) {
      if (methods_.size() <= index) methods_.resize(index + 1);
      methods_[index] = method;
      if (other) other_names_[header.number] = *name;
    }
    return method;
  }
  // A client leaves the name out only once it has had an answer for the index.
  if (index >= methods_.size() || methods_[index] == nullptr) {
    *fault = true;
    return nullptr;
  }
  if (methods_[index] == core_->methods().rest()) *other_name = other_names_[header.number];
  return methods_[index];
}

Connection::Verdict ServerConnection::OnBegin(const FrameHeader& header, std::string_view block,
                                              std::span<const std::byte> payload) {
  if (header.stream == 0 || client_parted_.load(std::memory_order_relaxed)) return Verdict::kFault;
  const bool has_message = (header.flags & kHasMessage) != 0;
  StreamPtr stream = Stream::Make(this, header.stream, core_->limits().max_receive_bytes);
  const Stream::Arrival arrival = has_message ? stream->OnFirstMessage(header, payload) : Stream::Arrival::kOk;
  if (arrival == Stream::Arrival::kFault) return Verdict::kFault;
  // A call that is refused stays until its status is on its way.
  Inserted inserted = TryInsert(stream);
  if (!inserted.done) [[unlikely]] {
    // The client may have had the status before its sender here took the call out of the table.
    StreamPtr held;
    if (Stream* const before = Find(header.stream, &held); before != nullptr && before->SentItsLast()) Erase(*before);
    inserted = TryInsert(stream);
    if (!inserted.done) return Verdict::kFault;
  }
  // Two threads of a client may publish their calls in another order than they numbered them.
  last_id_ = std::max(last_id_, header.stream);
  if (core_->turns_away()) {
    TurnAway(*stream);
    return Verdict::kConsumed;
  }
  bool fault;
  std::string_view other_name;
  Method* const method = LookUp(header, block, &fault, &other_name);
  if (fault) return Verdict::kFault;
  if (method == nullptr) {
    Reject(*stream, Status(StatusCode::UNIMPLEMENTED, "the server has no such method"));
    return Verdict::kConsumed;
  }
  if (method->guarded && !Admit(*method, method == core_->methods().rest() ? other_name : method->name, *stream)) {
    return Verdict::kConsumed;
  }
  if (block.size() > kMaxBlockBytes) {
    Reject(*stream, Status(StatusCode::RESOURCE_EXHAUSTED, Cat("metadata of ", block.size(), " bytes is over the limit of ", kMaxBlockBytes)));
    return Verdict::kConsumed;
  }
  if (std::max<size_t>(inserted.others, running()) >= core_->limits().max_streams) {
    Reject(*stream, Status(StatusCode::RESOURCE_EXHAUSTED,
                          Cat("more than ", core_->limits().max_streams, " calls in flight on one connection")));
    return Verdict::kConsumed;
  }
  int64_t deadline_ns = header.deadline == 0 ? kNoDeadline : static_cast<int64_t>(header.deadline & INT64_MAX);
  if ((header.flags & kRelativeDeadline) != 0 && deadline_ns != kNoDeadline) {
    const int64_t now = MonotonicNs();
    deadline_ns = deadline_ns > kNoDeadline - now ? kNoDeadline : now + deadline_ns;
  }
  std::string client_block;
  // For the generic service, which has the name from nowhere else.
  if (other_name.data() != nullptr) AppendEntry(client_block, EntryKind::kMethodName, {}, other_name);
  client_block += block;
  const bool complete = has_message && (header.flags & kMoreChunks) == 0;
  if (NeedsRequest(*method) && !complete) {
    waiting_.emplace(header.stream, Waiting{method, deadline_ns, std::move(client_block)});
    CountTaken();
    if (arrival != Stream::Arrival::kOk) {
      RefuseMessage(*stream, header, arrival);
    } else if (!has_message && (header.flags & kHalfCloses) != 0) {
      waiting_.erase(header.stream);
      Reject(*stream, Status(StatusCode::INTERNAL, "the call has no request"));
    }
    return Verdict::kConsumed;
  }
  if (arrival != Stream::Arrival::kOk) {
    RefuseMessage(*stream, header, arrival);
    CountTaken();
    return Verdict::kConsumed;
  }
  if (!has_message && (header.flags & kHalfCloses) != 0) stream->OnHalfClose();
  StartCall(std::move(stream), method, deadline_ns, std::move(client_block), /*count=*/true);
  return Verdict::kConsumed;
}

Connection::Verdict ServerConnection::OnMessageFrame(Stream& stream, const FrameHeader& header, std::span<const std::byte> payload) {
  const Stream::Arrival arrival = stream.OnMessage(header, payload);
  if (arrival == Stream::Arrival::kFault) return Verdict::kFault;
  if (arrival != Stream::Arrival::kOk) {
    RefuseMessage(stream, header, arrival);
    return Verdict::kConsumed;
  }
  if ((header.flags & kMoreChunks) != 0) return Verdict::kConsumed;
  if (const auto it = waiting_.find(header.stream); it != waiting_.end()) {
    Waiting call = std::move(it->second);
    waiting_.erase(it);
    StartCall(&stream, call.method, call.deadline_ns, std::move(call.client_block), /*count=*/false);
  }
  return Verdict::kConsumed;
}

void ServerConnection::RefuseMessage(Stream& stream, const FrameHeader& header, Stream::Arrival arrival) {
  if (arrival == Stream::Arrival::kLost) {
    AbortCall(stream, why_lost());
  } else {
    AbortCall(stream, Status(StatusCode::RESOURCE_EXHAUSTED,
                             Cat("a request message of ", header.message_bytes, " bytes is larger than the server's limit of ",
                                 core_->limits().max_receive_bytes)));
  }
  waiting_.erase(header.stream);
}

void ServerConnection::StartCall(StreamPtr stream, Method* method, int64_t deadline_ns, std::string client_block, bool count) {
  if (!core_->BeginCall()) return TurnAway(*stream);
  if (count) CountTaken();
  ++begun_;
  auto self = std::static_pointer_cast<ServerConnection>(shared_from_this());
  if (method->handler->is_callback()) {
    return (new internal::CallbackServerCall(std::move(self), std::move(stream), method, deadline_ns, std::move(client_block)))->Start();
  }
  auto* call = new internal::SyncServerCall(std::move(self), std::move(stream), method, deadline_ns, std::move(client_block));
  if (method->type == internal::RpcMethod::NORMAL_RPC && (!method->times.Blocks() || !runtime().threaded())) {
    poller()->Enqueue(call);
  } else if (!runtime().Submit([call] { call->Run(); })) {
    call->Refuse(Status(StatusCode::RESOURCE_EXHAUSTED, "every worker of the server is busy with a blocked handler"));
  }
}

bool ServerConnection::Admit(const Method& method, std::string_view name, Stream& stream) {
  const AccessTable::Rule* const rule = core_->methods().RuleOf(method, name);
  const PeerCredentials& peer_is = peer()->credentials;
  if (rule == nullptr || admission_.Admits(*rule, peer_is, name)) return true;
  Reject(stream, Status(StatusCode::PERMISSION_DENIED,
                        Cat(name.substr(0, kMaxToldName), " may not be called by ", peer_is.ToString(), "; allowed: ", rule->access.allowed())));
  return false;
}

void ServerConnection::TurnAway(Stream& stream) {
  std::lock_guard lock(parting_mu_);
  if (parted_) return;
  std::string block;
  const uint32_t code = AppendStatus(block, Status(StatusCode::UNAVAILABLE, "the server is shutting down"));
  stream.SendLast({.type = FrameType::kFinish, .flags = kNotRun, .number = code, .block = block}, nullptr);
  EraseWhenDrained(&stream);
  CountTaken();
}

void ServerConnection::Reject(Stream& stream, const Status& why) {
  FinishCall(stream, why, nullptr, {});
  CountTaken();
  if (waiting_for_space() > kMaxWaitingRefusals) {
    link().Close(absl::ResourceExhaustedError("the client begins calls and does not read the answers"));
  }
}

void ServerConnection::AbortCall(Stream& stream, const Status& why) {
  std::string block;
  const uint32_t code = AppendStatus(block, why);
  stream.Abort({.type = FrameType::kFinish, .number = code, .block = block}, why);
  EraseWhenDrained(&stream);
}

void ServerConnection::FinishCall(Stream& stream, const Status& status, const internal::OutgoingMessage* response,
                                  std::string_view metadata_block, const SharedFds* fds) {
  Stream::Sending sent;
  if (status.ok()) {
    sent = stream.SendLast({.type = FrameType::kFinish, .number = 0, .block = metadata_block, .fds = fds}, response);
  } else {
    std::string block(metadata_block);
    const uint32_t code = AppendStatus(block, status);
    sent = stream.SendLast({.type = FrameType::kFinish, .number = code, .block = block}, nullptr);
  }
  if (sent == Stream::Sending::kDone) {
    Erase(stream);
  } else {
    EraseWhenDrained(&stream);
  }
}

}  // namespace ipcrpc::rpc

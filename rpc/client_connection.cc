#include "rpc/client_connection.h"

#include <utility>

#include "transport/base/strings.h"

namespace ipcrpc::rpc {

std::shared_ptr<ClientConnection> ClientConnection::Make(std::unique_ptr<Link> link, std::shared_ptr<IoRuntime> runtime,
                                                         const Keepalive& keepalive, std::function<void()> on_gone) {
  auto connection = std::make_shared<ClientConnection>(std::move(link), std::move(runtime), std::move(on_gone));
  connection->SendHello(/*max_streams=*/0);
  connection->WatchHangup();
  connection->StartKeepalive(keepalive);
  return connection;
}

ClientConnection::ClientConnection(std::unique_ptr<Link> link, std::shared_ptr<IoRuntime> runtime,
                                   std::function<void()> on_gone)
    : Connection(std::move(link), std::move(runtime)), on_gone_(std::move(on_gone)) {}

ClientConnection::~ClientConnection() { delete more_known_methods_.load(std::memory_order_relaxed); }

StreamPtr ClientConnection::NewStream(int64_t max_receive_bytes, bool lead) {
  if (gone_.load(std::memory_order_acquire)) return nullptr;
  StreamPtr stream = Stream::Make(this, numbers_.Next(), max_receive_bytes);
  const bool leads = lead && !numbers_.came_round() && Lead(*stream);
  // When the numbers have come round, one that goes on may have this one.
  if (!leads && !TryInsert(stream).done) return nullptr;
  // Gone or closed meanwhile: then nobody ends what was inserted after.
  if (gone_.load(std::memory_order_acquire) || closed()) {
    Forget(*stream);
    return nullptr;
  }
  return stream;
}

void ClientConnection::Forget(Stream& stream) {
  Erase(stream);
  if (stream.leads()) StopLeading(stream);
}

void ClientConnection::Cancel(Stream& stream, Status why) {
  const auto code = static_cast<uint32_t>(why.error_code());
  stream.End(std::move(why), {}, /*drop_unread=*/true);
  // Ended, it sends nothing any more: of a call whose begin is not out by now the server never hears.
  if (!Erase(stream) || closed() || !ours() || !stream.Published()) return KickHolder();
  SendControl({.type = FrameType::kCancel, .stream = stream.id(), .number = code});
  KickHolder();
  DriveWhileUnsent();
}

bool ClientConnection::MoreMethodKnown(uint32_t id) const {
  const MoreMethods* const more = more_known_methods_.load(std::memory_order_acquire);
  return more != nullptr && id < kMaxMethods && ((more->known[id / 64].load(std::memory_order_relaxed) >> (id % 64)) & 1) != 0;
}

void ClientConnection::NoteMethodKnown(uint32_t id) {
  if (id >= kMaxMethods || MethodKnown(id)) return;
  const uint64_t bit = uint64_t{1} << (id % 64);
  if (id < kFewMethods) {
    few_known_methods_.fetch_or(bit, std::memory_order_relaxed);
    return;
  }
  MoreMethods* more = more_known_methods_.load(std::memory_order_acquire);
  if (more == nullptr) {
    auto fresh = std::make_unique<MoreMethods>();
    if (more_known_methods_.compare_exchange_strong(more, fresh.get(), std::memory_order_acq_rel)) more = fresh.release();
  }
  more->known[id / 64].fetch_or(bit, std::memory_order_relaxed);
}

void ClientConnection::Close() {
  ForgetHangup();
  link().Close(absl::CancelledError("the channel was closed"));
  if (poller() != nullptr) {
    KickHolder();
  } else {
    EndOfLink();
  }
}

Connection::Verdict ClientConnection::OnHello(const HelloBody& hello) {
  if (hello.version_min > kWireVersion || hello.version_max < kWireVersion) {
    link().Close(absl::FailedPreconditionError(
        Cat("the server speaks versions ", hello.version_min, " to ", hello.version_max, " of the protocol, this is ", kWireVersion)));
    return Verdict::kConsumed;
  }
  shares_clock_.store(SharesClock(hello), std::memory_order_relaxed);
  hello_seen_.store(true, std::memory_order_relaxed);
  return Verdict::kConsumed;
}

bool ClientConnection::Leave() {
  if (gone_.exchange(true, std::memory_order_acq_rel)) return false;
  if (on_gone_) on_gone_();
  return true;
}

// The server takes what was begun before our answer. What is not begun by now goes elsewhere; only where a begin waits for
// space there is no answer yet, and the server's patience decides.
void ClientConnection::OnGoaway(uint32_t taken) {
  if (taken != kStillTaking) taken_.store(taken, std::memory_order_relaxed);
  if (!Leave()) return;
  bool nothing_waits = true;
  for (const StreamPtr& stream : AllStreams()) {
    if (!stream->EndUnbegun(Status(StatusCode::UNAVAILABLE, "the server is shutting down"))) nothing_waits = false;
  }
  if (nothing_waits && taken == kStillTaking) SendControl({.type = FrameType::kGoaway});
}

void ClientConnection::OnLost(const absl::Status&) { Leave(); }

// A server greets before it looks at anything, and what it has sent outlives it where its death is the end of the link.
bool ClientConnection::NeverRan(const Stream& stream) const {
  const uint32_t order = stream.begin_order();
  if (order == 0 || order > taken_.load(std::memory_order_relaxed)) return true;
  return !hello_seen_.load(std::memory_order_relaxed) && link().capabilities().detects_death;
}

void ClientConnection::OnDeadline(const StreamPtr& stream) {
  Cancel(*stream, Status(StatusCode::DEADLINE_EXCEEDED, "the deadline has passed"));
}

Connection::Verdict ClientConnection::OnCallFrame(const FrameHeader& header, std::string_view block,
                                                  std::span<const std::byte> payload) {
  StreamPtr held;
  Stream* const stream = Find(header.stream, &held);
  // Cancelled here while the frame was on its way; but never a call that was not made.
  if (stream == nullptr) return numbers_.Given(header.stream) ? Verdict::kConsumed : Verdict::kFault;
  if (header.type != FrameType::kInitial && header.type != FrameType::kMessage && header.type != FrameType::kFinish) {
    return Verdict::kFault;
  }
  const bool ends = header.type == FrameType::kFinish;
  const bool has_message = (header.flags & kHasMessage) != 0;
  if (!stream->initial_seen()) stream->OnInitial(block, /*notify=*/!ends, /*alone=*/ends && !has_message);
  if (ends) return OnFinish(*stream, header, block, payload);
  if (!has_message) return Verdict::kConsumed;
  const Stream::Arrival arrival = stream->OnMessage(header, payload);
  return arrival == Stream::Arrival::kOk ? Verdict::kConsumed : Refuse(*stream, header, arrival);
}

Connection::Verdict ClientConnection::OnFinish(Stream& stream, const FrameHeader& header, std::string_view block,
                                               std::span<const std::byte> payload) {
  Status status;
  if (header.number != 0 || !block.empty()) {
    std::string message, details;
    EntryReader reader(block);
    while (const std::optional<Entry> entry = reader.Next()) {
      if (entry->kind == EntryKind::kStatusMessage) message = entry->value;
      if (entry->kind == EntryKind::kStatusDetails) details = entry->value;
    }
    if (reader.broken()) return Verdict::kFault;  // the end of the connection ends the stream, which it still knows
    const auto code = header.number <= 16 ? static_cast<StatusCode>(header.number) : StatusCode::UNKNOWN;
    status = Status(code, std::move(message), std::move(details));
    if ((header.flags & kNotRun) != 0) stream.NoteNotRun();
  }
  if ((header.flags & kHasMessage) == 0) {
    stream.End(std::move(status), block, /*drop_unread=*/false);
  } else if (const auto arrival = stream.OnMessageAndEnd(header, payload, std::move(status), block); arrival != Stream::Arrival::kOk) {
    return Refuse(stream, header, arrival);
  }
  EraseFinished(stream);
  return Verdict::kConsumed;
}

Connection::Verdict ClientConnection::Refuse(Stream& stream, const FrameHeader& header, Stream::Arrival arrival) {
  if (arrival == Stream::Arrival::kFault) return Verdict::kFault;
  if (arrival == Stream::Arrival::kLost) {
    Cancel(stream, why_lost());
    return Verdict::kConsumed;
  }
  Cancel(stream, Status(StatusCode::RESOURCE_EXHAUSTED,
                        Cat("a received message of ", header.message_bytes, " bytes is larger than the channel's limit")));
  return Verdict::kConsumed;
}

}  // namespace ipcrpc::rpc

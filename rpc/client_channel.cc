#include "rpc/client_channel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <utility>

#include "transport/base/log.h"
#include "transport/base/strings.h"

namespace ipcrpc {

int ChannelArguments::GetInt(const std::string& key, int otherwise) const {
  const auto it = values_.find(key);
  const int* value = it == values_.end() ? nullptr : std::get_if<int>(&it->second);
  return value == nullptr ? otherwise : *value;
}

std::shared_ptr<Channel> CreateCustomChannel(const std::string& target, const ChannelArguments& arguments) {
  return std::make_shared<rpc::ClientChannel>(target, arguments, IoRuntime::Default());
}

std::shared_ptr<Channel> CreateCustomChannel(const std::string& target, const std::shared_ptr<ChannelCredentials>&,
                                             const ChannelArguments& arguments) {
  return CreateCustomChannel(target, arguments);
}

std::shared_ptr<Channel> CreateChannel(const std::string& target, const std::shared_ptr<ChannelCredentials>&) {
  return CreateCustomChannel(target, ChannelArguments());
}

namespace rpc {
namespace {

constexpr int kDefaultReceiveLimit = 4 * 1024 * 1024;

int64_t Limit(const ChannelArguments& arguments, const std::string& key, int otherwise) {
  const int value = arguments.GetInt(key, otherwise);
  return value < 0 ? std::numeric_limits<int64_t>::max() : value;
}

int64_t Milliseconds(const ChannelArguments& arguments, const std::string& key, int otherwise) {
  return int64_t{std::max(1, arguments.GetInt(key, otherwise))} * 1'000'000;
}

TransportInfo Describe(const absl::StatusOr<std::unique_ptr<Link>>& link, const std::vector<Refusal>& refused) {
  TransportInfo info;
  if (link.ok()) {
    info.place = (*link)->description();
    info.peer = (*link)->peer().ToString();
  } else {
    info.error = std::string(MessageOf(link.status()));
  }
  for (const Refusal& refusal : refused) info.refused.push_back({std::string(refusal.scheme), refusal.reason});
  return info;
}

std::chrono::steady_clock::time_point TimePoint(int64_t ns) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns));
}

}  // namespace

ClientChannel::ClientChannel(const std::string& target, const ChannelArguments& arguments, std::shared_ptr<IoRuntime> runtime)
    : target_(target),
      address_(ParseAddress(target)),
      runtime_(std::move(runtime)),
      max_receive_bytes_(Limit(arguments, "ipcrpc.max_receive_message_length", kDefaultReceiveLimit)),
      max_send_bytes_(Limit(arguments, "ipcrpc.max_send_message_length", -1)),
      initial_backoff_ns_(std::max(Milliseconds(arguments, "ipcrpc.initial_reconnect_backoff_ms", 5),
                                   Milliseconds(arguments, "ipcrpc.min_reconnect_backoff_ms", 1))),
      max_backoff_ns_(std::max(initial_backoff_ns_, Milliseconds(arguments, "ipcrpc.max_reconnect_backoff_ms", 100))) {}

ClientChannel::~ClientChannel() {
  if (connection_ != nullptr && ours()) connection_->Close();
}

ConnectivityState ClientChannel::GetState(bool try_to_connect) {
  if (!ours()) return ConnectivityState::SHUTDOWN;
  std::lock_guard lock(mu_);
  const bool ready = connection_ != nullptr;
  if (try_to_connect && !ready && !connecting_ && !background_) {
    background_ = runtime_->Submit([weak = weak_from_this()] { ConnectInBackground(weak); });
  }
  return state_;
}

void ClientChannel::ConnectInBackground(std::weak_ptr<ClientChannel> weak) {
  const auto forgotten = [&weak] { return weak.use_count() <= 1; };  // nobody but this thread has it
  if (const std::shared_ptr<ClientChannel> self = weak.lock()) {
    self->Get(/*wait_for_ready=*/true, kNoDeadline, forgotten).status().IgnoreError();
    std::lock_guard lock(self->mu_);
    self->background_ = false;
  }
}

void ClientChannel::SetState(ConnectivityState state) {
  if (state_ == state) return;
  state_ = state;
  changed_.notify_all();
}

void ClientChannel::OnGone(const ClientConnection* connection) {
  std::shared_ptr<ClientConnection> released;  // its last reference must not go under the lock
  std::lock_guard lock(mu_);
  if (connection == nullptr || connection_.get() != connection) return;
  released = std::move(connection_);
  connection_ = nullptr;
  transport_ = TransportInfo();
  SetState(ConnectivityState::IDLE);
}

TransportInfo ClientChannel::GetTransportInfo() {
  if (!ours()) return {};
  std::lock_guard lock(mu_);
  return transport_;
}

// The choice is said when it is made first, and when it is another than last time.
void ClientChannel::NoteTransport(TransportInfo transport, bool kept_from_a_better_one) {
  const bool news = !transport.place.empty() && address_.ok() && address_->automatic() && transport.place != said_;
  transport_ = std::move(transport);
  if (!news) return;
  said_ = transport_.place;
  std::string text = Cat(target_, ": connected by ", transport_.place, " to ", transport_.peer);
  for (const TransportInfo::Refusal& refusal : transport_.refused) AppendTo(text, "; not by ", refusal.transport, ": ", refusal.reason);
  Log(kept_from_a_better_one ? LogSeverity::kWarning : LogSeverity::kInfo, text);
}

absl::StatusOr<std::shared_ptr<ClientConnection>> ClientChannel::ConnectOnce(std::unique_lock<std::mutex>& lock,
                                                                             int64_t deadline_ns) {
  connecting_ = true;
  SetState(ConnectivityState::CONNECTING);
  lock.unlock();
  std::vector<Refusal> refused;
  absl::StatusOr<std::unique_ptr<Link>> link =
      address_.ok() ? Connect(*address_, deadline_ns, &refused) : address_.status();
  TransportInfo transport = Describe(link, refused);
  std::shared_ptr<ClientConnection> connection;
  if (link.ok()) {
    // What happens to it before it is in place is asked for below.
    auto self = std::make_shared<std::atomic<ClientConnection*>>(nullptr);
    connection = ClientConnection::Make(*std::move(link), runtime_, [weak = weak_from_this(), self] {
      if (auto channel = weak.lock()) channel->OnGone(self->load());
    });
    self->store(connection.get());
  }
  lock.lock();
  NoteTransport(std::move(transport), std::any_of(refused.begin(), refused.end(), [](const Refusal& r) { return r.offered; }));
  connecting_ = false;
  if (!link.ok()) {
    SetState(ConnectivityState::TRANSIENT_FAILURE);
    changed_.notify_all();
    return link.status();
  }
  connection_ = connection;
  SetState(ConnectivityState::READY);
  changed_.notify_all();
  if (connection->gone()) {
    lock.unlock();
    OnGone(connection.get());
    lock.lock();
  }
  return connection;
}

absl::StatusOr<std::shared_ptr<ClientConnection>> ClientChannel::TryOnce(std::unique_lock<std::mutex>& lock, int64_t deadline_ns,
                                                                        bool* hopeless) {
  absl::StatusOr<std::shared_ptr<ClientConnection>> connection = ConnectOnce(lock, deadline_ns);
  if (connection.ok()) return connection;
  *hopeless = absl::IsInvalidArgument(connection.status()) || absl::IsFailedPrecondition(connection.status());
  // A server may be slow to answer also where the call has time left.
  if (absl::IsDeadlineExceeded(connection.status()) && deadline_ns <= MonotonicNs()) return connection.status();
  return absl::UnavailableError(Cat("cannot connect to ", target_, ": ", MessageOf(connection.status())));
}

absl::StatusOr<std::shared_ptr<ClientConnection>> ClientChannel::Get(bool wait_for_ready, int64_t deadline_ns,
                                                                   const std::function<bool()>& cancelled) {
  std::unique_lock lock(mu_);
  int64_t backoff_ns = initial_backoff_ns_;
  for (;;) {
    if (connection_ != nullptr) return connection_;
    if (cancelled && cancelled()) return absl::CancelledError("the call was cancelled");
    if (connecting_) {
      // Somebody connects already; what comes of it is ours too.
      changed_.wait_until(lock, TimePoint(std::min(deadline_ns, MonotonicNs() + max_backoff_ns_)));
      if (deadline_ns <= MonotonicNs()) return absl::DeadlineExceededError(Cat("no connection to ", target_, " in time"));
      continue;
    }
    bool hopeless = false;
    absl::StatusOr<std::shared_ptr<ClientConnection>> connection = TryOnce(lock, deadline_ns, &hopeless);
    if (connection.ok() || !wait_for_ready || hopeless) return connection;
    const int64_t now = MonotonicNs();
    if (now >= deadline_ns) return absl::DeadlineExceededError(Cat("no connection to ", target_, " in time: ", MessageOf(connection.status())));
    const int64_t until = std::min(deadline_ns, now + backoff_ns);
    changed_.wait_until(lock, TimePoint(until), [this] { return connection_ != nullptr; });
    backoff_ns = std::min(2 * backoff_ns, max_backoff_ns_);
  }
}

// ---- those who do not wait -------------------------------------------------------------------

std::shared_ptr<ClientConnection> ClientChannel::Current() {
  std::lock_guard lock(mu_);
  return connection_;
}

std::shared_ptr<ClientConnection> ClientChannel::GetOrApply(Applicant* applicant, bool wait_for_ready, int64_t deadline_ns) {
  std::unique_lock lock(mu_);
  if (connection_ != nullptr) return connection_;
  uint64_t timer = 0;
  if (deadline_ns != kNoDeadline) {
    // The applicant may be gone by then; the list knows.
    timer = runtime_->timers().Add([weak = weak_from_this(), applicant] {
      if (auto channel = weak.lock()) channel->Expire(applicant);
    });
    runtime_->timers().Set(timer, deadline_ns);
  }
  applications_.push_back({applicant, wait_for_ready, deadline_ns, timer});
  changed_.notify_all();
  if (connects_for_applicants_) return nullptr;
  connects_for_applicants_ = runtime_->Submit([self = shared_from_this()] { self->ConnectForApplicants(); });
  if (!connects_for_applicants_) {
    TakeOut(applicant);
    lock.unlock();
    applicant->OnConnection(absl::ResourceExhaustedError("every worker is busy: none is left to connect"));
  }
  return nullptr;
}

bool ClientChannel::TakeOut(Applicant* applicant) {
  const auto it = std::find_if(applications_.begin(), applications_.end(),
                               [applicant](const Application& one) { return one.applicant == applicant; });
  if (it == applications_.end()) return false;
  if (it->deadline_timer != 0) runtime_->timers().Remove(it->deadline_timer);
  applications_.erase(it);
  return true;
}

bool ClientChannel::Withdraw(Applicant* applicant) {
  std::lock_guard lock(mu_);
  const bool there = TakeOut(applicant);
  if (there) changed_.notify_all();
  return there;
}

void ClientChannel::Expire(Applicant* applicant) {
  {
    std::lock_guard lock(mu_);
    const auto late = [&](const Application& one) { return one.applicant == applicant && one.deadline_ns <= MonotonicNs(); };
    // It may be another one, in the memory of one that is gone.
    if (std::none_of(applications_.begin(), applications_.end(), late) || !TakeOut(applicant)) return;
  }
  applicant->OnConnection(absl::DeadlineExceededError(Cat("no connection to ", target_, " in time")));
}

void ClientChannel::ConnectForApplicants() {
  std::unique_lock lock(mu_);
  int64_t backoff_ns = initial_backoff_ns_;
  while (!applications_.empty()) {
    bool hopeless = false;
    absl::StatusOr<std::shared_ptr<ClientConnection>> connection = connection_;
    if (connection_ == nullptr) {
      if (connecting_) {
        changed_.wait(lock);
        continue;
      }
      connection = TryOnce(lock, kNoDeadline, &hopeless);
    }
    std::vector<Applicant*> told;
    for (const Application& one : applications_) {
      if (connection.ok() || hopeless || !one.wait_for_ready) told.push_back(one.applicant);
    }
    for (Applicant* applicant : told) TakeOut(applicant);
    if (!told.empty()) {
      lock.unlock();
      for (Applicant* applicant : told) applicant->OnConnection(connection);
      lock.lock();
    }
    if (connection.ok() || hopeless) continue;
    // Those who are left are patient; who comes and is not has a try of his own at once.
    const auto wanted = [this] {
      return connection_ != nullptr || applications_.empty() ||
             std::any_of(applications_.begin(), applications_.end(), [](const Application& one) { return !one.wait_for_ready; });
    };
    changed_.wait_until(lock, TimePoint(MonotonicNs() + backoff_ns), wanted);
    backoff_ns = std::min(2 * backoff_ns, max_backoff_ns_);
  }
  connects_for_applicants_ = false;
}

bool ClientChannel::WaitForStateChangeNs(ConnectivityState last, int64_t deadline_ns) {
  if (!ours()) return last != ConnectivityState::SHUTDOWN;
  std::unique_lock lock(mu_);
  const auto changed = [&] { return state_ != last; };
  if (deadline_ns == kNoDeadline) {
    changed_.wait(lock, changed);
    return true;
  }
  return changed_.wait_until(lock, TimePoint(deadline_ns), changed);
}

bool ClientChannel::WaitForConnectedNs(int64_t deadline_ns) { return ours() && Get(/*wait_for_ready=*/true, deadline_ns, nullptr).ok(); }

}  // namespace rpc
}  // namespace ipcrpc

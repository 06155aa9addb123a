#include "rpc/client_channel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <utility>

#include "ipcrpc/argument_names.h"
#include "transport/address.h"
#include "transport/base/log.h"
#include "transport/base/strings.h"

namespace ipcrpc {

int ChannelArguments::GetInt(const std::string& key, int otherwise) const {
  const auto it = values_.find(key);
  const int* value = it == values_.end() ? nullptr : std::get_if<int>(&it->second);
  return value == nullptr ? otherwise : *value;
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

// How long a caller's own thread connects: long enough for every server that is well.
constexpr int64_t kOwnTryNs = 50'000'000;
// A worker's.
constexpr int64_t kPatientTryNs = 20'000'000'000;
constexpr int64_t kAskCancelledNs = 100'000'000;

constexpr int kDefaultReceiveLimit = 4 * 1024 * 1024;

int64_t Limit(const ChannelArguments& arguments, const std::string& key, int otherwise) {
  const int value = arguments.GetInt(key, otherwise);
  return value < 0 ? std::numeric_limits<int64_t>::max() : value;
}

int64_t Milliseconds(const ChannelArguments& arguments, const std::string& key, int otherwise) {
  return int64_t{std::max(1, arguments.GetInt(key, otherwise))} * 1'000'000;
}

Keepalive KeepaliveOf(const ChannelArguments& arguments) {
  Keepalive keepalive;
  keepalive.SetTimeMs(arguments.GetInt(IPCRPC_ARG_KEEPALIVE_TIME_MS, 0));
  keepalive.SetTimeoutMs(arguments.GetInt(IPCRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000));
  keepalive.without_calls = arguments.GetInt(IPCRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 0) != 0;
  return keepalive;
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

Connector ToAddress(const std::string& target) {
  return [address = ParseAddress(target)](int64_t deadline_ns, std::vector<Refusal>* refused) -> absl::StatusOr<std::unique_ptr<Link>> {
    if (!address.ok()) return address.status();
    return Connect(*address, deadline_ns, refused);
  };
}

bool IsAutomatic(const std::string& target) {
  const absl::StatusOr<Address> address = ParseAddress(target);
  return address.ok() && address->automatic();
}

std::chrono::steady_clock::time_point TimePoint(int64_t ns) {
  return std::chrono::steady_clock::time_point(std::chrono::nanoseconds(ns));
}

}  // namespace

ClientChannel::ClientChannel(const std::string& target, const ChannelArguments& arguments, std::shared_ptr<IoRuntime> runtime)
    : ClientChannel(target, ToAddress(target), arguments, std::move(runtime)) {}

ClientChannel::ClientChannel(const std::string& target, Connector connect, const ChannelArguments& arguments,
                             std::shared_ptr<IoRuntime> runtime)
    : target_(target),
      connect_(std::move(connect)),
      automatic_(IsAutomatic(target)),
      runtime_(std::move(runtime)),
      max_receive_bytes_(Limit(arguments, IPCRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, kDefaultReceiveLimit)),
      max_send_bytes_(Limit(arguments, IPCRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1)),
      keepalive_(KeepaliveOf(arguments)),
      backoff_(Milliseconds(arguments, IPCRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 5),
               Milliseconds(arguments, IPCRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1),
               Milliseconds(arguments, IPCRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 100)) {}

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
  released = Exchange(nullptr);
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
  const bool news = !transport.place.empty() && automatic_ && transport.place != said_;
  transport_ = std::move(transport);
  if (!news) return;
  said_ = transport_.place;
  std::string text = Cat(target_, ": connected by ", transport_.place, " to ", transport_.peer);
  for (const TransportInfo::Refusal& refusal : transport_.refused) AppendTo(text, "; not by ", refusal.transport, ": ", refusal.reason);
  Log(kept_from_a_better_one ? LogSeverity::kWarning : LogSeverity::kInfo, text);
}

void ClientChannel::Conclude(absl::StatusOr<std::unique_ptr<Link>> link, const std::vector<Refusal>& refused) {
  TransportInfo transport = Describe(link, refused);
  std::shared_ptr<ClientConnection> connection;
  if (link.ok()) {
    // What happens to it before it is in place is asked for below.
    auto self = std::make_shared<std::atomic<ClientConnection*>>(nullptr);
    connection = ClientConnection::Make(*std::move(link), runtime_, keepalive_, [weak = weak_from_this(), self] {
      if (auto channel = weak.lock()) channel->OnGone(self->load());
    });
    self->store(connection.get());
  }
  {
    std::lock_guard lock(mu_);
    NoteTransport(std::move(transport), std::any_of(refused.begin(), refused.end(), [](const Refusal& r) { return r.offered; }));
    connecting_ = false;
    ++tries_;
    failure_code_ = link.status().code();
    if (connection != nullptr) {
      backoff_.Reset();
      Exchange(connection);
      SetState(ConnectivityState::READY);
    } else {
      failure_ = std::string(MessageOf(link.status()));
      next_try_ns_ = MonotonicNs() + backoff_.Next();
      SetState(ConnectivityState::TRANSIENT_FAILURE);
    }
    changed_.notify_all();
  }
  if (connection != nullptr && connection->gone()) OnGone(connection.get());
}

void ClientChannel::ConnectPatiently() {
  std::vector<Refusal> refused;
  absl::StatusOr<std::unique_ptr<Link>> link = connect_(MonotonicNs() + kPatientTryNs, &refused);
  Conclude(std::move(link), refused);
}

void ClientChannel::Pause(std::unique_lock<std::mutex>& lock, int64_t until_ns) {
  changed_.wait_until(lock, TimePoint(std::min(until_ns, MonotonicNs() + kAskCancelledNs)));
}

void ClientChannel::WakeWaiters() {
  std::lock_guard lock(mu_);
  changed_.notify_all();
}

ClientChannel::Outcome ClientChannel::TryOnce(std::unique_lock<std::mutex>& lock, int64_t deadline_ns,
                                              const std::function<bool()>& cancelled) {
  const uint64_t before = tries_;
  if (!connecting_) {
    connecting_ = true;
    SetState(ConnectivityState::CONNECTING);
    lock.unlock();
    std::vector<Refusal> refused;
    absl::StatusOr<std::unique_ptr<Link>> link = connect_(std::min(deadline_ns, MonotonicNs() + kOwnTryNs), &refused);
    // Also where this caller has no time left: others may wait for what comes of it.
    const bool slow = absl::IsDeadlineExceeded(link.status());
    if (!slow || !runtime_->Submit([self = shared_from_this()] { self->ConnectPatiently(); })) Conclude(std::move(link), refused);
    lock.lock();
  }
  while (tries_ == before) {
    if (cancelled && cancelled()) return Outcome::kCancelled;
    if (deadline_ns <= MonotonicNs()) return Outcome::kOutOfTime;
    Pause(lock, deadline_ns);
  }
  if (failure_code_ == absl::StatusCode::kOk) return Outcome::kConnected;
  // A server may be slow to answer also where the call has time left.
  if (failure_code_ == absl::StatusCode::kDeadlineExceeded && deadline_ns <= MonotonicNs()) return Outcome::kOutOfTime;
  const bool hopeless = failure_code_ == absl::StatusCode::kInvalidArgument || failure_code_ == absl::StatusCode::kFailedPrecondition;
  return hopeless ? Outcome::kHopeless : Outcome::kFailed;
}

absl::Status ClientChannel::Failure() const {
  return absl::UnavailableError(Cat("cannot connect to ", target_, ": ", failure_));
}

absl::Status ClientChannel::OutOfTime() const {
  return absl::DeadlineExceededError(Cat("no connection to ", target_, " in time", failure_.empty() ? "" : ": ", failure_));
}

absl::StatusOr<std::shared_ptr<ClientConnection>> ClientChannel::Get(bool wait_for_ready, int64_t deadline_ns,
                                                                   const std::function<bool()>& cancelled) {
  std::unique_lock lock(mu_);
  for (;;) {
    if (connection_ != nullptr) return connection_;
    if (cancelled && cancelled()) return absl::CancelledError("the call was cancelled");
    const int64_t now = MonotonicNs();
    if (now >= deadline_ns) return OutOfTime();
    if (wait_for_ready && !connecting_ && now < next_try_ns_) {
      Pause(lock, std::min(deadline_ns, next_try_ns_));
      continue;
    }
    switch (TryOnce(lock, deadline_ns, cancelled)) {
      case Outcome::kFailed:
        if (!wait_for_ready) return Failure();
        break;
      case Outcome::kHopeless:
        return Failure();
      case Outcome::kOutOfTime:
        return OutOfTime();
      case Outcome::kConnected:
      case Outcome::kCancelled:
        break;
    }
  }
}

// ---- those who do not wait -------------------------------------------------------------------

std::shared_ptr<ClientConnection> ClientChannel::Current() {
  std::lock_guard lock(connection_mu_);
  return connection_;
}

std::shared_ptr<ClientConnection> ClientChannel::Exchange(std::shared_ptr<ClientConnection> connection) {
  std::lock_guard lock(connection_mu_);
  connection_.swap(connection);
  return connection;
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
  while (!applications_.empty()) {
    // Those who are patient wait for the next try; who comes and is not has a try of his own at once.
    const bool all_patient = std::all_of(applications_.begin(), applications_.end(), [](const Application& one) { return one.wait_for_ready; });
    if (connection_ == nullptr && !connecting_ && all_patient && MonotonicNs() < next_try_ns_) {
      changed_.wait_until(lock, TimePoint(next_try_ns_));
      continue;
    }
    Outcome outcome = Outcome::kConnected;
    if (connection_ == nullptr) {
      outcome = TryOnce(lock, kNoDeadline, nullptr);
      if (outcome == Outcome::kConnected && connection_ == nullptr) continue;  // lost again
    }
    std::vector<Applicant*> told;
    for (const Application& one : applications_) {
      if (outcome != Outcome::kFailed || !one.wait_for_ready) told.push_back(one.applicant);
    }
    for (Applicant* applicant : told) TakeOut(applicant);
    const std::shared_ptr<ClientConnection> connection = connection_;
    const std::string why(MessageOf(Failure()));
    lock.unlock();
    for (Applicant* applicant : told) {
      if (outcome == Outcome::kConnected) {
        applicant->OnConnection(connection);
      } else {
        applicant->OnConnection(absl::UnavailableError(why));
      }
    }
    lock.lock();
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

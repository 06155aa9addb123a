// spool_client [ADDRESS]: has each line of the standard input kept, and prints each change of the server's health. It calls only
// while the server is SERVING; meanwhile lines wait, also for a server that has gone and is started again.
#include <ipcrpc/ipcrpc.h>

#include <condition_variable>
#include <cstdio>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "health.ipcrpc.pb.h"
#include "spool.ipcrpc.pb.h"

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;
using ipcrpc::ClientContext;
using ipcrpc::Status;
using ipcrpc::StatusCode;

// The health of one service, watched by a thread.
class Watch {
 public:
  Watch(const std::shared_ptr<ipcrpc::Channel>& channel, const std::string& service) : health_(Health::NewStub(channel)) {
    request_.set_service(service);
    thread_ = std::thread([this] { Run(); });
  }
  ~Watch() {
    {
      std::lock_guard lock(mu_);
      over_ = true;
      call_->TryCancel();
    }
    thread_.join();
  }

  // False: there will be no health to wait for.
  bool AwaitServing() {
    std::unique_lock lock(mu_);
    changed_.wait(lock, [this] { return serving_ || over_; });
    return serving_;
  }

 private:
  void Run() {
    Status ended;
    do {
      ended = WatchOneServer();
    } while (Begin(ended));
  }

  // Until it goes. That it is not there yet, or not any more, is no error: the call waits for it.
  Status WatchOneServer() {
    call_->set_wait_for_ready(true);
    const auto stream = health_->Watch(call_.get(), request_);
    for (HealthCheckResponse response; stream->Read(&response);) {
      Note(HealthCheckResponse::ServingStatus_Name(response.status()), response.status() == HealthCheckResponse::SERVING);
    }
    return stream->Finish();
  }

  // Another call, unless that is of no use.
  bool Begin(const Status& ended) {
    std::unique_lock lock(mu_);
    if (over_) return false;
    lock.unlock();
    Note(ended.error_code() == StatusCode::UNAVAILABLE ? "gone" : ended.error_message(), false);
    lock.lock();
    over_ = over_ || ended.error_code() != StatusCode::UNAVAILABLE;
    if (!over_) call_ = std::make_unique<ClientContext>();
    changed_.notify_all();
    return !over_;
  }

  void Note(const std::string& what, bool serving) {
    std::printf("health: %s\n", what.c_str());
    std::lock_guard lock(mu_);
    serving_ = serving;
    changed_.notify_all();
  }

  const std::unique_ptr<Health::Stub> health_;
  HealthCheckRequest request_;
  std::mutex mu_;
  std::condition_variable changed_;
  std::unique_ptr<ClientContext> call_ = std::make_unique<ClientContext>();
  bool serving_ = false, over_ = false;
  std::thread thread_;
};

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);
  const auto channel = ipcrpc::CreateChannel(argc > 1 ? argv[1] : "shm:spool");
  const auto spool = spool::Spool::NewStub(channel);
  Watch watch(channel, spool::Spool::service_full_name());
  for (std::string text; std::getline(std::cin, text);) {
    if (!watch.AwaitServing()) return 1;
    ClientContext context;
    spool::Line line;
    line.set_text(text);
    spool::Stored stored;
    const Status status = spool->Put(&context, line, &stored);
    if (!status.ok()) {
      // The server's health has not told of it yet.
      std::fprintf(stderr, "spool_client: %s: %s\n", text.c_str(), status.error_message().c_str());
      return 1;
    }
    std::printf("%s: %lld\n", text.c_str(), static_cast<long long>(stored.number()));
  }
}

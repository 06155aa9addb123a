// A client in the shape of gRPC's callback examples, for both libraries: see swap_test.sh.
#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "helloworld.grpc.pb.h"

using grpc::Channel;
using grpc::ClientContext;
using grpc::Status;
using helloworld::Greeter;
using helloworld::HelloReply;
using helloworld::HelloRequest;

class GreeterClient {
 public:
  explicit GreeterClient(std::shared_ptr<Channel> channel) : stub_(Greeter::NewStub(channel)) {}

  std::string SayHello(const std::string& user) {
    HelloRequest request;
    request.set_name(user);
    HelloReply reply;
    ClientContext context;
    context.set_wait_for_ready(true);
    std::mutex mu;
    std::condition_variable cv;
    bool done = false;
    Status status;
    stub_->async()->SayHello(&context, &request, &reply, [&mu, &cv, &done, &status](Status s) {
      status = std::move(s);
      std::lock_guard<std::mutex> lock(mu);
      done = true;
      cv.notify_one();
    });
    std::unique_lock<std::mutex> lock(mu);
    cv.wait(lock, [&done] { return done; });
    return status.ok() ? reply.message() : "RPC failed: " + status.error_message();
  }

  void SayHelloToAll(const std::vector<std::string>& users) {
    class Chatter : public grpc::ClientBidiReactor<HelloRequest, HelloReply> {
     public:
      Chatter(Greeter::Stub* stub, const std::vector<std::string>& users) : users_(users) {
        stub->async()->SayHelloToAll(&context_, this);
        NextWrite();
        StartRead(&reply_);
        StartCall();
      }
      void OnReadInitialMetadataDone(bool ok) override {
        const auto& metadata = context_.GetServerInitialMetadata();
        const auto it = metadata.find("greeter");
        if (ok && it != metadata.end()) std::cout << "greeter: " << std::string(it->second.data(), it->second.size()) << std::endl;
      }
      void OnWriteDone(bool /*ok*/) override { NextWrite(); }
      void OnReadDone(bool ok) override {
        if (!ok) return;
        std::cout << reply_.message() << std::endl;
        StartRead(&reply_);
      }
      void OnDone(const Status& s) override {
        std::unique_lock<std::mutex> lock(mu_);
        status_ = s;
        done_ = true;
        cv_.notify_one();
      }
      Status Await() {
        std::unique_lock<std::mutex> lock(mu_);
        cv_.wait(lock, [this] { return done_; });
        return std::move(status_);
      }

     private:
      void NextWrite() {
        if (next_ < users_.size()) {
          request_.set_name(users_[next_++]);
          StartWrite(&request_);
        } else if (!said_all_) {
          said_all_ = true;
          StartWritesDone();
        }
      }
      ClientContext context_;
      const std::vector<std::string> users_;
      size_t next_ = 0;
      bool said_all_ = false;
      HelloRequest request_;
      HelloReply reply_;
      std::mutex mu_;
      std::condition_variable cv_;
      Status status_;
      bool done_ = false;
    };
    Chatter chatter(stub_.get(), users);
    Status status = chatter.Await();
    std::cout << status.error_code() << ": " << status.error_message() << std::endl;
  }

 private:
  std::unique_ptr<Greeter::Stub> stub_;
};

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  GreeterClient greeter(grpc::CreateChannel(argv[1], grpc::InsecureChannelCredentials()));
  std::cout << greeter.SayHello("world") << std::endl;
  greeter.SayHelloToAll({"moon", "sun", "stars"});
}

// The worker that the tests of pools start: a server of workshop.Workshop. What Make() is sent says what it does:
//   pid       answers its pid
//   wait      waits until the call is cancelled
//   fail      ends with a status that has details, and trailing metadata
//   metadata  gives back what it got as "x-in", as initial and as trailing metadata
//   deadline  answers in how many milliseconds it has to be done
//   fd        answers what is in the file that it was passed, and passes another one that has "back"
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "ipcrpc/child.h"
#include "ipcrpc/ipcrpc.h"
#include "workshop.ipcrpc.pb.h"

namespace {

using ipcrpc::ServerContext;
using ipcrpc::Status;
using ipcrpc::StatusCode;
using workshop::Piece;

class Workshop final : public workshop::Workshop::Service {
  Status Make(ServerContext* context, const Piece* piece, Piece* made) override {
    const std::string& what = piece->text();
    made->set_text(what);
    if (what == "pid") made->set_text(std::to_string(getpid()));
    if (what == "wait") {
      std::mutex mu;
      std::unique_lock lock(mu);
      std::condition_variable_any().wait(lock, context->stop_token(), [] { return false; });
    }
    if (what == "fail") {
      context->AddTrailingMetadata("x-why", "because");
      return Status(StatusCode::ALREADY_EXISTS, "it failed", std::string("\x01\x00\xff", 3));
    }
    if (what == "metadata") {
      const auto range = context->client_metadata().equal_range("x-in");
      for (auto it = range.first; it != range.second; ++it) {
        context->AddInitialMetadata("x-initial", std::string(it->second));
        context->AddTrailingMetadata("x-trailing", std::string(it->second));
      }
    }
    if (what == "deadline") {
      const auto left = context->deadline() - std::chrono::system_clock::now();
      made->set_number(static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(left).count()));
    }
    if (what == "fd") {
      char text[64] = {};
      for (const ipcrpc::UniqueFd& fd : context->TakeFds()) {
        if (pread(fd.get(), text, sizeof text - 1, 0) < 0) return Status(StatusCode::INTERNAL, "not a file");
      }
      made->set_text(text);
      ipcrpc::UniqueFd back(memfd_create("back", MFD_CLOEXEC));
      if (pwrite(back.get(), "back", 4, 0) == 4) context->AttachFd(std::move(back));
    }
    return Status::OK;
  }

  Status Gather(ServerContext*, ipcrpc::ServerReader<Piece>* reader, Piece* all) override {
    int count = 0;
    for (Piece piece; reader->Read(&piece); ++count) all->set_text(piece.text());
    all->set_number(count);
    return Status::OK;
  }

  Status Spread(ServerContext*, const Piece* piece, ipcrpc::ServerWriter<Piece>* writer) override {
    Piece one = *piece;
    for (int i = 0; i < piece->number(); ++i) {
      one.set_number(i);
      if (!writer->Write(one)) return Status::CANCELLED;
    }
    return Status::OK;
  }

  Status Talk(ServerContext* context, ipcrpc::ServerReaderWriter<Piece, Piece>* stream) override {
    context->AddInitialMetadata("x-hello", "first");
    stream->SendInitialMetadata();
    for (Piece piece; stream->Read(&piece);) {
      if (!stream->Write(piece)) return Status::CANCELLED;
    }
    return Status(StatusCode::OUT_OF_RANGE, "no more");
  }
};

}  // namespace

int main() {
  Workshop service;
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(ipcrpc::ChildAddress()).RegisterService(&service);
  const std::unique_ptr<ipcrpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  server->Wait();
}

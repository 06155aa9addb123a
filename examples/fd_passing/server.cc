// fd_passing_server [ADDRESS]: numbers the lines of files that it is handed, until it is killed. It may open none of them itself.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

#include <ipcrpc/ipcrpc.h>

#include "numberer.ipcrpc.pb.h"

namespace {

// What fits a pipe without anybody reading it.
constexpr off_t kMaxBytes = 16 * 1024;
constexpr int kPipeBytes = 64 * 1024;

// A client can send anything: a pipe without end, a directory. Only what is a small file is read.
bool ReadFile(const ipcrpc::UniqueFd& file, std::string* text) {
  struct stat info;
  if (fstat(file.get(), &info) != 0 || !S_ISREG(info.st_mode) || info.st_size > kMaxBytes) return false;
  text->resize(static_cast<size_t>(info.st_size));
  const ssize_t got = pread(file.get(), text->data(), text->size(), 0);
  text->resize(got > 0 ? static_cast<size_t>(got) : 0);
  return got >= 0;
}

}  // namespace

struct Numberer final : fd_passing::Numberer::Service {
  ipcrpc::Status Number(ipcrpc::ServerContext* context, const fd_passing::Request*, fd_passing::Reply* reply) override {
    const std::vector<ipcrpc::UniqueFd> files = context->TakeFds();
    std::string text;
    if (files.size() != 1 || !ReadFile(files[0], &text)) {
      return {ipcrpc::StatusCode::INVALID_ARGUMENT, "one file of at most 16 KiB is expected"};
    }
    std::string numbered;
    for (size_t at = 0, end; at < text.size(); at = end + 1) {
      end = std::min(text.find('\n', at), text.size());
      reply->set_lines(reply->lines() + 1);
      numbered += std::to_string(reply->lines()) + " " + text.substr(at, end - at) + "\n";
    }
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) return {ipcrpc::StatusCode::RESOURCE_EXHAUSTED, "no pipe is to be had"};
    ipcrpc::UniqueFd read_end(ends[0]);
    const ipcrpc::UniqueFd write_end(ends[1]);
    if (numbered.size() > kPipeBytes || write(write_end.get(), numbered.data(), numbered.size()) != static_cast<ssize_t>(numbered.size())) {
      return {ipcrpc::StatusCode::RESOURCE_EXHAUSTED, "with so many lines it does not fit the pipe"};
    }
    context->AttachFd(std::move(read_end));
    return ipcrpc::Status::OK;
  }
};

int main(int argc, char** argv) {
  Numberer numberer;
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(argc > 1 ? argv[1] : "shm:numberer").RegisterService(&numberer);
  auto server = builder.BuildAndStart();
  if (server == nullptr) {
    std::fprintf(stderr, "fd_passing_server: %s\n", builder.error().c_str());
    return 1;
  }
  server->Wait();
}

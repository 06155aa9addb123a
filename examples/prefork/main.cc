// sumd ADDRESS [WORKERS]: adds numbers, in worker processes that are this same program. One that crashes takes only its own calls along.
#include <ipcrpc/daemon.h>
#include <unistd.h>

#include <cstdlib>
#include <numeric>

#include "sum.ipcrpc.pb.h"

class Sum final : public sum::Sum::Service {
  ipcrpc::Status Add(ipcrpc::ServerContext*, const sum::Numbers* numbers, sum::Total* total) override {
    if (numbers->number_size() == 0) abort();  // a bug
    total->set_total(std::accumulate(numbers->number().begin(), numbers->number().end(), 0.0));
    total->set_pid(getpid());
    return ipcrpc::Status::OK;
  }
};

int Work() {
  Sum service;
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(ipcrpc::ChildAddress()).RegisterService(&service);
  auto server = builder.BuildAndStart();
  if (server == nullptr) return 1;
  server->Wait();  // until the parent is gone, or stops
  return 0;
}

int main(int argc, char** argv) {
  if (!ipcrpc::ChildAddress().empty()) return Work();
  ipcrpc::Daemon daemon("sumd");
  daemon.Listen(argc > 1 ? argv[1] : "shm:sum");
  daemon.Prefork({.worker = {.argv = {"/proc/self/exe"}, .name = "adder"}, .workers = argc > 2 ? atoi(argv[2]) : 0}).Serve<sum::Sum>();
  return daemon.Run();
}

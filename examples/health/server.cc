// spool_server DIRECTORY [ADDRESS]: keeps lines in files of the directory, until it is killed, and tells by its health whether it
// can: the directory may go, and come back.
#include <ipcrpc/health_check_service_interface.h>
#include <ipcrpc/ipcrpc.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

#include "spool.ipcrpc.pb.h"

using ipcrpc::Status;
using ipcrpc::StatusCode;

class Spool final : public spool::Spool::Service {
 public:
  explicit Spool(std::filesystem::path directory) : directory_(std::move(directory)) {}

  bool able() const {
    std::error_code ignored;
    return std::filesystem::is_directory(directory_, ignored);
  }

 private:
  Status Put(ipcrpc::ServerContext*, const spool::Line* line, spool::Stored* stored) override {
    int64_t number = ++last_;
    std::error_code ignored;
    while (std::filesystem::exists(directory_ / std::to_string(number), ignored)) number = ++last_;  // of a server before this one
    std::ofstream file(directory_ / std::to_string(number));
    file << line->text() << '\n';
    file.close();
    if (!file) return Status(StatusCode::UNAVAILABLE, "nothing can be written to " + directory_.string());
    stored->set_number(number);
    return Status::OK;
  }

  const std::filesystem::path directory_;
  std::atomic<int64_t> last_{0};
};

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: spool_server DIRECTORY [ADDRESS]\n");
    return 2;
  }
  Spool spool(argv[1]);
  ipcrpc::EnableDefaultHealthCheckService(true);
  ipcrpc::ServerBuilder builder;
  builder.AddListeningPort(argc > 2 ? argv[2] : "shm:spool").RegisterService(&spool);
  auto server = builder.BuildAndStart();
  if (server == nullptr) {
    std::fprintf(stderr, "spool_server: %s\n", builder.error().c_str());
    return 1;
  }
  // Who watches hears of changes alone, however often this says the same.
  for (;; std::this_thread::sleep_for(std::chrono::milliseconds(50))) {
    server->GetHealthCheckService()->SetServingStatus(spool::Spool::service_full_name(), spool.able());
  }
}

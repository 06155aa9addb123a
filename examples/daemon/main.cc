// thermometerd FILE [ADDRESS]: serves the temperature that FILE has in thousandths of a degree, as
// /sys/class/thermal/thermal_zone0/temp does. SIGHUP has it look whether FILE is still a thermometer.
#include <ipcrpc/daemon.h>

#include <fstream>

#include "thermometer.ipcrpc.pb.h"

class Thermometer final : public thermometer::Thermometer::Service {
 public:
  explicit Thermometer(std::string file) : file_(std::move(file)) {}

  ipcrpc::Status Check() const {
    double ignored;
    if (std::ifstream(file_) >> ignored) return ipcrpc::Status::OK;
    return {ipcrpc::StatusCode::UNAVAILABLE, file_ + " has no temperature"};
  }

  ipcrpc::Status Read(ipcrpc::ServerContext*, const thermometer::Request*,
                      thermometer::Reading* reading) override {
    double thousandths = 0;
    if (!(std::ifstream(file_) >> thousandths)) return Check();
    reading->set_celsius(thousandths / 1000);
    return ipcrpc::Status::OK;
  }

 private:
  const std::string file_;
};

int main(int argc, char** argv) {
  ipcrpc::Daemon daemon("thermometerd");  // before all else: it sees to signals
  Thermometer service(argc > 1 ? argv[1] : "/sys/class/thermal/thermal_zone0/temp");
  daemon.Listen(argc > 2 ? argv[2] : "shm:thermometer").Register(&service);
  daemon.OnStart([&](ipcrpc::Server&) { return service.Check(); }).OnReload([&] { return service.Check(); });
  return daemon.Run();
}

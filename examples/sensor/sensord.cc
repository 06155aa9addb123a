// sensord FILE [PLACE [ADDRESS]]: publishes the temperature that FILE has in thousandths of a degree, as
// /sys/class/thermal/thermal_zone0/temp does, whenever it changes; at PLACE ("sensor"), and to who asks at ADDRESS.
#include <ipcrpc/daemon.h>
#include <ipcrpc/snapshot.h>
#include <ipcrpc/snapshot_service.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <thread>

#include "sensor.pb.h"

int main(int argc, char** argv) {
  ipcrpc::Daemon daemon("sensord");  // before all else: it sees to signals
  const std::string file = argc > 1 ? argv[1] : "/sys/class/thermal/thermal_zone0/temp";
  ipcrpc::SnapshotPublisher<sensor::Reading> publisher(argc > 2 ? argv[2] : "sensor");
  ipcrpc::SnapshotService snapshots(publisher);
  daemon.Listen(argc > 3 ? argv[3] : "shm:sensor").Register(&snapshots);

  sensor::Reading reading;
  const auto measure = [&]() -> ipcrpc::Status {
    double thousandths;
    if (!(std::ifstream(file) >> thousandths)) return {ipcrpc::StatusCode::UNAVAILABLE, file + " has no temperature"};
    const double celsius = thousandths / 1000;
    const bool first = reading.readings() == 0;
    publisher.Beat();  // we live, whatever there is to say
    if (!first && celsius == reading.celsius()) return ipcrpc::Status::OK;
    reading.set_celsius(celsius);
    reading.set_lowest(first ? celsius : std::min(celsius, reading.lowest()));
    reading.set_highest(first ? celsius : std::max(celsius, reading.highest()));
    reading.set_readings(reading.readings() + 1);
    return publisher.Publish(reading);
  };
  std::jthread measuring;
  daemon.OnStart([&](ipcrpc::Server&) {
    const ipcrpc::Status status = measure();
    if (!status.ok()) return status;
    daemon.Log(ipcrpc::LogSeverity::kInfo, "the first reading is published");
    measuring = std::jthread([&](std::stop_token stop) {
      while (!stop.stop_requested()) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        if (const ipcrpc::Status failed = measure(); !failed.ok()) daemon.Log(ipcrpc::LogSeverity::kWarning, failed.error_message());
      }
    });
    return status;
  });
  daemon.OnStop([&] { measuring = {}; });
  return daemon.Run();
}

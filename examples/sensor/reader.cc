// sensor_reader NAME|ADDRESS [COUNT]: prints COUNT readings as they come, or all. By name it reads the daemon's file; by address it
// has the daemon hand it the memory. In between it sleeps.
#include <ipcrpc/ipcrpc.h>
#include <ipcrpc/snapshot.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "sensor.pb.h"

using Reader = ipcrpc::SnapshotReader<sensor::Reading>;

int main(int argc, char** argv) {
  const std::string where = argc > 1 ? argv[1] : "sensor";
  const bool address = where.find(':') != std::string::npos;
  Reader reader = address ? Reader(ipcrpc::CreateChannel(where), "sensor") : Reader(where);
  for (long left = argc > 2 ? std::atol(argv[2]) : -1; left != 0; --left) {
    const sensor::Reading* now = reader.Read();
    if (now == nullptr) {
      std::fprintf(stderr, "sensor_reader: %s\n", reader.status().error_message().c_str());
      return 1;
    }
    std::printf("%.1f degrees, from %.1f to %.1f\n", now->celsius(), now->lowest(), now->highest());
    std::fflush(stdout);
    if (left == 1) break;
    const ipcrpc::Status status = reader.WaitForChange(std::chrono::steady_clock::time_point::max());
    if (status.ok()) continue;
    std::fprintf(stderr, "sensor_reader: %s\n", status.error_message().c_str());
    return 3;
  }
}

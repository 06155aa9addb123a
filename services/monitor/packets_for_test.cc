#include "services/monitor/packets_for_test.h"

#include <algorithm>
#include <fstream>

#include "absl/strings/escaping.h"

namespace ipcrpc::monitor {

std::vector<CapturedPacket> LoadPackets() {
  std::ifstream file(IPCRPC_MONITOR_TESTDATA "/rtnetlink.txt");
  std::vector<CapturedPacket> packets;
  std::string line, expected;
  while (std::getline(file, line)) {
    if (line.empty() || line[0] == '#') continue;
    size_t space = line.find(' ');
    if (space == std::string::npos || !std::getline(file, expected)) return {};
    std::string bytes = absl::HexStringToBytes(line.substr(space + 1));
    packets.push_back({line.substr(0, space), {bytes.begin(), bytes.end()}, expected});
  }
  return packets;
}

std::vector<uint8_t> CutMessage(const std::vector<uint8_t>& bytes, size_t size) {
  std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + static_cast<long>(size));
  uint32_t length = static_cast<uint32_t>(size);
  std::copy_n(reinterpret_cast<const uint8_t*>(&length), sizeof length, cut.begin());
  return cut;
}

}  // namespace ipcrpc::monitor

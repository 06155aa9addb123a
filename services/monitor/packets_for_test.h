#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <linux/netlink.h>

// Packets captured from a kernel (6.18, x86-64), for tests: testdata/rtnetlink.txt.

namespace ipcrpc::monitor {

struct CapturedPacket {
  std::string name;
  std::vector<uint8_t> bytes;
  // What the parser makes of it, as JSON; "ignored" for what is none of ours.
  std::string expected;
};

// Of lines "# comment" and pairs of lines "NAME HEX" and "EXPECTED".
std::vector<CapturedPacket> LoadPackets();

// A message in memory of exactly its size, so that a sanitizer sees one byte too many being read.
class ExactMessage {
 public:
  explicit ExactMessage(const std::vector<uint8_t>& bytes) : copy_(new uint8_t[bytes.size()]) {
    std::copy(bytes.begin(), bytes.end(), copy_.get());
  }
  const nlmsghdr* get() const { return reinterpret_cast<const nlmsghdr*>(copy_.get()); }

 private:
  std::unique_ptr<uint8_t[]> copy_;
};

// The first `size` bytes as a message of its own, with the length that says so. At least a header.
std::vector<uint8_t> CutMessage(const std::vector<uint8_t>& bytes, size_t size);

}  // namespace ipcrpc::monitor

#pragma once

#include <cstdint>
#include <string>

#include "services/monitor/attributes.h"

// Keys of objects: byte strings whose order is the order of lists, and of which a prefix names what one
// dump covers. They begin with the kind (NetObject.Kind) and the address family (0 for links); a route's
// go on with its table. Numbers are big-endian, so that they sort as numbers.

namespace ipcrpc::monitor {

class KeyBuilder {
 public:
  KeyBuilder(int kind, int family) { U8(kind).U8(family); }

  KeyBuilder& U8(uint64_t value) { return Number(value, 1); }
  KeyBuilder& U32(uint64_t value) { return Number(value, 4); }
  // With its length before it, so that no field can run into the next.
  KeyBuilder& Raw(Bytes bytes) {
    U32(bytes.size());
    key_.append(bytes.begin(), bytes.end());
    return *this;
  }
  KeyBuilder& Text(std::string_view text) {
    return Raw({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  std::string str() const { return key_; }

 private:
  KeyBuilder& Number(uint64_t value, int size) {
    for (int shift = 8 * (size - 1); shift >= 0; shift -= 8) key_.push_back(static_cast<char>(value >> shift));
    return *this;
  }

  std::string key_;
};

}  // namespace ipcrpc::monitor

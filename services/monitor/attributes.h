#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <libmnl/libmnl.h>

// Netlink attributes as checked input: every getter looks at the length that is there, none can read
// outside the payload it was made from.

namespace ipcrpc::monitor {

using Bytes = std::span<const uint8_t>;

// The attributes of one message or of one nest, by type. Refers to the payload, which must outlive it
// and be aligned to 4 bytes. Of two attributes of a type the later one counts; types above `type_max`
// are ignored.
class Attributes {
 public:
  Attributes() = default;
  Attributes(Bytes payload, uint16_t type_max);

  // The payload ended in the middle of an attribute; those before it are there.
  bool malformed() const { return malformed_; }

  bool Has(uint16_t type) const { return Find(type) != nullptr; }
  // Absent when the attribute is absent or shorter than the number.
  std::optional<uint8_t> U8(uint16_t type) const { return Number<uint8_t>(type); }
  std::optional<uint16_t> U16(uint16_t type) const { return Number<uint16_t>(type); }
  std::optional<uint32_t> U32(uint16_t type) const { return Number<uint32_t>(type); }
  std::optional<int32_t> S32(uint16_t type) const { return Number<int32_t>(type); }
  // Network byte order.
  std::optional<uint16_t> U16Be(uint16_t type) const;
  std::optional<uint64_t> U64Be(uint16_t type) const;
  // Up to the first NUL; empty when absent.
  std::string_view String(uint16_t type) const;
  // The same for a message: valid UTF-8 whatever the bytes.
  std::string Text(uint16_t type) const;
  Bytes Payload(uint16_t type) const;
  // Copies a struct out; absent when the attribute is shorter than it.
  template <typename T>
  std::optional<T> Struct(uint16_t type) const {
    return Number<T>(type);
  }
  Attributes Nested(uint16_t type, uint16_t type_max) const { return {Payload(type), type_max}; }

 private:
  const nlattr* Find(uint16_t type) const { return type < table_.size() ? table_[type] : nullptr; }

  template <typename T>
  std::optional<T> Number(uint16_t type) const {
    Bytes bytes = Payload(type);
    if (bytes.size() < sizeof(T)) return std::nullopt;
    T value;
    __builtin_memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }

  std::vector<const nlattr*> table_;
  bool malformed_ = false;
};

// What follows the fixed header of `header_size` bytes in a message. Empty when the message is shorter.
Bytes AttributeBytes(const nlmsghdr* message, size_t header_size);

// An IP address as text; empty when the length does not fit the family (AF_INET 4, AF_INET6 16).
std::string IpText(int family, Bytes address);

// A link-layer address of any length: colon-separated hexadecimal bytes.
std::string ColonHex(Bytes address);

// As iproute2 prints a link-layer address: as an IP address for the types of link whose addresses are
// IP addresses, else ColonHex.
std::string LinkLayerText(Bytes address, uint16_t hardware_type);

// Digits without separators: "0a1b".
std::string PlainHex(Bytes bytes);

// "0x1f", and without the prefix "1f".
std::string Hex(uint64_t value);
std::string BareHex(uint64_t value);

// inet, inet6, mpls, …, or "???" as iproute2 says.
std::string FamilyName(int family);

}  // namespace ipcrpc::monitor

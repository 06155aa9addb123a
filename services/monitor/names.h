#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

// The names that iproute2 gives to numbers: routing tables, protocols, scopes, realms, DS fields, link
// groups. Built-in ones, then those of /usr/share/iproute2 and /etc/iproute2 over them.

namespace ipcrpc::monitor {

using IdNames = std::map<uint32_t, std::string>;

// Reads the text of such a file into `names`: "NUMBER NAME" on a line, decimal or 0x…, comments from
// '#'. Lines that are something else are skipped, as one bad line must not take the others' names away.
void ReadIdNames(std::string_view text, IdNames* names);

// Immutable after construction; any thread may ask.
class NameTables {
 public:
  // Built-in names alone.
  NameTables();
  // With the files that are there. `root` stands before every path; tests give one.
  static NameTables Load(const std::string& root = "");

  std::string Table(uint32_t id) const;
  std::string Protocol(uint8_t id) const;
  std::string Scope(uint8_t id) const;
  std::string Realm(uint16_t id) const;
  // Hexadecimal when there is no name.
  std::string DsField(uint8_t id) const;
  std::string Group(uint32_t id) const;
  std::string AddressProtocol(uint8_t id) const;

 private:
  IdNames tables_, protocols_, scopes_, realms_, ds_fields_, groups_, address_protocols_;
};

// ether, loopback, …; "[N]" for types without a name.
std::string HardwareTypeName(uint16_t type);

// unicast, blackhole, …; the number for types without a name.
std::string RouteTypeName(uint8_t type);

}  // namespace ipcrpc::monitor

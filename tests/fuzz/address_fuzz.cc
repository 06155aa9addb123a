// The address parser: any text is parsed or refused with a message; what is parsed prints as an address that
// parses to the same.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "transport/address.h"

namespace {

// Fails the run, saying on which text.
void Require(bool condition, const char* what, std::string_view text) {
  if (condition) return;
  std::fprintf(stderr, "%s: '%.*s'\n", what, static_cast<int>(text.size()), text.data());
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto address = ipcrpc::ParseAddress(text);
  if (!address.ok()) {
    Require(!address.status().message().empty(), "refused without a reason", text);
    return 0;
  }
  const std::string printed = address->ToString();
  const auto again = ipcrpc::ParseAddress(printed);
  Require(again.ok(), "prints as an address that is refused", printed);
  Require(again->scheme == address->scheme && again->kind == address->kind && again->rest == address->rest &&
              again->parameters == address->parameters,
          "prints as another address", printed);
  return 0;
}

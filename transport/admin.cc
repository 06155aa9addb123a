#include "ipcrpc/admin.h"

#include "transport/base/nearest.h"
#include "transport/scheme.h"

namespace ipcrpc::admin {

std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::vector<std::string_view> views(candidates.begin(), candidates.end());
  return ipcrpc::DidYouMean(word, views);
}

std::vector<Transport> Transports() {
  std::vector<Transport> transports;
  for (const Scheme& scheme : Schemes()) {
    const Capabilities& can = scheme.capabilities;
    transports.push_back({.name = std::string(scheme.name),
                          .summary = std::string(scheme.summary),
                          .parameters = {scheme.parameters.begin(), scheme.parameters.end()},
                          .max_frame_bytes = can.max_frame_bytes,
                          .in_place = can.in_place,
                          .passes_fds = can.passes_fds,
                          .credentials = can.credentials,
                          .pollable = can.pollable,
                          .detects_death = can.detects_death,
                          .automatic = scheme.automatic});
  }
  return transports;
}

}  // namespace ipcrpc::admin

#include "ipcrpc/admin.h"

#include <algorithm>
#include <utility>

#include "transport/base/clock.h"
#include "transport/base/nearest.h"
#include "transport/base/spin.h"
#include "transport/base/status_macros.h"
#include "transport/base/strings.h"
#include "transport/names.h"
#include "transport/relay.h"
#include "transport/scheme.h"

namespace ipcrpc::admin {
namespace {

constexpr int64_t kConnectNs = 10'000'000'000;
// A ring that takes what a stream takes from the start: the peer behind the stream does not know how far it has grown.
constexpr char kRingStart[] = "512K";

absl::Status Relay(std::string_view text) {
  ASSIGN_OR_RETURN(Address address, ParseAddress(text));
  if (address.automatic() || address.scheme == "shm") address.parameters.emplace("start", kRingStart);
  ASSIGN_OR_RETURN(const Address standard, ParseAddress("stdio:"));
  ASSIGN_OR_RETURN(const std::unique_ptr<Link> server, Connect(address, MonotonicNs() + kConnectNs));
  ASSIGN_OR_RETURN(const std::unique_ptr<Link> client, Connect(standard, kNoDeadline));
  return ipcrpc::Relay(*client, *server);
}

}  // namespace

std::string RelayStandardIo(std::string_view address) { return std::string(MessageOf(Relay(address))); }

std::vector<Waiter> Waiters() {
  std::vector<Waiter> waiters;
  for (SpinFacts& facts : AllSpinFacts()) {
    waiters.push_back({.who = std::move(facts.who),
                       .budget_ns = facts.budget_ns,
                       .wake_ns = facts.wake_ns,
                       .samples = facts.samples,
                       .found = facts.found,
                       .spent = facts.spent,
                       .not_tried = facts.not_tried});
  }
  return waiters;
}

std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::vector<std::string_view> views(candidates.begin(), candidates.end());
  return ipcrpc::DidYouMean(word, views);
}

std::vector<LeftOver> FindLeftOvers(std::vector<std::string> directories) {
  if (directories.empty()) directories = ClientDirectories();
  std::vector<LeftOver> found;
  for (const std::string& directory : directories) {
    for (ipcrpc::LeftOver& thing : ipcrpc::FindLeftOvers(directory)) {
      found.push_back({.kind = std::string(thing.kind), .name = std::move(thing.name), .pid = thing.pid, .why = std::move(thing.why)});
    }
  }
  return found;
}

std::vector<LeftOver> CleanLeftOvers(std::vector<std::string> directories) {
  if (directories.empty()) directories = ClientDirectories();
  std::vector<LeftOver> cleaned = FindLeftOvers(directories);
  for (const std::string& directory : directories) SweepDirectory(directory);
  const std::vector<LeftOver> kept = FindLeftOvers(directories);
  std::erase_if(cleaned, [&](const LeftOver& thing) {
    return std::any_of(kept.begin(), kept.end(), [&](const LeftOver& k) { return k.kind == thing.kind && k.name == thing.name; });
  });
  return cleaned;
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
                          .many_connections = can.many_connections,
                          .automatic = scheme.automatic});
  }
  return transports;
}

}  // namespace ipcrpc::admin

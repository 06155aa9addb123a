// Calls to a collector that may just be started again.
#pragma once

#include <chrono>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "ipcrpc/client_context.h"
#include "ipcrpc/status.h"
#include "services/monitor/status.h"

namespace ipcrpc::monitor {

// How long a collector may take to come back, and to answer.
inline constexpr std::chrono::seconds kCollectorPatience{2};

// Makes the call, whose handler may run twice, again as long as nobody is there. UNAVAILABLE: nobody has answered.
template <typename Call>  // Status(ClientContext*)
absl::Status CallCollector(const Call& call) {
  const auto deadline = std::chrono::system_clock::now() + kCollectorPatience;
  for (;;) {
    ClientContext context;
    context.set_wait_for_ready(true);
    context.set_deadline(deadline);
    const Status status = call(&context);
    const bool gone = status.error_code() == StatusCode::UNAVAILABLE;
    if (gone && std::chrono::system_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      continue;
    }
    if (gone || status.error_code() == StatusCode::DEADLINE_EXCEEDED) {
      return absl::UnavailableError(absl::StrCat(
          "the collector, which reads this, does not answer; if it has ended, it is being started again: ", status.error_message()));
    }
    return FromStatus(status);
  }
}

}  // namespace ipcrpc::monitor

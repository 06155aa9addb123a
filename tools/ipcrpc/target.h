// Which server, until when: what the commands read out of their arguments alike.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ipcrpc/ipcrpc.h"
#include "tools/ipcrpc/commands.h"
#include "tools/ipcrpc/schema.h"

namespace ipcrpc::cli {

// "pkg.Service/Method", with or without a slash in front.
bool LooksLikeMethod(const std::string& word);
// Has what only addresses have, and neither methods nor symbols: "scheme:", "@", a path.
bool LooksLikeAddress(const std::string& word);

// IPCRPC_ADDRESS, or a usage error that says so.
absl::StatusOr<std::string> DefaultAddress();

// For commands that take no word of their own: ADDR, if there is one, or else the default.
absl::StatusOr<std::string> OnlyAddress(const ServerOptions& options);

// A usage error unless it is a positive duration ("5s", "250ms"); empty: no deadline.
absl::StatusOr<Schema::Deadline> DeadlineOf(const std::string& timeout);

// Messages of any size may come back. Does not connect yet.
std::shared_ptr<Channel> OpenChannel(const std::string& address);

// Connects: one attempt, until the deadline. The error says why not, with every place that was tried.
absl::Status Connect(Channel& channel, Schema::Deadline deadline);

// Reflection answers at once or not at all, so that it has a deadline even where the command has none.
Schema::Deadline ReflectionDeadline(Schema::Deadline deadline);

}  // namespace ipcrpc::cli

// How much of this process's address space peers may use up with memory that they show.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>

namespace ipcrpc::rpc {

inline constexpr uint32_t kMaxMappings = 4096;                     // of all peers
inline constexpr uint32_t kMaxMappingsOfUser = kMaxMappings / 2;   // so that no user leaves none to the others
inline constexpr uint32_t kMaxMappingsOfConnection = kMaxMappings / 4;

// Room for one more mapping of what a peer of that user shows, as long as somebody has it. Null: there is none. Thread-safe.
std::shared_ptr<void> TakeMapping(uid_t uid);

}  // namespace ipcrpc::rpc

// Threads of the library's own.
#pragma once

namespace ipcrpc {

// True on those that StartThread() made: every signal is blocked there, from first to last.
inline thread_local bool is_own_thread = false;

}  // namespace ipcrpc

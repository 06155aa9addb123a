// An owned file descriptor: public, since descriptors are arguments of calls.
#pragma once

#include "ipcrpc/unique_fd.h"  // IWYU pragma: export

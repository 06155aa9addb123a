// Marks what the shared library offers; everything else is hidden.
#pragma once

#define IPCRPC_EXPORT __attribute__((visibility("default")))

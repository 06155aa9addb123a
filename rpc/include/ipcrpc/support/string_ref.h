// By the name of gRPC's header.
#pragma once

#include "ipcrpc/string_ref.h"

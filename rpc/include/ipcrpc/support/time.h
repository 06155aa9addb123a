// By the name of gRPC's header.
#pragma once

#include "ipcrpc/time_point.h"

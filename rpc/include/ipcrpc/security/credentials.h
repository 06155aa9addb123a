// By the name of gRPC's header.
#pragma once

#include "ipcrpc/channel.h"

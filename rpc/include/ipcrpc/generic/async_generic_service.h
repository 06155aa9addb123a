// gRPC's name for the header.
#pragma once

#include "ipcrpc/generic/callback_generic_service.h"

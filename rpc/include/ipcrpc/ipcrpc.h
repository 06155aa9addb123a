// Everything that programs which call or serve need. Generated code is beside: NAME.ipcrpc.pb.h.
#pragma once

#include "ipcrpc/channel.h"
#include "ipcrpc/client_context.h"
#include "ipcrpc/connectivity_state.h"
#include "ipcrpc/server.h"
#include "ipcrpc/server_context.h"
#include "ipcrpc/status.h"
#include "ipcrpc/support/channel_arguments.h"
#include "ipcrpc/support/error_details.h"
#include "ipcrpc/support/stub_options.h"
#include "ipcrpc/support/sync_stream.h"
#include "ipcrpc/write_options.h"

// Everything that programs which call or serve need. Generated code is beside: NAME.ipcrpc.pb.h.
#pragma once

#include "ipcrpc/channel.h"
#include "ipcrpc/client_context.h"
#include "ipcrpc/connectivity_state.h"
#include "ipcrpc/server.h"
#include "ipcrpc/server_context.h"
#include "ipcrpc/status.h"
#include "ipcrpc/support/byte_buffer.h"
#include "ipcrpc/support/client_callback.h"
#include "ipcrpc/support/error_details.h"
#include "ipcrpc/support/message_allocator.h"
#include "ipcrpc/support/serialization_traits.h"
#include "ipcrpc/support/server_callback.h"
#include "ipcrpc/support/slice.h"
#include "ipcrpc/support/stub_options.h"
#include "ipcrpc/support/sync_stream.h"
#include "ipcrpc/write_options.h"

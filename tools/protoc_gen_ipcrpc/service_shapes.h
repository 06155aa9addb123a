// The server's half of a generated class: Service, whose virtual methods users override, and the layers that give
// methods a callback handler instead, one by one (WithCallbackMethod_X) or all of them (CallbackService).
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/printer.h>

namespace ipcrpc::codegen {

void DeclareService(google::protobuf::io::Printer& out, const google::protobuf::ServiceDescriptor& service);
void DeclareCallbackServices(google::protobuf::io::Printer& out, const google::protobuf::ServiceDescriptor& service);
// The same for coroutines: WithCoroutineMethod_X, CoroutineService. Templates of CoroutineApi, see ipcrpc/internal/coroutine_fwd.h.
void DeclareCoroutineServices(google::protobuf::io::Printer& out, const google::protobuf::ServiceDescriptor& service);
void DefineService(google::protobuf::io::Printer& out, const google::protobuf::ServiceDescriptor& service);

}  // namespace ipcrpc::codegen

// The options of ipcrpc/options.proto that say who may call.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/printer.h>

namespace ipcrpc::codegen {

// In the service's constructor: gives the server the rules of the service and of its methods. Nothing where there are none.
void PrintRules(google::protobuf::io::Printer& out, const google::protobuf::ServiceDescriptor& service);

}  // namespace ipcrpc::codegen

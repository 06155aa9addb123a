// The server's half of a generated class: Service, whose virtual methods users override.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/printer.h>

namespace ipcrpc::codegen {

void DeclareService(google::protobuf::io::Printer& out, const google::protobuf::ServiceDescriptor& service);
void DefineService(google::protobuf::io::Printer& out, const google::protobuf::ServiceDescriptor& service);

}  // namespace ipcrpc::codegen

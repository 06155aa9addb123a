// The client's half of a generated class: StubInterface (which tests mock), Stub, NewStub.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/printer.h>

namespace ipcrpc::codegen {

void DeclareStubInterface(google::protobuf::io::Printer& out,
                          const google::protobuf::ServiceDescriptor& service);
void DeclareStub(google::protobuf::io::Printer& out, const google::protobuf::ServiceDescriptor& service);

// The table of method paths, which stubs and service share.
void DefineMethodNames(google::protobuf::io::Printer& out,
                       const google::protobuf::ServiceDescriptor& service);
void DefineStub(google::protobuf::io::Printer& out, const google::protobuf::ServiceDescriptor& service);

}  // namespace ipcrpc::codegen

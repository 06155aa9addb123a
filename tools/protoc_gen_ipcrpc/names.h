// What things of a .proto are called in C++, and the variables that the shapes are printed with.
#pragma once

#include <google/protobuf/descriptor.h>

#include <map>
#include <string>

namespace ipcrpc::codegen {

// For io::Printer: "$name$" in a shape becomes the value.
using Variables = std::map<std::string, std::string>;

// A name that C++ reserves, or that a generated class has already, gets a '_' at its end.
std::string CppName(const std::string& name);

// proto (its path), base (the path without ".proto"), namespace (may be empty), table (protobuf's variable
// for the file's descriptors).
Variables FileVariables(const google::protobuf::FileDescriptor& file);

// Service, full_name.
Variables ServiceVariables(const google::protobuf::ServiceDescriptor& service);

// The service's, and for one method: Method, path ("/package.Service/Method"), index, Request and Response
// (C++ types with their namespaces), kind (RpcMethod's constant).
Variables MethodVariables(const google::protobuf::MethodDescriptor& method);

enum class Kind { kUnary, kClientStreaming, kServerStreaming, kBidiStreaming };
Kind KindOf(const google::protobuf::MethodDescriptor& method);

}  // namespace ipcrpc::codegen

// From a .proto to its stubs and services: the files as wholes. What stands in a class is in *_shapes.h.
#pragma once

#include <google/protobuf/compiler/code_generator.h>

#include <cstdint>
#include <string>

namespace ipcrpc::codegen {

class Generator final : public google::protobuf::compiler::CodeGenerator {
 public:
  // Writes NAME.ipcrpc.pb.h and .cc; without a service in the .proto they hold no class. `*error` says which
  // option is unknown, or why the file cannot have stubs.
  bool Generate(const google::protobuf::FileDescriptor* file, const std::string& parameter,
                google::protobuf::compiler::GeneratorContext* context, std::string* error) const override;

  uint64_t GetSupportedFeatures() const override { return FEATURE_PROTO3_OPTIONAL; }
};

}  // namespace ipcrpc::codegen

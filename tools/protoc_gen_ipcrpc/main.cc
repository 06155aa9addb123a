// protoc-gen-ipcrpc: protoc --ipcrpc_out=DIR a.proto writes DIR/a.ipcrpc.pb.h and .cc, which stand beside
// protoc's own a.pb.h and .cc.
#include <google/protobuf/compiler/plugin.h>

#include "tools/protoc_gen_ipcrpc/generator.h"

int main(int argc, char** argv) {
  const ipcrpc::codegen::Generator generator;
  return google::protobuf::compiler::PluginMain(argc, argv, &generator);
}

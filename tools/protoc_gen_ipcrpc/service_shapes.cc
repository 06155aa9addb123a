#include "tools/protoc_gen_ipcrpc/service_shapes.h"

#include "tools/protoc_gen_ipcrpc/comments.h"
#include "tools/protoc_gen_ipcrpc/names.h"

namespace ipcrpc::codegen {
namespace {

using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;
using google::protobuf::io::Printer;

void DeclareMethod(Printer& out, const MethodDescriptor& method) {
  const Variables variables = MethodVariables(method);
  PrintLeadingComments(out, method);
  out.Print(variables, "virtual ::ipcrpc::Status $Method$(::ipcrpc::ServerContext* context,\n");
  switch (KindOf(method)) {
    case Kind::kUnary:
      out.Print(variables, "    const $Request$* request, $Response$* response);\n");
      break;
    case Kind::kClientStreaming:
      out.Print(variables, "    ::ipcrpc::ServerReader<$Request$>* reader, $Response$* response);\n");
      break;
    case Kind::kServerStreaming:
      out.Print(variables, "    const $Request$* request, ::ipcrpc::ServerWriter<$Response$>* writer);\n");
      break;
    case Kind::kBidiStreaming:
      out.Print(variables, "    ::ipcrpc::ServerReaderWriter<$Response$, $Request$>* stream);\n");
      break;
  }
  PrintTrailingComments(out, method);
}

// What a method does that nobody has overridden.
void DefineMethod(Printer& out, const MethodDescriptor& method) {
  const Variables variables = MethodVariables(method);
  out.Print(variables,
            "\n::ipcrpc::Status $Service$::Service::$Method$(::ipcrpc::ServerContext* /*context*/,\n");
  switch (KindOf(method)) {
    case Kind::kUnary:
      out.Print(variables, "    const $Request$* /*request*/, $Response$* /*response*/) {\n");
      break;
    case Kind::kClientStreaming:
      out.Print(variables,
                "    ::ipcrpc::ServerReader<$Request$>* /*reader*/, $Response$* /*response*/) {\n");
      break;
    case Kind::kServerStreaming:
      out.Print(variables,
                "    const $Request$* /*request*/, ::ipcrpc::ServerWriter<$Response$>* /*writer*/) {\n");
      break;
    case Kind::kBidiStreaming:
      out.Print(variables, "    ::ipcrpc::ServerReaderWriter<$Response$, $Request$>* /*stream*/) {\n");
      break;
  }
  out.Print(variables,
            "  return ::ipcrpc::Status(::ipcrpc::StatusCode::UNIMPLEMENTED, \"$path$ is not implemented\");\n"
            "}\n");
}

const char* HandlerOf(Kind kind) {
  switch (kind) {
    case Kind::kUnary:
      return "RpcMethodHandler";
    case Kind::kClientStreaming:
      return "ClientStreamingHandler";
    case Kind::kServerStreaming:
      return "ServerStreamingHandler";
    case Kind::kBidiStreaming:
      return "BidiStreamingHandler";
  }
  return "";
}

void RegisterMethod(Printer& out, const MethodDescriptor& method) {
  Variables variables = MethodVariables(method);
  variables["Handler"] = HandlerOf(KindOf(method));
  out.Print(variables,
            "  ::ipcrpc::Service::AddMethod(::std::make_unique<::ipcrpc::internal::RpcServiceMethod>(\n"
            "      $Service$_method_names[$index$], ::ipcrpc::internal::RpcMethod::$kind$,\n"
            "      ::std::make_unique<::ipcrpc::internal::$Handler$<\n"
            "          $Service$::Service, $Request$, $Response$>>(\n"
            "          &$Service$::Service::$Method$, this)));\n");
}

}  // namespace

void DeclareService(Printer& out, const ServiceDescriptor& service) {
  out.Print(
      "class Service : public ::ipcrpc::Service {\n"
      " public:\n"
      "  Service();\n"
      "  ~Service() override;\n");
  out.Indent();
  for (int i = 0; i < service.method_count(); ++i) {
    out.Print("\n");
    DeclareMethod(out, *service.method(i));
  }
  out.Outdent();
  out.Print("};\n");
}

void DefineService(Printer& out, const ServiceDescriptor& service) {
  const Variables variables = ServiceVariables(service);
  out.Print(variables, "\n$Service$::Service::Service() {\n");
  for (int i = 0; i < service.method_count(); ++i) RegisterMethod(out, *service.method(i));
  out.Print(variables,
            "}\n"
            "\n"
            "$Service$::Service::~Service() = default;\n");
  for (int i = 0; i < service.method_count(); ++i) DefineMethod(out, *service.method(i));
}

}  // namespace ipcrpc::codegen

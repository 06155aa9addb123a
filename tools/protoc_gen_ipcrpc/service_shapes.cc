#include "tools/protoc_gen_ipcrpc/service_shapes.h"

#include <string>

#include "tools/protoc_gen_ipcrpc/allow_option.h"
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

// The parameters of a method whose text uses none, after the context.
const char* UnnamedParams(Kind kind) {
  switch (kind) {
    case Kind::kUnary:
      return "const $Request$* /*request*/, $Response$* /*response*/";
    case Kind::kClientStreaming:
      return "::ipcrpc::ServerReader<$Request$>* /*reader*/, $Response$* /*response*/";
    case Kind::kServerStreaming:
      return "const $Request$* /*request*/, ::ipcrpc::ServerWriter<$Response$>* /*writer*/";
    case Kind::kBidiStreaming:
      break;
  }
  return "::ipcrpc::ServerReaderWriter<$Response$, $Request$>* /*stream*/";
}

// What a method does that nobody has overridden.
void DefineMethod(Printer& out, const MethodDescriptor& method) {
  const std::string text = "\n"
                           "::ipcrpc::Status $Service$::Service::$Method$(::ipcrpc::ServerContext* /*context*/,\n"
                           "    " + std::string(UnnamedParams(KindOf(method))) + ") {\n"
                           "  return ::ipcrpc::Status(::ipcrpc::StatusCode::UNIMPLEMENTED, \"$path$ is not implemented\");\n"
                           "}\n";
  out.Print(MethodVariables(method), text.c_str());
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

// How a method's callback handler looks. Each text may use the method's variables.
struct CallbackShape {
  const char* handler;  // class template that runs it
  const char* reactor;  // what it returns
  const char* params;   // its parameters after the context
};

CallbackShape CallbackShapeOf(Kind kind) {
  switch (kind) {
    case Kind::kUnary:
      return {"CallbackUnaryHandler", "ServerUnaryReactor", ", const $Request$* /*request*/, $Response$* /*response*/"};
    case Kind::kClientStreaming:
      return {"CallbackClientStreamingHandler", "ServerReadReactor<$Request$>", ", $Response$* /*response*/"};
    case Kind::kServerStreaming:
      return {"CallbackServerStreamingHandler", "ServerWriteReactor<$Response$>", ", const $Request$* /*request*/"};
    case Kind::kBidiStreaming:
      break;
  }
  return {"CallbackBidiHandler", "ServerBidiReactor<$Request$, $Response$>", ""};
}

// A layer on top of a service class, in which one method has a callback handler; `raw`: of bytes instead of messages.
void DeclareCallbackMethod(Printer& out, const MethodDescriptor& method, bool raw) {
  const Variables typed = MethodVariables(method);
  Variables variables = typed;
  if (raw) variables["Request"] = variables["Response"] = "::ipcrpc::ByteBuffer";
  variables["With"] = raw ? "WithRawCallbackMethod" : "WithCallbackMethod";
  const CallbackShape shape = CallbackShapeOf(KindOf(method));
  const auto print = [&](const std::string& text) { out.Print(variables, text.c_str()); };
  print("template <class BaseClass>\n"
        "class $With$_$Method$ : public BaseClass {\n"
        " public:\n"
        "  $With$_$Method$() {\n"
        "    ::ipcrpc::Service::MarkMethodCallback($index$,\n"
        "        ::std::make_unique<::ipcrpc::internal::");
  print(std::string(shape.handler) + "<$Request$, $Response$>>(\n"
        "            [this](auto*... args) { return this->$Method$(args...); }));\n"
        "  }\n");
  if (KindOf(method) == Kind::kUnary && !raw) {
    print("  void SetMessageAllocatorFor_$Method$(::ipcrpc::MessageAllocator<$Request$, $Response$>* allocator) {\n"
          "    static_cast<::ipcrpc::internal::CallbackUnaryHandler<$Request$, $Response$>*>(\n"
          "        ::ipcrpc::Service::GetHandler($index$))->SetMessageAllocator(allocator);\n"
          "  }\n");
  }
  // Never called: the handler above has taken its place.
  const std::string sync = "  ::ipcrpc::Status $Method$(::ipcrpc::ServerContext* /*context*/,\n"
                           "      " + std::string(UnnamedParams(KindOf(method))) + ") override {\n";
  out.Print(typed, sync.c_str());
  print("    return ::ipcrpc::Status(::ipcrpc::StatusCode::UNIMPLEMENTED, \"$path$ has a callback handler\");\n"
        "  }\n"
        "  virtual ::ipcrpc::" + std::string(shape.reactor) + "* $Method$(\n"
        "      ::ipcrpc::CallbackServerContext* /*context*/" + shape.params + ") { return nullptr; }\n"
        "};\n");
}

// How a method's coroutine handler looks.
struct CoroutineShape {
  const char* handler;  // what runs it, in CoroutineApi
  const char* params;   // its parameters after the context
};

CoroutineShape CoroutineShapeOf(Kind kind) {
  switch (kind) {
    case Kind::kUnary:
      return {"UnaryHandler", ", const $Request$* /*request*/, $Response$* /*response*/"};
    case Kind::kClientStreaming:
      return {"ClientStreamingHandler", ", typename CoroutineApiT::template ServerReader<$Request$>* /*reader*/, $Response$* /*response*/"};
    case Kind::kServerStreaming:
      return {"ServerStreamingHandler", ", const $Request$* /*request*/, typename CoroutineApiT::template ServerWriter<$Response$>* /*writer*/"};
    case Kind::kBidiStreaming:
      break;
  }
  return {"BidiHandler", ", typename CoroutineApiT::template ServerReaderWriter<$Response$, $Request$>* /*stream*/"};
}

// A layer in which one method has a coroutine for a handler.
void DeclareCoroutineMethod(Printer& out, const MethodDescriptor& method) {
  const CoroutineShape shape = CoroutineShapeOf(KindOf(method));
  const std::string text =
      "template <class BaseClass, class CoroutineApiT = ::ipcrpc::internal::CoroutineApi>\n"
      "class WithCoroutineMethod_$Method$ : public BaseClass {\n"
      " public:\n"
      "  WithCoroutineMethod_$Method$() {\n"
      "    ::ipcrpc::Service::MarkMethodCallback($index$,\n"
      "        ::std::make_unique<typename CoroutineApiT::template " + std::string(shape.handler) + "<$Request$, $Response$>>(\n"
      "            [this](auto*... args) { return this->$Method$(args...); }));\n"
      "  }\n"
      "  ::ipcrpc::Status $Method$(::ipcrpc::ServerContext* /*context*/,\n"
      "      " + UnnamedParams(KindOf(method)) + ") override {\n"
      "    return ::ipcrpc::Status(::ipcrpc::StatusCode::UNIMPLEMENTED, \"$path$ has a coroutine handler\");\n"
      "  }\n"
      "  virtual typename CoroutineApiT::TaskOfStatus $Method$(\n"
      "      ::ipcrpc::CallbackServerContext* /*context*/" + shape.params + ") { return {}; }\n"
      "};\n";
  out.Print(MethodVariables(method), text.c_str());
}

}  // namespace

void DeclareCoroutineServices(Printer& out, const ServiceDescriptor& service) {
  std::string all = "Service";
  for (int i = 0; i < service.method_count(); ++i) {
    out.Print("\n");
    DeclareCoroutineMethod(out, *service.method(i));
    all = "WithCoroutineMethod_" + CppName(service.method(i)->name()) + "<" + all + ">";
  }
  out.Print("\nusing CoroutineService = $all$;\n", "all", all);
}

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

void DeclareCallbackServices(Printer& out, const ServiceDescriptor& service) {
  std::string all = "Service";
  for (int i = 0; i < service.method_count(); ++i) {
    out.Print("\n");
    DeclareCallbackMethod(out, *service.method(i), /*raw=*/false);
    all = "WithCallbackMethod_" + CppName(service.method(i)->name()) + "<" + all + ">";
  }
  out.Print(
      "\n"
      "using CallbackService = $all$;\n"
      "using ExperimentalCallbackService = CallbackService;\n",
      "all", all);
  for (int i = 0; i < service.method_count(); ++i) {
    out.Print("\n");
    DeclareCallbackMethod(out, *service.method(i), /*raw=*/true);
  }
}

void DefineService(Printer& out, const ServiceDescriptor& service) {
  const Variables variables = ServiceVariables(service);
  out.Print(variables, "\n$Service$::Service::Service() {\n");
  for (int i = 0; i < service.method_count(); ++i) RegisterMethod(out, *service.method(i));
  PrintRules(out, service);
  out.Print(variables,
            "}\n"
            "\n"
            "$Service$::Service::~Service() = default;\n");
  for (int i = 0; i < service.method_count(); ++i) DefineMethod(out, *service.method(i));
}

}  // namespace ipcrpc::codegen

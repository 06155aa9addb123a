#include "tools/protoc_gen_ipcrpc/stub_shapes.h"

#include <string>
#include <tuple>
#include <utility>

#include "tools/protoc_gen_ipcrpc/comments.h"
#include "tools/protoc_gen_ipcrpc/names.h"

namespace ipcrpc::codegen {
namespace {

using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;
using google::protobuf::io::Printer;

// How a streaming method looks to a client. Each text may use the method's variables.
struct StreamShape {
  const char* stream;   // class template of what the stub returns; with "Interface" its mockable base
  const char* types;    // its arguments
  const char* params;   // parameters of the stub's method
  const char* args;     // the same, passed on
  const char* factory;  // what makes it
  const char* async_params;  // parameters of the callback form, between the context and the reactor
  const char* async_args;    // the same, passed on
  const char* reactor;       // class template of the callback form's reactor
};

StreamShape ShapeOf(Kind kind) {
  switch (kind) {
    case Kind::kClientStreaming:
      return {"ClientWriter", "$Request$", "::ipcrpc::ClientContext* context, $Response$* response",
              "context, response", "::ipcrpc::internal::ClientWriterFactory<$Request$>",
              " $Response$* response,", " response,", "ClientWriteReactor"};
    case Kind::kServerStreaming:
      return {"ClientReader", "$Response$", "::ipcrpc::ClientContext* context, const $Request$& request",
              "context, request", "::ipcrpc::internal::ClientReaderFactory<$Response$>",
              " const $Request$* request,", " request,", "ClientReadReactor"};
    case Kind::kUnary:  // has no stream
    case Kind::kBidiStreaming:
      break;
  }
  return {"ClientReaderWriter", "$Request$, $Response$", "::ipcrpc::ClientContext* context", "context",
          "::ipcrpc::internal::ClientReaderWriterFactory<$Request$, $Response$>", "", "", "ClientBidiReactor"};
}

// `text` with the parts of the stream's shape filled in: "@stream@", "@types@", "@params@", "@args@",
// "@factory@", "@async_params@", "@async_args@", "@reactor@".
void PrintStreamShape(Printer& out, const MethodDescriptor& method, const std::string& text) {
  const StreamShape shape = ShapeOf(KindOf(method));
  const Variables parts = {{"stream", shape.stream},
                           {"types", shape.types},
                           {"params", shape.params},
                           {"args", shape.args},
                           {"factory", shape.factory},
                           {"async_params", shape.async_params},
                           {"async_args", shape.async_args},
                           {"reactor", shape.reactor}};
  std::string filled;
  for (size_t at = 0; at < text.size();) {
    const size_t open = text.find('@', at);
    filled.append(text, at, open - at);
    if (open == std::string::npos) break;
    const size_t close = text.find('@', open + 1);
    filled += parts.at(text.substr(open + 1, close - open - 1));
    at = close + 1;
  }
  out.Print(MethodVariables(method), filled.c_str());
}

void DeclareInterfaceMethod(Printer& out, const MethodDescriptor& method) {
  PrintLeadingComments(out, method);
  if (KindOf(method) == Kind::kUnary) {
    out.Print(
        MethodVariables(method),
        "virtual ::ipcrpc::Status $Method$(::ipcrpc::ClientContext* context, const $Request$& request,\n"
        "    $Response$* response) = 0;\n");
  } else {
    PrintStreamShape(out, method,
                     "::std::unique_ptr<::ipcrpc::@stream@Interface<@types@>> $Method$(\n"
                     "    @params@) {\n"
                     "  return ::std::unique_ptr<::ipcrpc::@stream@Interface<@types@>>(\n"
                     "      $Method$Raw(@args@));\n"
                     "}\n");
  }
  PrintTrailingComments(out, method);
}

void DeclareInterfaceRaw(Printer& out, const MethodDescriptor& method) {
  if (KindOf(method) == Kind::kUnary) return;
  PrintStreamShape(out, method,
                   "virtual ::ipcrpc::@stream@Interface<@types@>* $Method$Raw(\n"
                   "    @params@) = 0;\n");
}

void DeclareStubMethod(Printer& out, const MethodDescriptor& method) {
  if (KindOf(method) == Kind::kUnary) {
    out.Print(MethodVariables(method),
              "::ipcrpc::Status $Method$(::ipcrpc::ClientContext* context, const $Request$& request,\n"
              "    $Response$* response) override;\n");
  } else {
    PrintStreamShape(out, method,
                     "::std::unique_ptr<::ipcrpc::@stream@<@types@>> $Method$(\n"
                     "    @params@) {\n"
                     "  return ::std::unique_ptr<::ipcrpc::@stream@<@types@>>(\n"
                     "      $Method$Raw(@args@));\n"
                     "}\n");
  }
}

void DeclareStubRaw(Printer& out, const MethodDescriptor& method) {
  if (KindOf(method) == Kind::kUnary) return;
  PrintStreamShape(out, method,
                   "::ipcrpc::@stream@<@types@>* $Method$Raw(\n"
                   "    @params@) override;\n");
}

void DefineStubMethod(Printer& out, const MethodDescriptor& method) {
  if (KindOf(method) == Kind::kUnary) {
    out.Print(MethodVariables(method),
              "\n"
              "::ipcrpc::Status $Service$::Stub::$Method$(::ipcrpc::ClientContext* context,\n"
              "    const $Request$& request, $Response$* response) {\n"
              "  return ::ipcrpc::internal::BlockingUnaryCall(channel_.get(), rpcmethod_$Method$_, context, "
              "request,\n"
              "                                               response);\n"
              "}\n");
  } else {
    PrintStreamShape(out, method,
                     "\n"
                     "::ipcrpc::@stream@<@types@>* $Service$::Stub::$Method$Raw(\n"
                     "    @params@) {\n"
                     "  return @factory@::Create(\n"
                     "      channel_.get(), rpcmethod_$Method$_, @args@);\n"
                     "}\n");
  }
}

// The callback form: of the interface (pure) or of the stub (override).
void DeclareAsyncMethod(Printer& out, const MethodDescriptor& method, const std::string& before, const std::string& after) {
  if (KindOf(method) == Kind::kUnary) {
    const Variables variables = MethodVariables(method);
    for (const char* last : {"::std::function<void(::ipcrpc::Status)> on_done", "::ipcrpc::ClientUnaryReactor* reactor"}) {
      const std::string text = before +
                               "void $Method$(::ipcrpc::ClientContext* context, const $Request$* request,\n"
                               "    $Response$* response, " + last + ")" + after + ";\n";
      out.Print(variables, text.c_str());
    }
  } else {
    PrintStreamShape(out, method,
                     before + "void $Method$(::ipcrpc::ClientContext* context,@async_params@\n"
                     "    ::ipcrpc::@reactor@<@types@>* reactor)" + after + ";\n");
  }
}

void DefineAsyncMethod(Printer& out, const MethodDescriptor& method) {
  if (KindOf(method) == Kind::kUnary) {
    Variables variables = MethodVariables(method);
    for (const auto& [type, name] : {std::pair{"::std::function<void(::ipcrpc::Status)>", "on_done"},
                                     std::pair{"::ipcrpc::ClientUnaryReactor*", "reactor"}}) {
      variables["last"] = type;
      variables["name"] = name;
      variables["passed"] = variables["name"] == "on_done" ? "::std::move(on_done)" : "reactor";
      out.Print(variables,
                "\n"
                "void $Service$::Stub::async::$Method$(::ipcrpc::ClientContext* context, const $Request$* request,\n"
                "    $Response$* response, $last$ $name$) {\n"
                "  ::ipcrpc::internal::CallbackUnaryCall(stub_->channel_.get(), stub_->rpcmethod_$Method$_, context, request,\n"
                "                                        response, $passed$);\n"
                "}\n");
    }
  } else {
    PrintStreamShape(out, method,
                     "\n"
                     "void $Service$::Stub::async::$Method$(::ipcrpc::ClientContext* context,@async_params@\n"
                     "    ::ipcrpc::@reactor@<@types@>* reactor) {\n"
                     "  ::ipcrpc::internal::CallbackStreamingCall(stub_->channel_.get(), stub_->rpcmethod_$Method$_, context,@async_args@ "
                     "reactor);\n"
                     "}\n");
  }
}

// The coroutine form, where CoroutineApi is a template argument: see ipcrpc/internal/coroutine_fwd.h.
void DeclareCoroutineMethod(Printer& out, const MethodDescriptor& method) {
  const auto [api, params, args] = [&]() -> std::tuple<const char*, const char*, const char*> {
    switch (KindOf(method)) {
      case Kind::kUnary:
        return {"Unary", ", const $Request$& request,\n    $Response$* response", ", request, response"};
      case Kind::kClientStreaming:
        return {"ClientStreaming", ", $Response$* response", ", response"};
      case Kind::kServerStreaming:
        return {"ServerStreaming", ", const $Request$& request", ", request"};
      case Kind::kBidiStreaming:
        break;
    }
    return {"Bidi", "", ""};
  }();
  const std::string text = "auto $Method$(::ipcrpc::ClientContext* context" + std::string(params) + ") {\n"
                           "  return CoroutineApiT::template " + api + "<$Request$, $Response$>(\n"
                           "      stub_->channel_.get(), stub_->rpcmethod_$Method$_, context" + args + ");\n"
                           "}\n";
  out.Print(MethodVariables(method), text.c_str());
}

void DeclareCoroutineStub(Printer& out, const ServiceDescriptor& service) {
  out.Print(
      "\n"
      "// The coroutine form, for who includes <ipcrpc/coroutine.h>: calls and streams to be awaited.\n"
      "template <class CoroutineApiT>\n"
      "class co_methods final {\n"
      " public:\n"
      "  explicit co_methods(Stub* stub) : stub_(stub) {}\n"
      "  co_methods* operator->() { return this; }\n");
  out.Indent();
  for (int i = 0; i < service.method_count(); ++i) DeclareCoroutineMethod(out, *service.method(i));
  out.Outdent();
  out.Print(
      "\n"
      " private:\n"
      "  [[maybe_unused]] Stub* const stub_;\n"
      "};\n"
      "auto co() { return co_methods<::ipcrpc::internal::CoroutineApi>(this); }\n");
}

bool HasStreams(const ServiceDescriptor& service) {
  for (int i = 0; i < service.method_count(); ++i) {
    if (KindOf(*service.method(i)) != Kind::kUnary) return true;
  }
  return false;
}

}  // namespace

void DeclareStubInterface(Printer& out, const ServiceDescriptor& service) {
  out.Print(
      "class StubInterface {\n"
      " public:\n"
      "  virtual ~StubInterface() = default;\n");
  out.Indent();
  for (int i = 0; i < service.method_count(); ++i) {
    out.Print("\n");
    DeclareInterfaceMethod(out, *service.method(i));
  }
  out.Print(
      "\n"
      "// The callback form: nobody waits, reactors and functions are told.\n"
      "class async_interface {\n"
      " public:\n"
      "  virtual ~async_interface() = default;\n");
  out.Indent();
  for (int i = 0; i < service.method_count(); ++i) DeclareAsyncMethod(out, *service.method(i), "virtual ", " = 0");
  out.Outdent();
  out.Print(
      "};\n"
      "using experimental_async_interface = async_interface;\n"
      "// Null where there is none, in a mock that has not made one.\n"
      "virtual class async_interface* async() { return nullptr; }\n"
      "class async_interface* experimental_async() { return async(); }\n");
  out.Outdent();
  if (HasStreams(service)) out.Print("\n private:\n");
  out.Indent();
  for (int i = 0; i < service.method_count(); ++i) DeclareInterfaceRaw(out, *service.method(i));
  out.Outdent();
  out.Print("};\n");
}

void DeclareStub(Printer& out, const ServiceDescriptor& service) {
  out.Print(
      "class Stub final : public StubInterface {\n"
      " public:\n"
      "  explicit Stub(const ::std::shared_ptr<::ipcrpc::ChannelInterface>& channel,\n"
      "                const ::ipcrpc::StubOptions& options = ::ipcrpc::StubOptions());\n");
  if (service.method_count() > 0) out.Print("\n");
  out.Indent();
  for (int i = 0; i < service.method_count(); ++i) DeclareStubMethod(out, *service.method(i));
  out.Print(
      "\n"
      "class async final : public StubInterface::async_interface {\n"
      " public:\n"
      "  explicit async(Stub* stub) : stub_(stub) {}\n");
  out.Indent();
  for (int i = 0; i < service.method_count(); ++i) DeclareAsyncMethod(out, *service.method(i), "", " override");
  out.Outdent();
  out.Print(
      "\n"
      " private:\n"
      "  [[maybe_unused]] Stub* const stub_;\n"
      "};\n"
      "class async* async() override { return &async_stub_; }\n");
  DeclareCoroutineStub(out, service);
  out.Outdent();
  out.Print("\n private:\n");
  out.Indent();
  for (int i = 0; i < service.method_count(); ++i) DeclareStubRaw(out, *service.method(i));
  if (HasStreams(service)) out.Print("\n");
  out.Print(
      "const ::std::shared_ptr<::ipcrpc::ChannelInterface> channel_;\n"
      "class async async_stub_{this};\n");
  for (int i = 0; i < service.method_count(); ++i) {
    out.Print(MethodVariables(*service.method(i)),
              "const ::ipcrpc::internal::RpcMethod rpcmethod_$Method$_;\n");
  }
  out.Outdent();
  out.Print(
      "};\n"
      "static ::std::unique_ptr<Stub> NewStub(const ::std::shared_ptr<::ipcrpc::ChannelInterface>& channel,\n"
      "                                       const ::ipcrpc::StubOptions& options = "
      "::ipcrpc::StubOptions());\n");
}

void DefineMethodNames(Printer& out, const ServiceDescriptor& service) {
  if (service.method_count() == 0) return;
  out.Print(ServiceVariables(service), "\nstatic const char* const $Service$_method_names[] = {\n");
  for (int i = 0; i < service.method_count(); ++i) {
    out.Print(MethodVariables(*service.method(i)), "    \"$path$\",\n");
  }
  out.Print("};\n");
}

void DefineStub(Printer& out, const ServiceDescriptor& service) {
  out.Print(ServiceVariables(service),
            "\n"
            "::std::unique_ptr<$Service$::Stub> $Service$::NewStub(\n"
            "    const ::std::shared_ptr<::ipcrpc::ChannelInterface>& channel, const ::ipcrpc::StubOptions& "
            "options) {\n"
            "  return ::std::make_unique<$Service$::Stub>(channel, options);\n"
            "}\n"
            "\n"
            "$Service$::Stub::Stub(const ::std::shared_ptr<::ipcrpc::ChannelInterface>& channel,\n"
            "    const ::ipcrpc::StubOptions& /*options*/)\n"
            "    : channel_(channel)");
  for (int i = 0; i < service.method_count(); ++i) {
    out.Print(
        MethodVariables(*service.method(i)),
        ",\n"
        "      rpcmethod_$Method$_($Service$_method_names[$index$], ::ipcrpc::internal::RpcMethod::$kind$)");
  }
  out.Print(" {}\n");
  for (int i = 0; i < service.method_count(); ++i) {
    DefineStubMethod(out, *service.method(i));
    DefineAsyncMethod(out, *service.method(i));
  }
}

}  // namespace ipcrpc::codegen

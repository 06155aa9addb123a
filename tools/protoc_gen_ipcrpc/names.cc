#include "tools/protoc_gen_ipcrpc/names.h"

#include <google/protobuf/compiler/cpp/names.h>

#include <cstdio>
#include <set>
#include <string_view>

namespace ipcrpc::codegen {
namespace {

bool IsTaken(const std::string& name) {
  static const std::set<std::string_view> kTaken = {
      // keywords of C++20
      "alignas", "alignof", "and", "and_eq", "asm", "auto", "bitand", "bitor", "bool", "break", "case",
      "catch", "char", "char8_t", "char16_t", "char32_t", "class", "compl", "concept", "const", "consteval",
      "constexpr", "constinit", "const_cast", "continue", "co_await", "co_return", "co_yield", "decltype",
      "default", "delete", "do", "double", "dynamic_cast", "else", "enum", "explicit", "export", "extern",
      "false", "float", "for", "friend", "goto", "if", "inline", "int", "long", "mutable", "namespace", "new",
      "noexcept", "not", "not_eq", "nullptr", "operator", "or", "or_eq", "private", "protected", "public",
      "register", "reinterpret_cast", "requires", "return", "short", "signed", "sizeof", "static",
      "static_assert", "static_cast", "struct", "switch", "template", "this", "thread_local", "throw", "true",
      "try", "typedef", "typeid", "typename", "union", "unsigned", "using", "virtual", "void", "volatile",
      "wchar_t", "while", "xor", "xor_eq",
      // macros of the standard library
      "EOF", "NULL", "assert", "errno", "stderr", "stdin", "stdout",
      // names in generated classes
      "NewStub", "Service", "Stub", "StubInterface", "async", "async_interface", "co", "co_methods",
      "experimental_async", "experimental_async_interface", "service_full_name"};
  return kTaken.count(name) != 0;
}

std::string ReplaceAll(std::string_view text, char what, std::string_view with) {
  std::string result;
  for (const char c : text) {
    if (c == what) {
      result += with;
    } else {
      result += c;
    }
  }
  return result;
}

// As protobuf spells a path inside its own identifiers: what isn't a letter or a digit becomes '_' and its
// code.
std::string PathIdentifier(const std::string& path) {
  std::string result;
  for (const char c : path) {
    const bool plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (plain) {
      result += c;
    } else {
      char code[4];
      std::snprintf(code, sizeof(code), "_%x", static_cast<unsigned char>(c));
      result += code;
    }
  }
  return result;
}

const char* KindConstant(Kind kind) {
  switch (kind) {
    case Kind::kUnary:
      return "NORMAL_RPC";
    case Kind::kClientStreaming:
      return "CLIENT_STREAMING";
    case Kind::kServerStreaming:
      return "SERVER_STREAMING";
    case Kind::kBidiStreaming:
      return "BIDI_STREAMING";
  }
  return "";
}

}  // namespace

std::string CppName(const std::string& name) { return IsTaken(name) ? name + "_" : name; }

Variables FileVariables(const google::protobuf::FileDescriptor& file) {
  return {{"proto", file.name()},
          {"base", google::protobuf::compiler::cpp::StripProto(file.name())},
          {"namespace", ReplaceAll(file.package(), '.', "::")},
          {"table", "descriptor_table_" + PathIdentifier(file.name())}};
}

Variables ServiceVariables(const google::protobuf::ServiceDescriptor& service) {
  return {{"Service", CppName(service.name())}, {"full_name", service.full_name()}};
}

Variables MethodVariables(const google::protobuf::MethodDescriptor& method) {
  Variables variables = ServiceVariables(*method.service());
  variables["Method"] = CppName(method.name());
  variables["path"] = "/" + method.service()->full_name() + "/" + method.name();
  variables["index"] = std::to_string(method.index());
  variables["Request"] = google::protobuf::compiler::cpp::QualifiedClassName(method.input_type());
  variables["Response"] = google::protobuf::compiler::cpp::QualifiedClassName(method.output_type());
  variables["kind"] = KindConstant(KindOf(method));
  return variables;
}

Kind KindOf(const google::protobuf::MethodDescriptor& method) {
  if (method.client_streaming()) {
    return method.server_streaming() ? Kind::kBidiStreaming : Kind::kClientStreaming;
  }
  return method.server_streaming() ? Kind::kServerStreaming : Kind::kUnary;
}

}  // namespace ipcrpc::codegen

#include "tools/protoc_gen_ipcrpc/allow_option.h"

#include <string>

#include "absl/strings/escaping.h"
#include "ipcrpc/options.pb.h"
#include "tools/protoc_gen_ipcrpc/names.h"

namespace ipcrpc::codegen {
namespace {

using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;
using google::protobuf::io::Printer;

std::string Quoted(const std::string& text) { return "\"" + absl::CEscape(text) + "\""; }

// AuthorizationRule's members that make it.
std::string RuleText(const Allow& allow) {
  std::string text = "::ipcrpc::AuthorizationRule()";
  for (const std::string& user : allow.user()) text += ".AllowUser(" + Quoted(user) + ")";
  for (const std::string& group : allow.group()) text += ".AllowGroup(" + Quoted(group) + ")";
  for (const uint32_t uid : allow.uid()) text += ".AllowUid(" + std::to_string(uid) + "u)";
  for (const uint32_t gid : allow.gid()) text += ".AllowGid(" + std::to_string(gid) + "u)";
  if (allow.same_user()) text += ".AllowSameUser()";
  if (allow.root()) text += ".AllowRoot()";
  if (allow.anyone()) text += ".AllowAnyone()";
  return text;
}

void PrintRule(Printer& out, const std::string& name, const Allow& allow) {
  out.Print("  ::ipcrpc::Service::SetRule($name$,\n"
            "      $rule$);\n",
            "name", name, "rule", RuleText(allow));
}

}  // namespace

void PrintRules(Printer& out, const ServiceDescriptor& service) {
  // Else the number is somebody else's option.
  if (service.file()->pool()->FindExtensionByName("ipcrpc.allow") == nullptr) return;
  if (service.options().HasExtension(ipcrpc::service_allow)) {
    PrintRule(out, Quoted("/" + service.full_name() + "/*"), service.options().GetExtension(ipcrpc::service_allow));
  }
  for (int i = 0; i < service.method_count(); ++i) {
    const MethodDescriptor& method = *service.method(i);
    if (!method.options().HasExtension(ipcrpc::allow)) continue;
    const Variables variables = MethodVariables(method);
    PrintRule(out, variables.at("Service") + "_method_names[" + variables.at("index") + "]",
              method.options().GetExtension(ipcrpc::allow));
  }
}

}  // namespace ipcrpc::codegen

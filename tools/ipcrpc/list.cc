// ipcrpc list [ADDR] [SERVICE]: the services of a server, or the methods of one.
#include <google/protobuf/descriptor.h>

#include "tools/ipcrpc/commands.h"
#include "tools/ipcrpc/output.h"
#include "tools/ipcrpc/target.h"

namespace ipcrpc::cli {
namespace {

using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;

std::string LineOf(const MethodDescriptor& method, bool signature) {
  std::string line = method.service()->full_name() + "/" + method.name();
  if (!signature) return line;
  line += std::string("(") + (method.client_streaming() ? "stream " : "") + method.input_type()->full_name() +
          ")";
  line += std::string(" returns (") + (method.server_streaming() ? "stream " : "") +
          method.output_type()->full_name() + ")";
  return line;
}

absl::Status ListMethods(Schema& schema, const std::string& service, bool signatures) {
  const absl::StatusOr<const ServiceDescriptor*> descriptor = schema.FindService(service);
  if (!descriptor.ok()) return descriptor.status();
  for (int i = 0; i < (*descriptor)->method_count(); ++i) {
    const absl::Status printed = PrintLine(LineOf(*(*descriptor)->method(i), signatures));
    if (!printed.ok()) return printed;
  }
  return absl::OkStatus();
}

absl::Status ListServices(Schema& schema, bool signatures) {
  const absl::StatusOr<std::vector<std::string>> names = schema.ServiceNames();
  if (!names.ok()) return names.status();
  for (const std::string& name : *names) {
    const absl::Status printed = signatures ? ListMethods(schema, name, true) : PrintLine(name);
    if (!printed.ok()) return printed;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status List(const ListOptions& options) {
  std::string address, service;
  if (options.words.size() == 2) {
    address = options.words[0];
    service = options.words[1];
  } else {
    const absl::StatusOr<std::string> fallback = DefaultAddress();
    if (options.words.empty()) {
      if (!fallback.ok()) return fallback.status();
      address = *fallback;
    } else if (fallback.ok() && !LooksLikeAddress(options.words[0])) {
      address = *fallback;
      service = options.words[0];
    } else {
      address = options.words[0];
    }
  }
  const absl::StatusOr<Schema::Deadline> deadline = DeadlineOf(options.timeout);
  if (!deadline.ok()) return deadline.status();

  Schema schema(address, OpenChannel(address), ReflectionDeadline(*deadline));
  return service.empty() ? ListServices(schema, options.signatures)
                         : ListMethods(schema, service, options.signatures);
}

}  // namespace ipcrpc::cli

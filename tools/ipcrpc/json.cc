#include "tools/ipcrpc/json.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/util/json_util.h>

#include <regex>
#include <string_view>
#include <vector>

#include "ipcrpc/admin.h"

namespace ipcrpc::cli {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

const FieldDescriptor* FindField(const Descriptor* type, const std::string& name) {
  for (int i = 0; i < type->field_count(); ++i) {
    if (type->field(i)->json_name() == name || type->field(i)->name() == name) return type->field(i);
  }
  return nullptr;
}

// The field that "a.b[3].c" leads to from `type`; null when the way is lost (inside an Any, for one).
const FieldDescriptor* FollowPath(const Descriptor* type, const std::string& path) {
  const FieldDescriptor* field = nullptr;
  size_t at = 0;
  while (at <= path.size()) {
    if (type == nullptr) return nullptr;
    const size_t end = std::min(path.find('.', at), path.size());
    const std::string step = path.substr(at, end - at);
    field = FindField(type, step.substr(0, step.find('[')));
    if (field == nullptr) return nullptr;
    type = field->message_type();
    at = end + 1;
  }
  return field;
}

std::string AtPath(const std::string& path) { return path.empty() ? "" : " (in " + path + ")"; }

std::string ExplainUnknownField(const Descriptor* root, const std::string& path, const std::string& name) {
  const Descriptor* type = root;
  if (!path.empty()) {
    const FieldDescriptor* parent = FollowPath(root, path);
    type = parent == nullptr ? nullptr : parent->message_type();
  }
  if (type == nullptr) return "no field '" + name + "'" + AtPath(path);
  std::vector<std::string> names;
  for (int i = 0; i < type->field_count(); ++i) names.push_back(type->field(i)->json_name());
  return type->full_name() + " has no field '" + name + "'" + AtPath(path) + admin::DidYouMean(name, names);
}

std::string TypeName(const FieldDescriptor* field) {
  if (field->type() == FieldDescriptor::TYPE_MESSAGE) return "message " + field->message_type()->full_name();
  if (field->type() == FieldDescriptor::TYPE_ENUM) return "enum " + field->enum_type()->full_name();
  return field->type_name();
}

std::string ExplainWrongValue(const Descriptor* root, const std::string& path, const std::string& value) {
  const FieldDescriptor* field = FollowPath(root, path);
  if (field == nullptr) return value + " is no value for " + path;
  std::string text = value + " is no value for " + path + " (" + TypeName(field) + ")";
  if (const EnumDescriptor* type = field->enum_type(); type != nullptr && value.size() > 2) {
    std::vector<std::string> names;
    for (int i = 0; i < type->value_count(); ++i) names.push_back(type->value(i)->name());
    text += admin::DidYouMean(value.substr(1, value.size() - 2), names);
  }
  return text;
}

// A syntax error comes as three lines: what, the text from there on, a caret.
std::string ExplainSyntax(const std::string& error) {
  const size_t first_end = error.find('\n');
  if (first_end == std::string::npos) return error;
  std::string what = error.substr(0, first_end);
  if (!what.empty() && what.back() == '.') what.pop_back();
  const size_t rest_end = std::min(error.find('\n', first_end + 1), error.size());
  const std::string rest = error.substr(first_end + 1, rest_end - first_end - 1);
  return what + (rest.empty() ? " at the end" : " at: " + rest);
}

// protobuf's errors are text alone; what is wrong has to be read out of them.
std::string Explain(const Descriptor* root, const std::string& error) {
  static const std::regex kUnknownField(R"((?:\(([^)]*)\) )?(.*): Cannot find field\.)");
  static const std::regex kWrongValue(R"(\(([^)]*)\): invalid value ([^]*) for type \S+)");
  std::smatch match;
  if (std::regex_match(error, match, kUnknownField)) return ExplainUnknownField(root, match[1], match[2]);
  if (std::regex_match(error, match, kWrongValue)) return ExplainWrongValue(root, match[1], match[2]);
  if (error == ": Root element must be a message.") return "a message is a JSON object: {…}";
  if (error.rfind(": ", 0) == 0) return error.substr(2);
  return ExplainSyntax(error);
}

}  // namespace

absl::Status JsonToMessage(const std::string& json, Message* message) {
  const google::protobuf::util::Status status = google::protobuf::util::JsonStringToMessage(json, message);
  if (status.ok()) return absl::OkStatus();
  const std::string error(status.message().data(), status.message().size());
  return absl::InvalidArgumentError("bad JSON: " + Explain(message->GetDescriptor(), error));
}

absl::StatusOr<std::string> MessageToJson(const Message& message, JsonForm form) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = form == JsonForm::kPretty;
  std::string json;
  const google::protobuf::util::Status status =
      google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!status.ok()) {
    return absl::InternalError("cannot show a " + message.GetDescriptor()->full_name() +
                               " as JSON: " + std::string(status.message().data(), status.message().size()));
  }
  while (!json.empty() && json.back() == '\n') json.pop_back();
  return json;
}

}  // namespace ipcrpc::cli

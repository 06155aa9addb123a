// ipcrpc call [ADDR] METHOD: a call of any kind, with JSON in and out.
#include <google/protobuf/dynamic_message.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "absl/strings/escaping.h"
#include "ipcrpc/internal/client_unary_call.h"
#include "ipcrpc/ipcrpc.h"
#include "tools/ipcrpc/commands.h"
#include "tools/ipcrpc/json.h"
#include "tools/ipcrpc/json_input.h"
#include "tools/ipcrpc/output.h"
#include "tools/ipcrpc/target.h"

namespace ipcrpc::cli {
namespace {

using google::protobuf::DynamicMessageFactory;
using google::protobuf::Message;
using google::protobuf::MethodDescriptor;

struct Target {
  std::string address;
  std::string service;
  std::string method;
};

absl::StatusOr<Target> TargetOf(const std::vector<std::string>& words) {
  std::vector<std::string> rest;
  std::string method;
  // From behind, so that a path as the address isn't taken for a method while one follows.
  for (auto word = words.rbegin(); word != words.rend(); ++word) {
    if (method.empty() && LooksLikeMethod(*word)) {
      method = word->front() == '/' ? word->substr(1) : *word;
    } else {
      rest.push_back(*word);
    }
  }
  if (method.empty()) {
    return UsageError(words.empty()
                          ? "call: METHOD is missing; it looks like pkg.Service/Method"
                          : "call: '" + words.back() + "' is no METHOD, which looks like pkg.Service/Method");
  }
  Target target;
  const size_t slash = method.find('/');
  target.service = method.substr(0, slash);
  target.method = method.substr(slash + 1);
  if (!rest.empty()) {
    target.address = rest.front();
    return target;
  }
  const absl::StatusOr<std::string> fallback = DefaultAddress();
  if (!fallback.ok()) return fallback.status();
  target.address = *fallback;
  return target;
}

// "key: value"; values of binary keys in base64.
absl::Status AddHeader(const std::string& header, ClientContext* context) {
  const size_t colon = header.find(':');
  if (colon == 0 || colon == std::string::npos) return UsageError("-H '" + header + "' is not 'key: value'");
  std::string key = header.substr(0, colon);
  for (char& c : key) {
    c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    const bool allowed = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.';
    if (!allowed) return UsageError("-H '" + header + "': a key has only letters, digits, '-', '_' and '.'");
  }
  std::string value = header.substr(std::min(header.size(), header.find_first_not_of(" \t", colon + 1)));
  if (key.size() > 4 && key.compare(key.size() - 4, 4, "-bin") == 0) {
    std::string bytes;
    if (!absl::Base64Unescape(value, &bytes)) {
      return UsageError("-H '" + header + "': the value of a key that ends in -bin is given in base64");
    }
    value = std::move(bytes);
  } else if (std::any_of(value.begin(), value.end(), [](char c) { return c < ' ' || c > '~'; })) {
    return UsageError("-H '" + header +
                      "': only keys that end in -bin have values that are not printable ASCII");
  }
  context->AddMetadata(key, value);
  return absl::OkStatus();
}

// One call in the making: method, messages, what comes in and how it goes out.
class Caller {
 public:
  Caller(std::shared_ptr<Channel> channel, const MethodDescriptor* method, JsonInput* input, JsonForm form)
      : channel_(std::move(channel)),
        method_(method),
        name_("/" + method->service()->full_name() + "/" + method->name()),
        rpc_method_(name_.c_str(), KindOf(*method)),
        input_(input),
        form_(form) {}

  ClientContext* context() { return &context_; }

  absl::Status Run() {
    switch (rpc_method_.method_type()) {
      case internal::RpcMethod::NORMAL_RPC:
        return Unary();
      case internal::RpcMethod::SERVER_STREAMING:
        return ServerStreaming();
      case internal::RpcMethod::CLIENT_STREAMING:
        return ClientStreaming();
      case internal::RpcMethod::BIDI_STREAMING:
        return BidiStreaming();
    }
    return absl::OkStatus();
  }

 private:
  using MessagePtr = std::unique_ptr<Message>;

  static internal::RpcMethod::RpcType KindOf(const MethodDescriptor& method) {
    if (method.client_streaming()) {
      return method.server_streaming() ? internal::RpcMethod::BIDI_STREAMING
                                       : internal::RpcMethod::CLIENT_STREAMING;
    }
    return method.server_streaming() ? internal::RpcMethod::SERVER_STREAMING
                                     : internal::RpcMethod::NORMAL_RPC;
  }

  MessagePtr New(const google::protobuf::Descriptor* type) {
    return MessagePtr(factory_.GetPrototype(type)->New());
  }
  MessagePtr NewRequest() { return New(method_->input_type()); }
  MessagePtr NewResponse() { return New(method_->output_type()); }

  absl::Status Print(const Message& message) {
    const absl::StatusOr<std::string> json = MessageToJson(message, form_);
    return json.ok() ? PrintLine(*json) : json.status();
  }

  static absl::Status EndOf(const Status& status) {
    return status.ok() ? absl::OkStatus() : CallFailed(status);
  }

  // The one request of a method that takes one; without input an empty one.
  absl::StatusOr<MessagePtr> OneRequest() {
    MessagePtr request = NewRequest();
    if (input_ == nullptr) return request;
    absl::StatusOr<std::optional<std::string>> json = input_->Next();
    if (!json.ok()) return json.status();
    if (!json->has_value()) return request;
    if (absl::Status parsed = JsonToMessage(**json, request.get()); !parsed.ok()) return parsed;
    json = input_->Next();
    if (!json.ok()) return json.status();
    if (json->has_value())
      return absl::InvalidArgumentError(name_.substr(1) +
                                        " takes one message; the data goes on: " + json->value());
    return request;
  }

  // Writes all of the input to a stream until that is over, and half-closes. On an error of the input,
  // cancels.
  template <typename Stream>
  absl::Status WriteInput(Stream& stream) {
    const MessagePtr request = NewRequest();
    int number = 1;
    for (; input_ != nullptr; ++number) {
      const absl::StatusOr<std::optional<std::string>> json = input_->Next();
      absl::Status status = json.status();
      if (json.ok()) {
        if (!json->has_value()) break;
        status = JsonToMessage(**json, request.get());
      }
      if (!status.ok()) {
        context_.TryCancel();
        return absl::Status(status.code(),
                            "message " + std::to_string(number) + ": " + std::string(View(status)));
      }
      if (!stream.Write(*request)) return absl::OkStatus();
    }
    stream.WritesDone();
    return absl::OkStatus();
  }

  template <typename Stream>
  absl::Status PrintAll(Stream& stream) {
    const MessagePtr response = NewResponse();
    while (stream.Read(response.get())) {
      if (absl::Status printed = Print(*response); !printed.ok()) {
        context_.TryCancel();
        return printed;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Unary() {
    const absl::StatusOr<MessagePtr> request = OneRequest();
    if (!request.ok()) return request.status();
    const MessagePtr response = NewResponse();
    const Status status =
        internal::BlockingUnaryCall(channel_.get(), rpc_method_, &context_, **request, response.get());
    return status.ok() ? Print(*response) : CallFailed(status);
  }

  absl::Status ServerStreaming() {
    const absl::StatusOr<MessagePtr> request = OneRequest();
    if (!request.ok()) return request.status();
    const std::unique_ptr<ClientReader<Message>> stream(
        internal::ClientReaderFactory<Message>::Create(channel_.get(), rpc_method_, &context_, **request));
    const absl::Status printed = PrintAll(*stream);
    const Status status = stream->Finish();
    return printed.ok() ? EndOf(status) : printed;
  }

  absl::Status ClientStreaming() {
    const MessagePtr response = NewResponse();
    const std::unique_ptr<ClientWriter<Message>> stream(internal::ClientWriterFactory<Message>::Create(
        channel_.get(), rpc_method_, &context_, response.get()));
    const absl::Status written = WriteInput(*stream);
    const Status status = stream->Finish();
    if (!written.ok()) return written;
    return status.ok() ? Print(*response) : CallFailed(status);
  }

  absl::Status BidiStreaming() {
    const std::unique_ptr<ClientReaderWriter<Message, Message>> stream(
        internal::ClientReaderWriterFactory<Message, Message>::Create(channel_.get(), rpc_method_,
                                                                      &context_));
    absl::Status written;
    std::thread writer([&] { written = WriteInput(*stream); });
    const absl::Status printed = PrintAll(*stream);
    if (input_ != nullptr) input_->Stop();
    writer.join();
    const Status status = stream->Finish();
    if (!written.ok()) return written;
    return printed.ok() ? EndOf(status) : printed;
  }

  const std::shared_ptr<Channel> channel_;
  const MethodDescriptor* const method_;
  const std::string name_;
  const internal::RpcMethod rpc_method_;
  JsonInput* const input_;
  const JsonForm form_;
  DynamicMessageFactory factory_;
  ClientContext context_;
};

}  // namespace

absl::Status Call(const CallOptions& options) {
  const absl::StatusOr<Target> target = TargetOf(options.words);
  if (!target.ok()) return target.status();
  const absl::StatusOr<Schema::Deadline> deadline = DeadlineOf(options.timeout);
  if (!deadline.ok()) return deadline.status();
  std::unique_ptr<JsonInput> input;
  if (options.has_data) {
    absl::StatusOr<std::unique_ptr<JsonInput>> opened = JsonInput::Open(options.data);
    if (!opened.ok()) return opened.status();
    input = *std::move(opened);
  }

  const std::shared_ptr<Channel> channel = OpenChannel(target->address);
  Schema schema(target->address, channel, ReflectionDeadline(*deadline));
  const absl::StatusOr<const MethodDescriptor*> method = schema.FindMethod(target->service, target->method);
  if (!method.ok()) return method.status();

  const bool pretty = options.pretty || (!options.compact && !(*method)->server_streaming());
  Caller caller(channel, *method, input.get(), pretty ? JsonForm::kPretty : JsonForm::kOneLine);
  caller.context()->set_deadline(*deadline);
  for (const std::string& header : options.headers) {
    if (absl::Status added = AddHeader(header, caller.context()); !added.ok()) return added;
  }
  return caller.Run();
}

}  // namespace ipcrpc::cli

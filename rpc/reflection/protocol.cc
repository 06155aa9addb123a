#include "rpc/reflection/protocol.h"

#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace ipcrpc::embedded {
extern const std::string_view kReflectionProtos;
}

namespace ipcrpc::reflection {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::DynamicMessageFactory;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

// Only a build that embedded other protos than these names belong to comes here.
[[noreturn]] void DieOfMissing(const std::string& what) {
  std::fprintf(stderr, "ipcrpc: the embedded reflection protocol lacks %s\n", what.c_str());
  std::abort();
}

const DescriptorPool* MakePool() {
  google::protobuf::FileDescriptorSet set;
  if (!set.ParseFromArray(embedded::kReflectionProtos.data(),
                          static_cast<int>(embedded::kReflectionProtos.size()))) {
    DieOfMissing("a valid form");
  }
  auto* pool = new DescriptorPool;
  for (const google::protobuf::FileDescriptorProto& file : set.file()) {
    if (pool->BuildFile(file) == nullptr) DieOfMissing("what " + file.name() + " needs");
  }
  return pool;
}

const FieldDescriptor* FindField(const Message& message, const char* name) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
  if (field == nullptr) DieOfMissing(message.GetDescriptor()->full_name() + "." + name);
  return field;
}

}  // namespace

const DescriptorPool& ProtocolPool() {
  static const DescriptorPool* const pool = MakePool();
  return *pool;
}

std::unique_ptr<Message> NewMessage(const std::string& type) {
  static auto* const factory = new DynamicMessageFactory(&ProtocolPool());
  const Descriptor* descriptor = ProtocolPool().FindMessageTypeByName(type);
  if (descriptor == nullptr) DieOfMissing(type);
  return std::unique_ptr<Message>(factory->GetPrototype(descriptor)->New());
}

const FieldDescriptor* Fields::Find(const char* field) const { return FindField(*message_, field); }

void Fields::Set(const char* field, const std::string& value) {
  message_->GetReflection()->SetString(message_, Find(field), value);
}

void Fields::SetEnum(const char* field, int number) {
  message_->GetReflection()->SetEnumValue(message_, Find(field), number);
}

void Fields::Set(const char* field, int value) {
  message_->GetReflection()->SetInt32(message_, Find(field), value);
}

void Fields::Add(const char* field, const std::string& value) {
  message_->GetReflection()->AddString(message_, Find(field), value);
}

void Fields::Add(const char* field, int value) {
  message_->GetReflection()->AddInt32(message_, Find(field), value);
}

Message* Fields::Sub(const char* field) {
  return message_->GetReflection()->MutableMessage(message_, Find(field));
}

Message* Fields::AddSub(const char* field) {
  return message_->GetReflection()->AddMessage(message_, Find(field));
}

std::string GetString(const Message& message, const char* field) {
  return message.GetReflection()->GetString(message, FindField(message, field));
}

int GetInt32(const Message& message, const char* field) {
  return message.GetReflection()->GetInt32(message, FindField(message, field));
}

const Message& GetSub(const Message& message, const char* field) {
  return message.GetReflection()->GetMessage(message, FindField(message, field));
}

std::string WhichOneof(const Message& message, const char* oneof) {
  const google::protobuf::OneofDescriptor* descriptor = message.GetDescriptor()->FindOneofByName(oneof);
  if (descriptor == nullptr) DieOfMissing(message.GetDescriptor()->full_name() + "." + oneof);
  const FieldDescriptor* field = message.GetReflection()->GetOneofFieldDescriptor(message, descriptor);
  return field == nullptr ? "" : field->name();
}

}  // namespace ipcrpc::reflection

// The schema of the services that a server has of its own, reflection and health, out of embedded bytes: nothing of it enters
// the generated pool, where gRPC's libraries, linked into the same program, would abort on it.
#pragma once

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>

#include <memory>
#include <string>

namespace ipcrpc::reflection {

// A pool with the files of both versions of the reflection protocol, and of health. Made once, never destroyed.
const google::protobuf::DescriptorPool& ProtocolPool();

// An empty message of a type of that pool ("grpc.reflection.v1.ServerReflectionRequest").
std::unique_ptr<google::protobuf::Message> NewMessage(const std::string& type);

// A message's fields by their names, all of which must exist in its type.
class Fields {
 public:
  explicit Fields(google::protobuf::Message* message) : message_(message) {}

  void Set(const char* field, const std::string& value);
  void Set(const char* field, int value);
  void SetEnum(const char* field, int number);
  void Add(const char* field, const std::string& value);
  void Add(const char* field, int value);
  // Fields of message type: the one, made if absent; one more of a repeated field.
  google::protobuf::Message* Sub(const char* field);
  google::protobuf::Message* AddSub(const char* field);

 private:
  const google::protobuf::FieldDescriptor* Find(const char* field) const;

  google::protobuf::Message* const message_;
};

std::string GetString(const google::protobuf::Message& message, const char* field);
int GetInt32(const google::protobuf::Message& message, const char* field);
const google::protobuf::Message& GetSub(const google::protobuf::Message& message, const char* field);
// The name of the field that is set in a oneof; "" when none is.
std::string WhichOneof(const google::protobuf::Message& message, const char* oneof);

}  // namespace ipcrpc::reflection

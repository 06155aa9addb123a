// What a snapshot says of the messages in it.
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "ipcrpc/snapshot.h"

namespace ipcrpc {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorProto;
using google::protobuf::EnumDescriptor;
using google::protobuf::EnumDescriptorProto;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::FileDescriptorSet;

// Definitions by full name, so that the order in which they are met does not matter.
using Definitions = std::map<std::string, std::string>;

void Collect(const EnumDescriptor& type, Definitions& definitions) {
  EnumDescriptorProto proto;
  type.CopyTo(&proto);
  definitions[type.full_name()] = proto.SerializeAsString();
}

void Collect(const Descriptor& type, Definitions& definitions) {
  const auto [at, is_new] = definitions.try_emplace(type.full_name());
  if (!is_new) return;
  DescriptorProto proto;
  type.CopyTo(&proto);
  // Types declared inside count when a field reaches them.
  proto.clear_nested_type();
  proto.clear_enum_type();
  at->second = std::to_string(type.file()->syntax()) + proto.SerializeAsString();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor& field = *type.field(i);
    if (field.message_type() != nullptr) Collect(*field.message_type(), definitions);
    if (field.enum_type() != nullptr) Collect(*field.enum_type(), definitions);
  }
}

// FNV-1a, of each text with its length, so that no two lists of texts run together.
void Hash(std::string_view text, uint64_t& hash) {
  const auto add = [&hash](unsigned char byte) { hash = (hash ^ byte) * 0x100000001b3; };
  for (uint64_t length = text.size(), i = 0; i < 8; ++i, length >>= 8)
    add(static_cast<unsigned char>(length));
  for (const char c : text) add(static_cast<unsigned char>(c));
}

uint64_t FingerprintOf(const Descriptor& type) {
  Definitions definitions;
  Collect(type, definitions);
  uint64_t hash = 0xcbf29ce484222325;
  Hash(type.full_name(), hash);
  for (const auto& [name, definition] : definitions) {
    Hash(name, hash);
    Hash(definition, hash);
  }
  return hash;
}

void AddWithImports(const FileDescriptor& file, std::set<const FileDescriptor*>& seen,
                    FileDescriptorSet& files) {
  if (!seen.insert(&file).second) return;
  for (int i = 0; i < file.dependency_count(); ++i) AddWithImports(*file.dependency(i), seen, files);
  file.CopyTo(files.add_file());
}

}  // namespace

SnapshotSchema SnapshotSchemaOf(const Descriptor& type) {
  FileDescriptorSet files;
  std::set<const FileDescriptor*> seen;
  AddWithImports(*type.file(), seen, files);
  return {.fingerprint = FingerprintOf(type),
          .type_name = type.full_name(),
          .descriptors = files.SerializeAsString()};
}

}  // namespace ipcrpc

#include "rpc/reflection/descriptor_source.h"

#include <google/protobuf/descriptor.pb.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"

namespace ipcrpc::reflection {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

void Append(const FileDescriptor* file, std::set<const FileDescriptor*>& seen,
            DescriptorSource::Files& files) {
  if (!seen.insert(file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file->CopyTo(&proto);
  files.push_back(proto.SerializeAsString());
  for (int i = 0; i < file->dependency_count(); ++i) Append(file->dependency(i), seen, files);
}

DescriptorSource::Files WithImports(const FileDescriptor* file) {
  DescriptorSource::Files files;
  std::set<const FileDescriptor*> seen;
  Append(file, seen, files);
  return files;
}

}  // namespace

absl::StatusOr<DescriptorSource::Files> DescriptorSource::FileByName(const std::string& name) const {
  for (const DescriptorPool* pool : pools_) {
    if (const FileDescriptor* file = pool->FindFileByName(name)) return WithImports(file);
  }
  return absl::NotFoundError(absl::StrCat("no file '", name, "'"));
}

absl::StatusOr<DescriptorSource::Files> DescriptorSource::FileContainingSymbol(
    const std::string& symbol) const {
  for (const DescriptorPool* pool : pools_) {
    if (const FileDescriptor* file = pool->FindFileContainingSymbol(symbol)) return WithImports(file);
  }
  return absl::NotFoundError(absl::StrCat("no symbol '", symbol, "'"));
}

absl::StatusOr<DescriptorSource::Files> DescriptorSource::FileContainingExtension(const std::string& type,
                                                                                  int number) const {
  for (const DescriptorPool* pool : pools_) {
    const Descriptor* descriptor = pool->FindMessageTypeByName(type);
    if (descriptor == nullptr) continue;
    const FieldDescriptor* extension = pool->FindExtensionByNumber(descriptor, number);
    if (extension != nullptr) return WithImports(extension->file());
  }
  return absl::NotFoundError(absl::StrCat("no extension ", number, " of type '", type, "'"));
}

absl::StatusOr<std::vector<int>> DescriptorSource::ExtensionNumbersOfType(const std::string& type) const {
  for (const DescriptorPool* pool : pools_) {
    const Descriptor* descriptor = pool->FindMessageTypeByName(type);
    if (descriptor == nullptr) continue;
    std::vector<const FieldDescriptor*> extensions;
    pool->FindAllExtensions(descriptor, &extensions);
    std::vector<int> numbers;
    for (const FieldDescriptor* extension : extensions) numbers.push_back(extension->number());
    std::sort(numbers.begin(), numbers.end());
    return numbers;
  }
  return absl::NotFoundError(absl::StrCat("no message type '", type, "'"));
}

}  // namespace ipcrpc::reflection

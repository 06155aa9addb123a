// Descriptors by name, symbol or extension, in the form that reflection hands out.
#pragma once

#include <google/protobuf/descriptor.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ipcrpc::reflection {

// Looks through several pools, the first that knows wins. The pools must outlive it. Thread-safe.
class DescriptorSource {
 public:
  explicit DescriptorSource(std::vector<const google::protobuf::DescriptorPool*> pools)
      : pools_(std::move(pools)) {}

  // Serialised FileDescriptorProtos: first the file asked for, then all that it imports. NOT_FOUND: no pool
  // knows such a thing.
  using Files = std::vector<std::string>;
  absl::StatusOr<Files> FileByName(const std::string& name) const;
  // `symbol`: full name of a message, field, service, method, enum, enum value or extension.
  absl::StatusOr<Files> FileContainingSymbol(const std::string& symbol) const;
  absl::StatusOr<Files> FileContainingExtension(const std::string& type, int number) const;

  // In ascending order. NOT_FOUND: no such message type.
  absl::StatusOr<std::vector<int>> ExtensionNumbersOfType(const std::string& type) const;

 private:
  const std::vector<const google::protobuf::DescriptorPool*> pools_;
};

}  // namespace ipcrpc::reflection

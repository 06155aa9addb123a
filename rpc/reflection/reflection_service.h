// The standard server reflection service: a stream of questions, each answered by one message that repeats
// it.
#pragma once

#include <google/protobuf/message.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ipcrpc/server.h"
#include "rpc/reflection/descriptor_source.h"

namespace ipcrpc::reflection {

// Its methods are served over dynamic messages (protocol.h says why). Thread-safe: many streams at once.
class ReflectionService final : public Service {
 public:
  enum class Version { kV1, kV1Alpha };  // they differ in their package alone

  // `service_names` as for MakeServices().
  ReflectionService(Version version, std::function<std::vector<std::string>()> service_names);

  // The answer to one request. What is unknown is answered, too: with an error_response.
  std::unique_ptr<google::protobuf::Message> Answer(const google::protobuf::Message& request) const;

  std::unique_ptr<google::protobuf::Message> NewRequest() const;

 private:
  class Handler;

  const std::string package_;  // "grpc.reflection.v1"
  const std::function<std::vector<std::string>()> service_names_;
  const DescriptorSource source_;
};

}  // namespace ipcrpc::reflection

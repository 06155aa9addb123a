// What ServerBuilder needs to know of reflection.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ipcrpc/server.h"

namespace ipcrpc::reflection {

// InitProtoReflectionServerBuilderPlugin() has been called in this process.
bool Enabled();

// The reflection services of one server, v1 and v1alpha; they hold on to `service_names`, which says the full
// names of everything that server has registered, these included, and is called by many threads at once.
std::vector<std::unique_ptr<Service>> MakeServices(std::function<std::vector<std::string>()> service_names);

}  // namespace ipcrpc::reflection

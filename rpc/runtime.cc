#include "ipcrpc/runtime.h"

#include <utility>

#include "transport/runtime/io_runtime.h"

namespace ipcrpc {

Runtime::Runtime(std::shared_ptr<IoRuntime> io, bool threaded) : io_(std::move(io)), threaded_(threaded) {}
Runtime::~Runtime() = default;

std::shared_ptr<Runtime> Runtime::Default() { return std::make_shared<Runtime>(IoRuntime::Default(), /*threaded=*/true); }

std::shared_ptr<Runtime> Runtime::WithThreads(int pollers, size_t max_workers, std::vector<int> poller_cpus) {
  return std::make_shared<Runtime>(std::make_shared<IoRuntime>(IoRuntimeOptions{.pollers = pollers, .threads = true,
                                                                                .max_workers = max_workers,
                                                                                .poller_cpus = std::move(poller_cpus)}),
                                   /*threaded=*/true);
}

std::shared_ptr<Runtime> Runtime::WithoutThreads() {
  return std::make_shared<Runtime>(std::make_shared<IoRuntime>(IoRuntimeOptions{.threads = false}), /*threaded=*/false);
}

int Runtime::fd() const { return threaded_ ? -1 : io_->fd(); }

void Runtime::RunOnce() {
  if (!threaded_) io_->RunOnce();
}

size_t Runtime::threads() const { return io_->threads(); }

}  // namespace ipcrpc

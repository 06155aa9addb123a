// The echo by iceoryx's request and response, with protobuf messages written into its chunks. Variants: `polling`, both sides
// look without end; `waitset`, both sleep in a WaitSet.
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <iceoryx_posh/iceoryx_posh_types.hpp>
#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/popo/untyped_client.hpp>
#include <iceoryx_posh/popo/untyped_server.hpp>
#include <iceoryx_posh/popo/wait_set.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>

#include "bench/systems/echo_system.h"
#include "bench/ticks.h"
#include "echo.pb.h"

namespace ipcrpc::bench {
namespace {

using iox::popo::RequestHeader;
using iox::popo::ResponseHeader;

constexpr uint32_t kAlignment = 8;

iox::capro::ServiceDescription ServiceOf(const std::string& address) {
  return {"ipcrpc-bench", iox::capro::IdString_t(iox::cxx::TruncateToCapacity, address), "Echo"};
}

// A process registers once, by a name of its own.
void Register() {
  iox::log::LogManager::GetLogManager().SetDefaultLogLevel(iox::log::LogLevel::kError, iox::log::LogLevelOutput::kHideLogLevel);
  const std::string name = "ipcrpc-bench-" + std::to_string(getpid());
  iox::runtime::PoshRuntime::initRuntime(iox::RuntimeName_t(iox::cxx::TruncateToCapacity, name));
}

// Waits for what one client or server port has to read.
class Waiting {
 public:
  template <typename Port, typename Event>
  Waiting(bool sleeps, Port& port, Event event) : sleeps_(sleeps) {
    if (sleeps) set_.attachState(port, event).or_else([](auto&) { Fail("cannot attach to a WaitSet"); });
  }
  void operator()() {
    if (sleeps_) {
      set_.wait();
    } else {
      Pause();
    }
  }
  // For good; by a signal handler.
  void Stop() { set_.markForDestruction(); }

 private:
  const bool sleeps_;
  iox::popo::WaitSet<> set_;
};

void Read(const void* chunk, bench::Echo& message) {
  const auto* bytes = static_cast<const uint32_t*>(chunk);
  if (!message.ParseFromArray(bytes + 1, static_cast<int>(*bytes))) Fail("a message that does not parse");
}

// The length, then the message.
size_t SizeOf(const bench::Echo& message) { return sizeof(uint32_t) + message.ByteSizeLong(); }
void Write(const bench::Echo& message, void* chunk) {
  auto* bytes = static_cast<uint32_t*>(chunk);
  *bytes = static_cast<uint32_t>(message.GetCachedSize());
  message.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(bytes + 1));
}

class IceoryxConnection final : public Connection {
 public:
  IceoryxConnection(const std::string& address, size_t bytes, bool sleeps)
      : client_(ServiceOf(address)), wait_(sleeps, client_, iox::popo::ClientState::HAS_RESPONSE), bytes_(bytes) {
    request_.set_payload(Payload(bytes));
    while (client_.getConnectionState() != iox::ConnectionState::CONNECTED) usleep(1000);
  }

  void Echo(uint64_t id) override {
    request_.set_id(id);
    void* chunk = nullptr;
    client_.loan(SizeOf(request_), kAlignment).and_then([&](void* loaned) { chunk = loaned; }).or_else([](auto&) { Fail("no chunk for a request"); });
    Write(request_, chunk);
    RequestHeader::fromPayload(chunk)->setSequenceId(static_cast<int64_t>(id));
    client_.send(chunk).or_else([](auto&) { Fail("cannot send a request"); });
    for (bool answered = false; !answered;) {
      client_.take().and_then([&](const void* response) {
        if (ResponseHeader::fromPayload(response)->getSequenceId() != static_cast<int64_t>(id)) Fail("an answer to another call");
        Read(response, response_);
        client_.releaseResponse(response);
        answered = true;
      });
      if (!answered) wait_();
    }
    CheckAnswer(response_.id(), id, response_.payload(), bytes_);
  }

 private:
  iox::popo::UntypedClient client_;
  Waiting wait_;
  const size_t bytes_;
  bench::Echo request_, response_;
};

std::atomic<Waiting*> serving = nullptr;
volatile sig_atomic_t ended = 0;

class IceoryxSystem final : public EchoSystem {
 public:
  explicit IceoryxSystem(bool sleeps) : sleeps_(sleeps) {}

  // Ends by returning, so that it unregisters.
  void Serve(const std::string& address, const ReadySignal& ready) override {
    Register();
    iox::popo::UntypedServer server(ServiceOf(address));
    Waiting wait(sleeps_, server, iox::popo::ServerState::HAS_REQUEST);
    serving = &wait;
    struct sigaction end = {};
    end.sa_handler = [](int) {
      ended = 1;
      serving.load()->Stop();
    };
    sigaction(SIGTERM, &end, nullptr);
    bench::Echo request, response;
    ready.Tell();
    while (ended == 0) {
      bool taken = false;
      server.take().and_then([&](const void* chunk) {
        taken = true;
        Read(chunk, request);
        response.set_id(request.id());
        response.set_payload(request.payload());
        server.loan(RequestHeader::fromPayload(chunk), SizeOf(response), kAlignment)
            .and_then([&](void* answer) {
              Write(response, answer);
              server.send(answer).or_else([](auto&) { Fail("cannot send an answer"); });
            })
            .or_else([](auto&) { Fail("no chunk for an answer"); });
        server.releaseRequest(chunk);
      });
      if (!taken) wait();
    }
  }
  std::unique_ptr<Connection> Connect(const std::string& address, size_t bytes) override {
    Register();
    return std::make_unique<IceoryxConnection>(address, bytes, sleeps_);
  }

 private:
  const bool sleeps_;
};

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) {
  using namespace ipcrpc::bench;
  return EchoMain(argc, argv, [](std::string_view variant) { return std::make_unique<IceoryxSystem>(variant == "waitset"); });
}

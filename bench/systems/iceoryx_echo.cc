// The echo by iceoryx's request and response, with protobuf messages written into its chunks. Variants: `polling`, both sides
// look without end; `waitset`, both sleep in a WaitSet. And, polling, of bytes without protobuf: `bytes`, written and read where they
// lie; `handed`, of which 64 bytes are.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iceoryx_posh/iceoryx_posh_types.hpp>
#include <iceoryx_hoofs/log/logmanager.hpp>
#include <iceoryx_posh/popo/untyped_client.hpp>
#include <iceoryx_posh/popo/untyped_server.hpp>
#include <iceoryx_posh/popo/wait_set.hpp>
#include <iceoryx_posh/runtime/posh_runtime.hpp>

#include "bench/systems/echo_system.h"
#include "bench/systems/payload.h"
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

// What chunks are filled with: a protobuf message, behind its length.
class Messages {
 public:
  explicit Messages(size_t bytes) : bytes_(bytes) { outgoing_.set_payload(Payload(bytes)); }

  // Of the chunk for the message with that id.
  size_t SizeOf(uint64_t id) {
    outgoing_.set_id(id);
    return sizeof(uint32_t) + outgoing_.ByteSizeLong();
  }
  void Write(void* chunk) const {
    auto* bytes = static_cast<uint32_t*>(chunk);
    *bytes = static_cast<uint32_t>(outgoing_.GetCachedSize());
    outgoing_.SerializeWithCachedSizesToArray(reinterpret_cast<uint8_t*>(bytes + 1));
  }
  // Its id.
  uint64_t Read(const void* chunk) {
    const auto* bytes = static_cast<const uint32_t*>(chunk);
    if (!incoming_.ParseFromArray(bytes + 1, static_cast<int>(*bytes))) Fail("a message that does not parse");
    return incoming_.id();
  }
  // By the client, of what it read; by the server, so that it answers with what it read.
  void Check(uint64_t id) const { CheckAnswer(incoming_.id(), id, incoming_.payload(), bytes_); }
  void Answer() { outgoing_.set_payload(incoming_.payload()); }

 private:
  const size_t bytes_;
  bench::Echo outgoing_, incoming_;
};

// Words, all of which are written and read, or so many bytes of them.
template <size_t kMost>
class Words {
 public:
  explicit Words(size_t bytes) : bytes_(bytes) {}

  size_t SizeOf(uint64_t id) {
    id_ = id;
    return bytes_;
  }
  void Write(void* chunk) const { WriteWords({static_cast<std::byte*>(chunk), Touched()}, id_); }
  uint64_t Read(const void* chunk) {
    bytes_ = iox::mepoo::ChunkHeader::fromUserPayload(chunk)->userPayloadSize();
    const uint64_t id = FirstWord(chunk);
    CheckWords({static_cast<const std::byte*>(chunk), Touched()}, id);
    return id;
  }
  void Check(uint64_t) const {}
  void Answer() {}

 private:
  size_t Touched() const { return std::min(bytes_, kMost); }

  size_t bytes_;
  uint64_t id_ = 0;
};
using AllWords = Words<SIZE_MAX>;
using FewWords = Words<kTouched>;

template <typename Content>
class IceoryxConnection final : public Connection {
 public:
  IceoryxConnection(const std::string& address, size_t bytes, bool sleeps)
      : client_(ServiceOf(address)), wait_(sleeps, client_, iox::popo::ClientState::HAS_RESPONSE), content_(bytes) {
    while (client_.getConnectionState() != iox::ConnectionState::CONNECTED) usleep(1000);
  }

  void Echo(uint64_t id) override {
    void* chunk = nullptr;
    client_.loan(content_.SizeOf(id), kAlignment).and_then([&](void* loaned) { chunk = loaned; }).or_else([](auto&) { Fail("no chunk for a request"); });
    content_.Write(chunk);
    RequestHeader::fromPayload(chunk)->setSequenceId(static_cast<int64_t>(id));
    client_.send(chunk).or_else([](auto&) { Fail("cannot send a request"); });
    for (bool answered = false; !answered;) {
      client_.take().and_then([&](const void* response) {
        if (ResponseHeader::fromPayload(response)->getSequenceId() != static_cast<int64_t>(id) || content_.Read(response) != id) {
          Fail("an answer to another call");
        }
        client_.releaseResponse(response);
        answered = true;
      });
      if (!answered) wait_();
    }
    content_.Check(id);
  }

 private:
  iox::popo::UntypedClient client_;
  Waiting wait_;
  Content content_;
};

std::atomic<Waiting*> serving = nullptr;
volatile sig_atomic_t ended = 0;

template <typename Content>
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
    Content content(0);
    ready.Tell();
    while (ended == 0) {
      bool taken = false;
      server.take().and_then([&](const void* chunk) {
        taken = true;
        const uint64_t id = content.Read(chunk);
        content.Answer();
        server.loan(RequestHeader::fromPayload(chunk), content.SizeOf(id), kAlignment)
            .and_then([&](void* answer) {
              content.Write(answer);
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
    return std::make_unique<IceoryxConnection<Content>>(address, bytes, sleeps_);
  }

 private:
  const bool sleeps_;
};

}  // namespace
}  // namespace ipcrpc::bench

int main(int argc, char** argv) {
  using namespace ipcrpc::bench;
  return EchoMain(argc, argv, [](std::string_view variant) -> std::unique_ptr<EchoSystem> {
    if (variant == "bytes") return std::make_unique<IceoryxSystem<AllWords>>(/*sleeps=*/false);
    if (variant == "handed") return std::make_unique<IceoryxSystem<FewWords>>(/*sleeps=*/false);
    return std::make_unique<IceoryxSystem<Messages>>(variant == "waitset");
  });
}

#include <random>
#include <thread>
#include <vector>

#include "bench/systems/echo_system.h"

namespace ipcrpc::bench {
namespace {

constexpr size_t kBusyConnections = 4;
constexpr unsigned kBusyPercent = 95;

void Unary(Connection& connection, Sample& sample) {
  uint64_t turn = 0;
  Measure(sample, [&] { connection.Echo(++turn); });
}

void Threads(Connection& connection, Sample& sample) {
  std::vector<std::unique_ptr<Connection>> shares;
  std::vector<std::function<void()>> calls;
  for (uint32_t i = 0; i < sample.order.threads; ++i) {
    shares.push_back(connection.Share());
    calls.emplace_back([share = shares.back().get(), turn = uint64_t{0}]() mutable { share->Echo(++turn); });
  }
  MeasureThreads(sample, calls);
}

void InFlight(Connection& connection, Sample& sample) {
  std::vector<std::unique_ptr<Connection>> shares;
  std::vector<BeginCall> calls;
  for (uint32_t i = 0; i < sample.order.in_flight; ++i) {
    shares.push_back(connection.Share());
    calls.emplace_back([share = shares.back().get(), turn = std::make_shared<uint64_t>(0)](std::function<void()> ended) {
      share->Begin(++*turn, std::move(ended));
    });
  }
  MeasureInFlight(sample, calls);
}

void ManyConnections(const std::vector<std::unique_ptr<Connection>>& connections, Sample& sample) {
  std::minstd_rand random(1);
  uint64_t turn = 0;
  Measure(sample, [&] {
    const auto number = static_cast<size_t>(random());
    const bool busy = sample.order.skewed && number % 100 < kBusyPercent;
    connections[number / 128 % (busy ? kBusyConnections : connections.size())]->Echo(++turn);
  });
}

// `first` is there so that what grows from here on is connections alone.
void Idle(EchoSystem& system, const std::string& address, Connection& first, Sample& sample) {
  first.Echo(1);
  const Usage client = UsageOf(kSelf), server = UsageOf(sample.server_pid);
  std::vector<std::unique_ptr<Connection>> connections;
  for (uint32_t i = 0; i < sample.order.connections; ++i) {
    connections.push_back(system.Connect(address, sample.order.bytes));
    connections.back()->Echo(1);
  }
  sample.client.resident_kib = UsageOf(kSelf).resident_kib - client.resident_kib;
  sample.server.resident_kib = UsageOf(sample.server_pid).resident_kib - server.resident_kib;
  MeasureIdle(sample);
}

void ServerStream(Connection& connection, Sample& sample) {
  const auto stream = connection.Open(Pattern::kServerStream);
  uint64_t turn = 0;
  Measure(sample, [&] { stream->Read(++turn); });
  stream->Cancel();
}

void ClientStream(Connection& connection, Sample& sample) {
  const auto stream = connection.Open(Pattern::kClientStream);
  uint64_t turn = 0;
  Measure(sample, [&] {
    if (!stream->Write(++turn)) Fail("the stream ended while it was written");
  });
  if (stream->Finish() != turn) Fail("the server read another number of messages than were written");
}

void BidiStream(Connection& connection, Sample& sample) {
  const auto stream = connection.Open(Pattern::kBidiStream);
  std::thread writer([&] {
    for (uint64_t id = 1; stream->Write(id);) ++id;
  });
  uint64_t turn = 0;
  Measure(sample, [&] { stream->Read(++turn); });
  stream->Cancel();
  writer.join();
}

}  // namespace

void DrivePattern(EchoSystem& system, const std::string& address, Sample& sample) {
  const auto connect = [&] { return system.Connect(address, sample.order.bytes); };
  if (sample.order.pattern == Pattern::kConnect) {
    connect()->Echo(1);
    Measure(sample, [&] { connect()->Echo(1); });
    return;
  }
  const std::unique_ptr<Connection> connection = connect();
  switch (sample.order.pattern) {
    case Pattern::kServerStream: return ServerStream(*connection, sample);
    case Pattern::kClientStream: return ClientStream(*connection, sample);
    case Pattern::kBidiStream: return BidiStream(*connection, sample);
    case Pattern::kIdle: return Idle(system, address, *connection, sample);
    case Pattern::kConnect:
    case Pattern::kUnary: break;
  }
  if (sample.order.in_flight != 0) return InFlight(*connection, sample);
  if (sample.order.threads > 1) return Threads(*connection, sample);
  if (sample.order.connections == 1) return Unary(*connection, sample);
  std::vector<std::unique_ptr<Connection>> connections;
  for (uint32_t i = 0; i < sample.order.connections; ++i) {
    connections.push_back(connect());
    connections.back()->Echo(1);
  }
  ManyConnections(connections, sample);
}

}  // namespace ipcrpc::bench

// monitor_client: a program with the generated stubs, for tests to look at from outside.
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "ipcrpc/ipcrpc.h"
#include "ipcrpc/monitor/v1/net_events.ipcrpc.pb.h"
#include "ipcrpc/snapshot.h"

namespace ipcrpc::e2e {
namespace {

namespace v1 = monitor::v1;

// A call that makes the daemon ask nobody, and that has a short answer.
Status SmallCall(v1::NetEvents::Stub& stub) {
  ClientContext context;
  v1::ListRequest request;
  request.add_kinds(v1::NetObject::LINK);
  request.add_dev("no such");
  v1::ListReply reply;
  return stub.List(&context, request, &reply);
}

int Fail(const Status& status) {
  std::cerr << "monitor_client: " << status.error_code() << " " << status.error_message() << "\n";
  return 1;
}

// calls ADDRESS N: one after the other.
int Calls(const std::string& address, int n) {
  auto stub = v1::NetEvents::NewStub(CreateChannel(address));
  for (int i = 0; i < n; ++i) {
    if (const Status status = SmallCall(*stub); !status.ok()) return Fail(status);
  }
  return 0;
}

// connections ADDRESS N: a call over each; says so, and keeps them until its input ends.
int Connections(const std::string& address, int n) {
  std::vector<std::unique_ptr<v1::NetEvents::Stub>> stubs;
  for (int i = 0; i < n; ++i) {
    stubs.push_back(v1::NetEvents::NewStub(CreateChannel(address)));
    if (const Status status = SmallCall(*stubs.back()); !status.ok()) return Fail(status);
  }
  std::cout << "connected" << std::endl;
  std::string line;
  while (std::getline(std::cin, line)) continue;
  return 0;
}

// blocked ADDRESS: a call; for the next line of input another, whose status it prints; then keeps its channel
// until its input ends.
int Blocked(const std::string& address) {
  auto stub = v1::NetEvents::NewStub(CreateChannel(address));
  if (const Status status = SmallCall(*stub); !status.ok()) return Fail(status);
  std::cout << "ready" << std::endl;
  std::string line;
  std::getline(std::cin, line);
  std::cout << "calling" << std::endl;
  const Status status = SmallCall(*stub);
  std::cout << status.error_code() << std::endl;
  while (std::getline(std::cin, line)) continue;
  return 0;
}

// watchers ADDRESS N: as many watches, each over a connection of its own; says when all have had the state, and when
// all have seen a link end0 appear; keeps them until its input ends.
int Watchers(const std::string& address, int n) {
  std::atomic<int> bookmarks{0}, ends{0}, failures{0};
  std::vector<std::unique_ptr<ClientContext>> contexts;
  std::vector<std::thread> threads;
  for (int i = 0; i < n; ++i) contexts.push_back(std::make_unique<ClientContext>());
  for (int i = 0; i < n; ++i) {
    threads.emplace_back([&, context = contexts[static_cast<size_t>(i)].get()] {
      auto stub = v1::NetEvents::NewStub(CreateChannel(address));
      auto reader = stub->Watch(context, {});
      v1::NetEvent event;
      while (reader->Read(&event)) {
        bookmarks += event.action() == v1::NetEvent::BOOKMARK;
        ends += event.action() == v1::NetEvent::ADDED && event.link().ifname() == "end0";
      }
      const Status status = reader->Finish();
      if (status.error_code() == StatusCode::CANCELLED) return;
      ++failures;
      Fail(status);
    });
  }
  const auto await = [&](const std::atomic<int>& count) {
    while (count < n && failures == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  };
  await(bookmarks);
  if (failures == 0) std::cout << "watching" << std::endl;
  await(ends);
  if (failures == 0) std::cout << "all have seen end0" << std::endl;
  std::string line;
  while (failures == 0 && std::getline(std::cin, line)) continue;
  for (auto& context : contexts) context->TryCancel();
  for (std::thread& thread : threads) thread.join();
  return failures == 0 ? 0 : 1;
}

// What a trace shows of where we are.
void Mark(const char* name) {
  if (access(name, F_OK) == 0) std::abort();
}

// snapshot PLACE: reads it, unchanged and changed, between marks.
int Snapshot(const std::string& place) {
  SnapshotReader<v1::ListReply> typed(place);
  if (typed.Read() == nullptr) return Fail(typed.status());
  Mark("/mark/unchanged");
  for (int i = 0; i < 1000; ++i) {
    if (typed.Read() == nullptr) return Fail(typed.status());
  }
  Mark("/mark/end");

  RawSnapshotReader raw(place);
  if (const SnapshotError error = raw.Read(); !error.ok())
    return Fail(Status(StatusCode::UNKNOWN, error.message));
  std::cout << "ready" << std::endl;
  Mark("/mark/changed");
  for (int changes = 0; changes < 3;) {
    const bool changed = raw.Changed();
    if (!raw.Read().ok()) return 1;
    changes += changed;
  }
  Mark("/mark/end");
  return 0;
}

// read PLACE: reads it, a ListReply, as fast as it can, until it is killed; whatever is wrong ends it.
int ReadAlways(const std::string& place) {
  SnapshotReader<v1::ListReply> reader(place);
  if (reader.Read() == nullptr) return Fail(reader.status());
  std::cout << "ready" << std::endl;
  uint64_t revision = 0;
  for (;;) {
    const v1::ListReply* const list = reader.Read();
    if (list == nullptr) return Fail(reader.status());
    if (list->revision() < revision) return Fail(Status(StatusCode::DATA_LOSS, "a revision runs backwards"));
    revision = list->revision();
  }
}

int Main(const std::vector<std::string>& words) {
  rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  if (words.size() == 3 && words[0] == "calls") return Calls(words[1], std::atoi(words[2].c_str()));
  if (words.size() == 3 && words[0] == "connections")
    return Connections(words[1], std::atoi(words[2].c_str()));
  if (words.size() == 3 && words[0] == "watchers") return Watchers(words[1], std::atoi(words[2].c_str()));
  if (words.size() == 2 && words[0] == "blocked") return Blocked(words[1]);
  if (words.size() == 2 && words[0] == "read") return ReadAlways(words[1]);
  if (words.size() == 2 && words[0] == "snapshot") return Snapshot(words[1]);
  std::cerr << "usage: monitor_client calls|connections|watchers ADDRESS N | blocked ADDRESS | snapshot PLACE\n";
  return 2;
}

}  // namespace
}  // namespace ipcrpc::e2e

int main(int argc, char** argv) { return ipcrpc::e2e::Main({argv + 1, argv + argc}); }

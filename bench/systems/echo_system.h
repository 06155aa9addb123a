// What is measured, as the patterns of calls see it: a system whose server echoes and whose client is a connection.
// Each system is a program of its own, so that libraries and generated symbols don't meet; all have one command line.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "bench/process.h"
#include "bench/sample.h"

namespace ipcrpc::bench {

// One end for one writing and one reading thread. Messages are numbered from 1.
class MessageStream {
 public:
  virtual ~MessageStream() = default;
  // False: the stream has ended.
  virtual bool Write(uint64_t id) = 0;
  // Checked; ends the process when the stream has ended.
  virtual void Read(uint64_t id) = 0;
  // A client stream's: ends it; how many messages the server says came.
  virtual uint64_t Finish() = 0;
  virtual void Cancel() = 0;
};

class Connection {
 public:
  virtual ~Connection() = default;
  // A call with that id and the payload; the answer is checked. Ends the process when it fails.
  virtual void Echo(uint64_t id) = 0;
  // Begins such a call and has `ended` called when it was answered and the answer checked, by any thread. One at a time; the next
  // may be begun from there.
  virtual void Begin(uint64_t, std::function<void()> /*ended*/) { Fail("this system's calls block"); }
  // The same connection for another thread, or for another call at the same time.
  virtual std::unique_ptr<Connection> Share() { Fail("this system's threads share no connection"); }
  virtual std::unique_ptr<MessageStream> Open(Pattern) { Fail("this system has no streams"); }
};

class EchoSystem {
 public:
  virtual ~EchoSystem() = default;
  // Tell()s once it can be called, then serves until SIGTERM, which may just kill it.
  virtual void Serve(const std::string& address, const ReadySignal& ready) = 0;
  // `bytes` of payload in each message.
  virtual std::unique_ptr<Connection> Connect(const std::string& address, size_t bytes) = 0;
};

// Blocks SIGTERM in this thread and those it starts.
class Termination {
 public:
  Termination();
  void Await() const;
};

// An answer's payload must be the request's.
std::string Payload(size_t bytes);
void CheckAnswer(uint64_t id, uint64_t expected_id, std::string_view payload, size_t expected_bytes);

// Drives the connections as the order says.
void DrivePattern(EchoSystem& system, const std::string& address, Sample& sample);

//   PROGRAM VARIANT serve ADDRESS READY_FD SAMPLE_FD   until SIGTERM
//   PROGRAM VARIANT drive ADDRESS SAMPLE_FD            as ordered there
//   PROGRAM VARIANT both ADDRESS SAMPLE_FD             server and client in this process
//   PROGRAM VARIANT once ADDRESS                       one call
//   PROGRAM VARIANT nothing                            what it costs to start a program with these libraries
// `make`: null when there is no such variant.
int EchoMain(int argc, char** argv, const std::function<std::unique_ptr<EchoSystem>(std::string_view variant)>& make);

}  // namespace ipcrpc::bench

// What peers are made of that refer to memory: memory of any kind, the frames that show it and refer to it, and what is left of it all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/behaviour/fixture.h"
#include "tests/hostile/raw_peer.h"

namespace hostile {

using ipcrpc::rpc::MemoryBody;
using ipcrpc::rpc::ReferenceBody;

// Of SharedRegion::Kind.
inline constexpr uint32_t kPool = 1, kSealed = 2;
extern const int kPoolSeals, kSealedSeals;

// Handlers of messages that would be too large to go back: Unary and Talk answer with the sum of the number and the bytes of the data.
void AnswerWithSizes(behaviour::LambdaService& service);

// With these bytes, all there, and these seals.
UniqueFd MemoryWith(std::string_view bytes, int seals);

// The frame that shows memory; its descriptor goes as `parcel`.
std::string Show(uint32_t number, const MemoryBody& body, uint32_t parcel, uint8_t descriptors = 1);
std::string Gone(uint32_t number);
std::string Return(uint32_t loan);
std::string Refuse(uint32_t memory);
std::string Entries(const std::vector<ReferenceBody>& references);
// A message of stream 1 that refers, `inlined` being what is in the frame. `message_bytes` 0: as many as it is.
std::string Refer(const std::vector<ReferenceBody>& references, std::string_view inlined = {}, uint32_t message_bytes = 0,
                  uint8_t more_flags = 0, uint32_t stream = 1);

FrameHeader HeaderOf(std::string_view frame);
std::vector<ReferenceBody> ReferencesOf(std::string_view frame);

// An end that counts its parcels.
class Referrer {
 public:
  explicit Referrer(std::unique_ptr<RawClient> end) : end_(std::move(end)) {}
  RawClient* operator->() { return end_.get(); }
  RawClient& end() { return *end_; }

  // Shows it as the next number.
  bool ShowNext(uint32_t kind, const UniqueFd& memory, uint64_t bytes);
  bool ShowAs(uint32_t number, const MemoryBody& body, int descriptor, std::string_view frame = {});
  // Whether the peer still answers.
  bool Answers();
  // Waits for the frame that ends stream 1: its status code; -1: the connection ended instead.
  int Finish(uint32_t stream = 1);

 private:
  std::unique_ptr<RawClient> end_;
  uint32_t parcels_ = 0, memories_ = 0;
};

// What this process has of other's memory, and descriptors. A test compares before and after.
struct Leftovers {
  size_t descriptors, memories;
  static Leftovers Now();
  // Waits until there is no more than this.
  void ExpectAgain() const;
};

// A server that answers with sizes, and what its clients may not leave behind.
class ReferringTest : public behaviour::BehaviourTest {
 protected:
  void SetUp() override {
    AnswerWithSizes(service_);
    Start();
    ExpectAlive();
    before_ = Leftovers::Now();
  }
  void TearDown() override {
    ExpectAlive();
    before_.ExpectAgain();
    StopServer();
  }

  Referrer Greeted() {
    Referrer client(RawClient::Connect(address()));
    EXPECT_TRUE(client->Send(Hello()));
    return client;
  }

  Leftovers before_ = {};
};

}  // namespace hostile

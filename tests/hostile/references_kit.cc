#include "tests/hostile/references_kit.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <utility>

namespace hostile {

using ipcrpc::rpc::EntryKind;
using ipcrpc::rpc::EntryReader;
using ipcrpc::rpc::kFirstChunk;
using ipcrpc::rpc::kHasMessage;
using ipcrpc::rpc::kRefers;

const int kPoolSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;
const int kSealedSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;

void AnswerWithSizes(behaviour::LambdaService& service) {
  const auto answer = [](const behaviour::Msg& request) {
    return behaviour::Number(request.number() + static_cast<int64_t>(request.data().size()));
  };
  service.unary = [answer](behaviour::ServerContext*, const behaviour::Msg* request, behaviour::Msg* response) {
    *response = answer(*request);
    return behaviour::Status::OK;
  };
  service.talk = [answer](behaviour::ServerContext*, behaviour::ServerTalk* stream) {
    for (behaviour::Msg message; stream->Read(&message);) {
      if (!stream->Write(answer(message))) break;
    }
    return behaviour::Status::OK;
  };
}

UniqueFd MemoryWith(std::string_view bytes, int seals) {
  UniqueFd memory(memfd_create("hostile", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(pwrite(memory.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  EXPECT_TRUE(seals == 0 || fcntl(memory.get(), F_ADD_SEALS, seals) == 0);
  return memory;
}

std::string Show(uint32_t number, const MemoryBody& body, uint32_t parcel, uint8_t descriptors) {
  return FrameOf({.type = FrameType::kMemory, .fd_count = descriptors, .number = number, .fd_sequence = parcel},
                 EntryOf(static_cast<int>(EntryKind::kMemory), "", Bytes(&body, sizeof(body))));
}

std::string Gone(uint32_t number) { return FrameOf({.type = FrameType::kMemoryGone, .number = number}); }
std::string Return(uint32_t loan) { return FrameOf({.type = FrameType::kReturn, .number = loan}); }
std::string Refuse(uint32_t memory) { return FrameOf({.type = FrameType::kMemoryRefused, .number = memory}); }

std::string Entries(const std::vector<ReferenceBody>& references) {
  std::string block;
  for (const ReferenceBody& body : references) block += EntryOf(static_cast<int>(EntryKind::kReference), "", Bytes(&body, sizeof(body)));
  return block;
}

std::string Refer(const std::vector<ReferenceBody>& references, std::string_view inlined, uint32_t message_bytes, uint8_t more_flags,
                  uint32_t stream) {
  if (message_bytes == 0) {
    message_bytes = static_cast<uint32_t>(inlined.size());
    for (const ReferenceBody& body : references) message_bytes += body.bytes;
  }
  return FrameOf({.type = FrameType::kMessage, .flags = static_cast<uint8_t>(kHasMessage | kFirstChunk | kRefers | more_flags),
                  .stream = stream, .message_bytes = message_bytes},
                 Entries(references), inlined);
}

FrameHeader HeaderOf(std::string_view frame) {
  FrameHeader header;
  std::memcpy(&header, frame.data(), sizeof(header));
  return header;
}

std::vector<ReferenceBody> ReferencesOf(std::string_view frame) {
  std::vector<ReferenceBody> references;
  std::string_view block = frame.substr(sizeof(FrameHeader), HeaderOf(frame).block_bytes);
  while (block.size() >= 8) {
    uint32_t value_bytes;
    std::memcpy(&value_bytes, block.data() + 4, sizeof(value_bytes));
    uint16_t key_bytes;
    std::memcpy(&key_bytes, block.data() + 2, sizeof(key_bytes));
    if (block[0] == static_cast<char>(EntryKind::kReference)) {
      std::memcpy(&references.emplace_back(), block.data() + 8 + key_bytes, sizeof(ReferenceBody));
    }
    block.remove_prefix(8 + key_bytes + value_bytes);
  }
  return references;
}

bool Referrer::ShowNext(uint32_t kind, const UniqueFd& memory, uint64_t bytes) {
  return ShowAs(++memories_, {.bytes = bytes, .kind = kind}, memory.get());
}

bool Referrer::ShowAs(uint32_t number, const MemoryBody& body, int descriptor, std::string_view frame) {
  ++parcels_;
  memories_ = number;
  return end_->SendFds(frame.empty() ? Show(number, body, parcels_) : std::string(frame), parcels_, {descriptor});
}

bool Referrer::Answers() {
  return end_->Send(FrameOf({.type = FrameType::kPing})) && end_->ReceiveType(FrameType::kPong).has_value();
}

int Referrer::Finish(uint32_t stream) {
  while (const auto frame = end_->ReceiveType(FrameType::kFinish)) {
    const FrameHeader header = HeaderOf(*frame);
    if (header.stream == stream) return static_cast<int>(header.number);
  }
  return -1;
}

Leftovers Leftovers::Now() {
  std::ifstream maps("/proc/self/maps");
  size_t memories = 0;
  for (std::string line; std::getline(maps, line);) memories += line.find("/memfd:") != std::string::npos;
  return {behaviour::Holdings::Now().descriptors, memories};
}

void Leftovers::ExpectAgain() const {
  const bool again = behaviour::Eventually([this] {
    const Leftovers now = Now();
    return now.descriptors <= descriptors && now.memories <= memories;
  });
  const Leftovers now = Now();
  EXPECT_TRUE(again) << descriptors << " -> " << now.descriptors << " descriptors, " << memories << " -> " << now.memories << " memories";
}

}  // namespace hostile

// A message as calls write it, for tests: in one piece, or in many.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "ipcrpc/internal/message_codec.h"

namespace ipcrpc::internal {

// Bytes of which few are the same in a row.
inline std::string Noise(size_t bytes) {
  std::string noise(bytes, '\0');
  for (size_t i = 0; i < bytes; ++i) noise[i] = static_cast<char>(i * 2654435761u >> 13);
  return noise;
}

// Pieces of one size each, between bytes that nobody may touch.
class Pieces final : public MessageSink {
 public:
  Pieces(size_t total, size_t piece) : left_(total), piece_(piece) {}

  std::span<std::byte> Next() override {
    const size_t bytes = std::min(left_, piece_);
    EXPECT_NE(bytes, 0u) << "the message was whole";
    left_ -= bytes;
    pieces_.emplace_back(bytes + 2 * kMargin, '#');
    return {reinterpret_cast<std::byte*>(pieces_.back().data()) + kMargin, bytes};
  }
  std::string Joined() const {
    EXPECT_EQ(left_, 0u) << "the message is not whole";
    std::string joined;
    for (const std::string& piece : pieces_) {
      EXPECT_EQ(piece.substr(0, kMargin), std::string(kMargin, '#'));
      EXPECT_EQ(piece.substr(piece.size() - kMargin), std::string(kMargin, '#'));
      joined += piece.substr(kMargin, piece.size() - 2 * kMargin);
    }
    return joined;
  }

 private:
  static constexpr size_t kMargin = 64;
  size_t left_;
  const size_t piece_;
  std::vector<std::string> pieces_;
};

template <typename T>
std::string WrittenInOnePiece(const T& message) {
  const OutgoingMessage outgoing = Outgoing(message);
  std::string bytes(outgoing.size(&message), '\0');
  outgoing.write(&message, reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
  return bytes;
}

template <typename T>
std::string WrittenInPieces(const T& message, size_t piece) {
  const OutgoingMessage outgoing = Outgoing(message);
  const size_t size = outgoing.size(&message);
  Pieces pieces(size, piece);
  outgoing.write_pieces(&message, pieces, size);
  return pieces.Joined();
}

}  // namespace ipcrpc::internal

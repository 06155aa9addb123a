// What a scheme adds to the rendezvous without credentials (messages.h): its queues. Everything else, from the name on
// disk to the proof, is in listener.cc and connector.cc.
//
// A well-known place has a file of its own, NAME.fifo, NAME.mqueue and so on, whose owner the client checks. Except for a FIFO,
// which is that file, it holds a line of text, the reference, that says which object of the kernel's the
// place is; and it is locked while its server lives. Objects outside the file system are named after what is in such
// files before they are made, so that a sweep finds them whatever happened in between.
#pragma once

#include <sys/types.h>

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "transport/link.h"
#include "transport/rendezvous/life.h"
#include "transport/rendezvous/messages.h"
#include "transport/stream/medium.h"

namespace ipcrpc::rendezvous {

// Who may use an object: its mode, and its owner and group where they are not ours.
struct Access {
  mode_t mode = 0600;
  std::optional<uid_t> owner;
  std::optional<gid_t> group;
};

// Our end of a pair.
struct End {
  std::unique_ptr<stream::Medium> medium;
  Welcome welcome;  // server: the numbers to tell the client
  Proof proof;      // client: all but the nonce
};

class Mechanism {
 public:
  virtual ~Mechanism() = default;

  virtual Kind kind() const = 0;
  virtual std::string_view scheme() const = 0;  // also the suffix of the file of a plain name
  virtual const Capabilities& capabilities() const = 0;

  // ---- the well-known place

  // The line of text for a new place called `name`; empty: the place is the file itself.
  virtual std::string NewReference(std::string_view name) const = 0;
  // Server: makes the place, where clients write; others may not read there, whatever the mode says.
  virtual absl::StatusOr<std::unique_ptr<stream::Medium>> MakePlace(const std::string& path, const std::string& reference,
                                                                    const Access& access) const = 0;
  // Client. UNAVAILABLE: its server is gone. PERMISSION_DENIED.
  virtual absl::StatusOr<std::unique_ptr<stream::Medium>> OpenPlace(const std::string& path,
                                                                    const std::string& reference) const = 0;
  // Only a place of `owner`, whose file says so: a reference is text, and not taken at its word.
  virtual void RemovePlace(const std::string& path, const std::string& reference, uid_t owner) const = 0;

  // ---- the pair; `stem` is the path of its file

  // RESOURCE_EXHAUSTED names the limit, and what would help. On failure nothing is left.
  virtual absl::StatusOr<End> MakePair(const std::string& stem, const Token& token, const Access& access) const = 0;
  virtual absl::StatusOr<End> OpenPair(const std::string& stem, const Token& token, const Welcome& welcome) const = 0;
  // Server, when the proof came and is right.
  virtual absl::Status Accept(End&, const Proof&) const { return absl::OkStatus(); }
  // Server, after that: whether process `pid` is seen to hold the client's end.
  virtual bool IsHeldBy(const End& ours, const Proof& proof, pid_t pid) const = 0;
  // Both have it open. Only where wants_watch().
  virtual void Watch(End& ours, std::unique_ptr<PeerWatch> watch) const = 0;
  // The names go once both ends are open; where the objects are their names, only when both have left.
  virtual bool names_stay() const { return false; }
  // Only objects of ours or of `owner`, the file's.
  virtual void RemovePair(const std::string& stem, const Token& token, uid_t owner) const = 0;
  // Whether its descriptors say nothing of the peer, so that there is a PeerWatch.
  virtual bool wants_watch() const { return true; }
};

// RemovePair(), and what else is named after the stem but the file itself.
void RemovePairNames(const Mechanism* mechanism, const std::string& stem, const Token& token, uid_t owner);

// Null when there is none of that kind, or with that suffix.
const Mechanism* FindMechanism(Kind kind);
const Mechanism* FindMechanism(std::string_view scheme);
std::span<const Mechanism* const> Mechanisms();

// Of the addresses of all of them: who may come, and whom to believe.
inline constexpr std::array<std::string_view, 3> kParameters = {"mode", "group", "uid"};

absl::StatusOr<std::unique_ptr<Listener>> ListenAt(const Mechanism& mechanism, const Address& address);
absl::StatusOr<std::unique_ptr<Link>> ConnectTo(const Mechanism& mechanism, const Address& address, int64_t deadline_ns);

// "NAME~TOKEN", beside the well-known name.
std::string StemOf(const std::string& base, const Token& token);

}  // namespace ipcrpc::rendezvous

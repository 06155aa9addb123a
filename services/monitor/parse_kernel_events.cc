#include "services/monitor/parse_kernel_events.h"

#include <linux/cn_proc.h>
#include <linux/connector.h>
#include <linux/netlink.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/string_view.h"
#include "services/monitor/text.h"

namespace ipcrpc::monitor {
namespace {

// The kernel's header names the kinds inside a union that C++ cannot always say; these are their numbers.
enum : uint32_t {
  kAnswer = 0x00000000,
  kFork = 0x00000001,
  kExec = 0x00000002,
  kUid = 0x00000004,
  kGid = 0x00000040,
  kSession = 0x00000080,
  kPtrace = 0x00000100,
  kComm = 0x00000200,
  kCoredump = 0x40000000,
  kExit = 0x80000000,
};

template <typename Number>
void SetNumber(std::string_view text, v1::Uevent* out, void (v1::Uevent::*set)(Number)) {
  Number number;
  if (absl::SimpleAtoi(absl::string_view(text.data(), text.size()), &number)) (out->*set)(number);
}

void SetProperty(std::string_view name, std::string_view value, v1::Uevent* out) {
  if (name == "ACTION") return out->set_action(ValidUtf8(value));
  if (name == "DEVPATH") return out->set_devpath(ValidUtf8(value));
  if (name == "SUBSYSTEM") return out->set_subsystem(ValidUtf8(value));
  if (name == "INTERFACE") return out->set_interface(ValidUtf8(value));
  if (name == "SEQNUM") return SetNumber<uint64_t>(value, out, &v1::Uevent::set_seqnum);
  if (name == "IFINDEX") return SetNumber<uint32_t>(value, out, &v1::Uevent::set_ifindex);
  (*out->mutable_properties())[ValidUtf8(name)] = ValidUtf8(value);
}

void SetIds(const decltype(proc_event::event_data.id)& id, bool user, v1::ProcessEvent* out) {
  out->set_kind(user ? v1::ProcessEvent::UID : v1::ProcessEvent::GID);
  out->set_pid(static_cast<uint32_t>(id.process_tgid));
  out->set_tid(static_cast<uint32_t>(id.process_pid));
  out->set_real_id(user ? id.r.ruid : id.r.rgid);
  out->set_effective_id(user ? id.e.euid : id.e.egid);
}

// What is inside of both headers. As long as the kernel's own: older ones have shorter kinds.
std::optional<proc_event> Inner(std::span<const uint8_t> datagram) {
  constexpr size_t kHeaders = NLMSG_HDRLEN + sizeof(cn_msg);
  nlmsghdr header;
  cn_msg connector;
  if (datagram.size() < kHeaders) return std::nullopt;
  memcpy(&header, datagram.data(), sizeof header);
  memcpy(&connector, datagram.data() + NLMSG_HDRLEN, sizeof connector);
  const size_t end = std::min<size_t>(header.nlmsg_len, datagram.size());
  if (end < kHeaders || connector.id.idx != CN_IDX_PROC || connector.id.val != CN_VAL_PROC) return std::nullopt;
  proc_event event{};
  const size_t size = std::min<size_t>(connector.len, end - kHeaders);
  if (size < offsetof(proc_event, event_data)) return std::nullopt;
  memcpy(&event, datagram.data() + kHeaders, std::min(size, sizeof event));
  return event;
}

// False: of a kind that we do not tell.
bool SetEvent(const proc_event& event, v1::ProcessEvent* out) {
  const auto& data = event.event_data;
  const auto about = [&](v1::ProcessEvent::Kind kind, int tgid, int pid) {
    out->set_kind(kind);
    out->set_pid(static_cast<uint32_t>(tgid));
    out->set_tid(static_cast<uint32_t>(pid));
  };
  switch (static_cast<uint32_t>(event.what)) {
    case kFork:
      about(v1::ProcessEvent::FORK, data.fork.child_tgid, data.fork.child_pid);
      out->set_parent_pid(static_cast<uint32_t>(data.fork.parent_tgid));
      return true;
    case kExec: about(v1::ProcessEvent::EXEC, data.exec.process_tgid, data.exec.process_pid); return true;
    case kUid: SetIds(data.id, /*user=*/true, out); return true;
    case kGid: SetIds(data.id, /*user=*/false, out); return true;
    case kSession: about(v1::ProcessEvent::SESSION, data.sid.process_tgid, data.sid.process_pid); return true;
    case kPtrace:
      about(v1::ProcessEvent::PTRACE, data.ptrace.process_tgid, data.ptrace.process_pid);
      out->set_parent_pid(static_cast<uint32_t>(data.ptrace.tracer_tgid));
      return true;
    case kComm: {
      about(v1::ProcessEvent::COMM, data.comm.process_tgid, data.comm.process_pid);
      const char* name = data.comm.comm;
      out->set_name(ValidUtf8({name, strnlen(name, sizeof data.comm.comm)}));
      return true;
    }
    case kCoredump:
      about(v1::ProcessEvent::COREDUMP, data.coredump.process_tgid, data.coredump.process_pid);
      out->set_parent_pid(static_cast<uint32_t>(data.coredump.parent_tgid));
      return true;
    case kExit: {
      about(v1::ProcessEvent::EXIT, data.exit.process_tgid, data.exit.process_pid);
      out->set_parent_pid(static_cast<uint32_t>(data.exit.parent_tgid));
      const int status = static_cast<int>(data.exit.exit_code);
      if (WIFEXITED(status)) out->set_exit_code(static_cast<uint32_t>(WEXITSTATUS(status)));
      if (WIFSIGNALED(status)) out->set_exit_signal(static_cast<uint32_t>(WTERMSIG(status)));
      return true;
    }
    default: return false;
  }
}

}  // namespace

std::optional<v1::Uevent> ParseUevent(std::span<const uint8_t> datagram) {
  std::string_view text(reinterpret_cast<const char*>(datagram.data()), datagram.size());
  const std::string_view head = text.substr(0, text.find('\0'));
  // udev's own messages begin with "libudev".
  if (head.find('@') == std::string_view::npos || head.size() == text.size()) return std::nullopt;
  v1::Uevent event;
  for (text.remove_prefix(head.size() + 1); !text.empty();) {
    const std::string_view line = text.substr(0, text.find('\0'));
    const size_t equals = line.find('=');
    if (equals != std::string_view::npos) SetProperty(line.substr(0, equals), line.substr(equals + 1), &event);
    text.remove_prefix(std::min(line.size() + 1, text.size()));
  }
  if (event.action().empty()) return std::nullopt;
  return event;
}

std::optional<v1::ProcessEvent> ParseProcessEvent(std::span<const uint8_t> datagram) {
  const std::optional<proc_event> event = Inner(datagram);
  v1::ProcessEvent out;
  if (!event || !SetEvent(*event, &out)) return std::nullopt;
  out.set_monotonic_ns(event->timestamp_ns);
  return out;
}

std::optional<uint32_t> ParseProcessAnswer(std::span<const uint8_t> datagram) {
  const std::optional<proc_event> event = Inner(datagram);
  if (!event || static_cast<uint32_t>(event->what) != kAnswer) return std::nullopt;
  return event->event_data.ack.err;
}

}  // namespace ipcrpc::monitor

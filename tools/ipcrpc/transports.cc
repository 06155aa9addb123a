// ipcrpc transports: what there is to talk over, and what each can do.
#include <algorithm>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "ipcrpc/admin.h"
#include "tools/ipcrpc/commands.h"
#include "tools/ipcrpc/output.h"

namespace ipcrpc::cli {
namespace {

using Row = std::vector<std::string>;

std::string YesNo(bool yes) { return yes ? "yes" : "-"; }

std::string Kibibytes(uint32_t bytes) {
  return bytes % 1024 == 0 || bytes > 64 * 1024 ? absl::StrFormat("%uK", bytes / 1024) : absl::StrFormat("%u", bytes);
}

Row RowOf(const admin::Transport& transport) {
  return {transport.name,
          YesNo(transport.automatic),
          Kibibytes(transport.max_frame_bytes),
          YesNo(transport.in_place),
          YesNo(transport.passes_fds),
          YesNo(transport.credentials),
          YesNo(transport.pollable),
          YesNo(transport.detects_death),
          transport.many_connections ? "many" : "one",
          transport.summary};
}

absl::Status PrintTable(const std::vector<Row>& rows) {
  std::vector<size_t> widths(rows.front().size());
  for (const Row& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  for (const Row& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      line += row[i];
      if (i + 1 < row.size()) line.append(widths[i] - row[i].size() + 2, ' ');
    }
    if (const absl::Status printed = PrintLine(line); !printed.ok()) return printed;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Transports(const TransportsOptions& options) {
  std::vector<Row> rows = {
      {"SCHEME", "IPC:", "FRAME", "IN PLACE", "FDS", "CREDENTIALS", "POLLABLE", "SEES DEATH", "CLIENTS", "WHAT IT IS"}};
  if (options.parameters) rows.front() = {"SCHEME", "PARAMETERS"};
  for (const admin::Transport& transport : admin::Transports()) {
    rows.push_back(options.parameters ? Row{transport.name, absl::StrJoin(transport.parameters, " ")} : RowOf(transport));
  }
  return PrintTable(rows);
}

}  // namespace ipcrpc::cli

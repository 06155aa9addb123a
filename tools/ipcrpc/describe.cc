// ipcrpc describe [ADDR] SYMBOL: the definition of a service, method, message, field or enum, as .proto text.
#include "tools/ipcrpc/commands.h"
#include "tools/ipcrpc/output.h"
#include "tools/ipcrpc/target.h"

namespace ipcrpc::cli {
namespace {

// Methods may be written as `call` wants them.
std::string SymbolOf(std::string word) {
  if (!LooksLikeMethod(word)) return word;
  if (word.front() == '/') word.erase(0, 1);
  word[word.find('/')] = '.';
  return word;
}

}  // namespace

absl::Status Describe(const DescribeOptions& options) {
  if (options.words.empty()) return UsageError("describe: SYMBOL is missing (a service, method, message, …)");
  std::string address = options.words.front();
  if (options.words.size() == 1) {
    const absl::StatusOr<std::string> fallback = DefaultAddress();
    if (!fallback.ok()) {
      return LooksLikeAddress(address)
                 ? UsageError("describe: SYMBOL is missing (a service, method, message, …)")
                 : fallback.status();
    }
    address = *fallback;
  }
  const absl::StatusOr<Schema::Deadline> deadline = DeadlineOf(options.timeout);
  if (!deadline.ok()) return deadline.status();

  Schema schema(address, OpenChannel(address), ReflectionDeadline(*deadline));
  const absl::StatusOr<std::string> text = schema.Define(SymbolOf(options.words.back()));
  if (!text.ok()) return text.status();
  return PrintLine(text->substr(0, text->find_last_not_of('\n') + 1));
}

}  // namespace ipcrpc::cli

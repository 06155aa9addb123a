#include "ipcrpc/admin.h"

#include "transport/base/nearest.h"

namespace ipcrpc::admin {

std::string DidYouMean(std::string_view word, const std::vector<std::string>& candidates) {
  const std::vector<std::string_view> views(candidates.begin(), candidates.end());
  return ipcrpc::DidYouMean(word, views);
}

}  // namespace ipcrpc::admin

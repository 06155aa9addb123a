// The scheme `inproc:NAME`: both ends in one process. A name is a word in a table of this process; nothing on disk,
// and nobody else sees it.
#pragma once

#include <memory>
#include <utility>

#include "transport/scheme.h"

namespace ipcrpc {

const Scheme& InprocScheme();

// Two ends connected to each other, without a name: for tests that drive both by hand (Poll() on the one, then on the
// other), with no thread, no descriptor and no clock of the link's own.
std::pair<std::unique_ptr<Link>, std::unique_ptr<Link>> MakeInprocPair(const std::string& description);

}  // namespace ipcrpc

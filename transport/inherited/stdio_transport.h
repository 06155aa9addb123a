// The scheme `stdio:`: a stream over standard input and standard output, to whoever started this program with exec:,
// ssh or inetd. A program's --stdio is --listen stdio:.
//
// What else reads or prints in this process must not get into the stream: the descriptors 0 and 1 move away, and
// from then on 0 is /dev/null and 1 is what 2 is (/dev/null where that is closed). It is not undone.
//
// The peer is who started this process, as far as one can tell: getppid(), and nobody vouches for it.
#pragma once

#include "transport/scheme.h"

namespace ipcrpc {

const Scheme& StdioScheme();

}  // namespace ipcrpc

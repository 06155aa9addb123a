#!/bin/bash
# swap_test.sh ADDRESS EXPECTED SERVER CLIENT: what the same client and server say to each other, whichever library they were
# built with. "DIR" in the address stands for a directory of the test's own.
set -euo pipefail
dir=$(mktemp -d "${TMPDIR:-/tmp}/ipcrpc-swap.XXXXXX")
export IPCRPC_RUNTIME_DIR=$dir
trap 'kill "${pid:-}" 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
address=${1/DIR/$dir}
"$3" "$address" &
pid=$!
diff <("$4" "$address") "$2" || { echo "over $address the client printed other than $2"; exit 1; }

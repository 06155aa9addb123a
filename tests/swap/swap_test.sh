#!/bin/bash
# swap_test.sh ADDRESS SERVER CLIENT: what the same client and server say to each other, whichever library they were built
# with. "DIR" in the address stands for a directory of the test's own.
set -euo pipefail
dir=$(mktemp -d "${TMPDIR:-/tmp}/ipcrpc-swap.XXXXXX")
export IPCRPC_RUNTIME_DIR=$dir
trap 'kill "${pid:-}" 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
address=${1/DIR/$dir}
"$2" "$address" &
pid=$!
said=$("$3" "$address")
expected="Hello world
greeter: polite
Hello moon
Hello sun
Hello stars
11: nobody is left"
[[ $said == "$expected" ]] || { printf 'over %s the client printed:\n%s\n' "$address" "$said"; exit 1; }

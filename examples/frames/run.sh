#!/bin/bash
# run.sh SERVER CLIENT: frames are measured where they lie, and where a transport can only copy them the answers are the same.
set -euo pipefail
dir=$(mktemp -d "${TMPDIR:-/tmp}/ipcrpc-frames.XXXXXX")
export IPCRPC_RUNTIME_DIR=$dir
trap 'kill "${pid:-}" 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
expected="frame 0: 0.0
frame 1: 1.0
frame 2: 2.0"
for address in shm:meter 'shm:meter?trust=peer' 'unix:meter?trust=peer' fifo:meter; do
  "$1" "$address" &
  pid=$!
  said=$("$2" 3 "${address%%\?*}" 2>&1) || true
  [[ $said == "$expected" ]] || { printf 'over %s the client printed:\n%s\n' "$address" "$said"; exit 1; }
  kill "$pid"
  wait "$pid" 2> /dev/null || true
  printf '%s:\n%s\n' "$address" "$said"
done

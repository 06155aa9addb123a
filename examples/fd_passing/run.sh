#!/bin/bash
# run.sh SERVER CLIENT: a file and a pipe change hands over each transport that passes them, and the client is told where none can.
set -euo pipefail
dir=$(mktemp -d "${TMPDIR:-/tmp}/ipcrpc-fds.XXXXXX")
export IPCRPC_RUNTIME_DIR=$dir
trap 'kill "${pid:-}" 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
printf 'one\ntwo\nthree\n' > "$dir/text"
expected="3 lines
1 one
2 two
3 three"
for address in shm:numberer unix:numberer fifo:numberer; do
  "$1" "$address" &
  pid=$!
  said=$("$2" "$dir/text" "$address" 2>&1) || true
  case $address in
    fifo:*) [[ $said == *"file descriptors cannot go over fifo:"* ]] ;;
    *) [[ $said == "$expected" ]] ;;
  esac || { printf 'over %s the client printed:\n%s\n' "$address" "$said"; exit 1; }
  kill "$pid"
  wait "$pid" 2> /dev/null || true
  printf '%s:\n%s\n' "$address" "$said"
done

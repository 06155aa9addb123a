#!/bin/bash
# run.sh SERVER CLIENT: the client is told all about the trail over each transport.
set -euo pipefail
dir=$(mktemp -d "${TMPDIR:-/tmp}/ipcrpc-trail.XXXXXX")
export IPCRPC_RUNTIME_DIR=$dir
trap 'kill "${pid:-}" 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
expected="here: old oak
in the area: spring
in the area: old oak
walked: 1500 m by 4 points, past 3 spots
left before: muddy
left before: muddy
left before: still muddy"
for address in shm:trail unix:trail; do
  "$1" "$address" &
  pid=$!
  said=$("$2" "$address")
  [[ $said == "$expected" ]] || { printf 'over %s the client printed:\n%s\n' "$address" "$said"; exit 1; }
  kill "$pid"
  wait "$pid" 2> /dev/null || true
  printf '%s:\n%s\n' "$address" "$said"
done

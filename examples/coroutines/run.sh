#!/bin/bash
# run.sh SERVER CLIENT: the client dines over each transport.
set -euo pipefail
dir=$(mktemp -d "${TMPDIR:-/tmp}/ipcrpc-kitchen.XXXXXX")
export IPCRPC_RUNTIME_DIR=$dir
trap 'kill "${pid:-}" 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
expected="soup in 4 minutes, risotto in 7
1. soup
2. risotto
dinner: good
1. soup
dare: the cook has no licence"
for address in shm:kitchen unix:kitchen; do
  "$1" "$address" &
  pid=$!
  said=$("$2" "$address")
  [[ $said == "$expected" ]] || { printf 'over %s the client printed:\n%s\n' "$address" "$said"; exit 1; }
  kill "$pid"
  wait "$pid" 2> /dev/null || true
  printf '%s:\n%s\n' "$address" "$said"
done

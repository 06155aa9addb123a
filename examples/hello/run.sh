#!/bin/bash
# run.sh SERVER CLIENT: the client is greeted over each transport.
set -euo pipefail
dir=$(mktemp -d "${TMPDIR:-/tmp}/ipcrpc-hello.XXXXXX")
export IPCRPC_RUNTIME_DIR=$dir
trap 'kill "${pid:-}" 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
for address in shm:hello unix:hello; do
  "$1" "$address" &
  pid=$!
  said=$("$2" world "$address")
  [[ $said == "Hello, world" ]] || { echo "over $address the client printed: $said"; exit 1; }
  kill "$pid"
  wait "$pid" 2> /dev/null || true
  echo "$address: $said"
done

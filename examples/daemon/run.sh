#!/bin/bash
# run.sh THERMOMETERD IPCRPC: the daemon is started, read, reloaded, and stopped; a second one and one without a thermometer refuse.
set -euo pipefail
dir=$(mktemp -d "${TMPDIR:-/tmp}/ipcrpc-daemon.XXXXXX")
export IPCRPC_RUNTIME_DIR=$dir
trap 'kill "${pid:-}" 2> /dev/null || true; wait; rm -rf "$dir"' EXIT

fail() { echo "$*"; cat "$dir/log"; exit 1; }
# says TEXT: waits until the daemon has said it.
says() {
  for _ in {1..1000}; do
    if grep -qF "$1" "$dir/log"; then return; fi
    sleep 0.01
  done
  fail "the daemon did not say: $1"
}
# refuses TEXT ARGUMENT…: one started with these arguments does not start, and says why.
refuses() {
  local text=$1 code=0 said
  shift
  said=$("$daemon" "$@" 2>&1) || code=$?
  [[ $code == 1 && $said == "thermometerd: cannot start: "*"$text"* ]] || fail "with $* it ended with $code: $said"
}

daemon=$1
touch "$dir/log"
refuses "has no temperature" "$dir/none" unix:another
echo 21500 > "$dir/temp"
"$daemon" "$dir/temp" shm:thermometer 2> "$dir/log" &
pid=$!
says "listening on shm:thermometer"
read=$("$2" call shm:thermometer thermometer.Thermometer/Read)
[[ $read == *21.5* ]] || fail "the thermometer says: $read"
refuses "pid $pid" "$dir/temp" unix:another

kill -HUP "$pid"
says "reloaded"
rm "$dir/temp"
kill -HUP "$pid"
says "cannot reload: $dir/temp has no temperature"
kill "$pid"
wait "$pid" || fail "it ended with $?"
pid=
echo "read 21.5 degrees; reloaded; stopped"

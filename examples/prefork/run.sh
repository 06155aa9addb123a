#!/bin/bash
# run.sh SUMD IPCRPC: calls are added by workers; one that crashes is replaced, and the other one goes on.
set -euo pipefail
dir=$(mktemp -d "${TMPDIR:-/tmp}/ipcrpc-prefork.XXXXXX")
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
# add JSON
add() { "$ipcrpc" call shm:sum sum.Sum/Add -d "$1" 2>&1; }

ipcrpc=$2
touch "$dir/log"
"$1" shm:sum 2 2> "$dir/log" &
pid=$!
says "listening on shm:sum"
total=$(add '{"number": [1, 2, 39]}')
[[ $total == *42* ]] || fail "the total is: $total"
listed=$("$ipcrpc" list shm:sum)
[[ $listed == *sum.Sum* ]] || fail "the services are: $listed"

if lost=$(add '{}'); then fail "nothing was added to: $lost"; fi
[[ $lost == *"adder-"*" was ended by signal 6 (Aborted)"* ]] || fail "the lost call says: $lost"
total=$(add '{"number": [20, 1]}')
[[ $total == *21* ]] || fail "after a crash the total is: $total"
says "was ended by signal 6 (Aborted)"
kill "$pid"
wait "$pid" || fail "it ended with $?"
pid=
says "adder-2 was stopped"
echo "added; one worker crashed; added; stopped"

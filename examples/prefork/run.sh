#!/bin/bash
# run.sh SUMD IPCRPC: calls are added by workers; one that crashes is replaced, and the other one goes on.
source "$(dirname "$0")/../says.sh"

# add JSON
add() { "$ipcrpc" call shm:sum sum.Sum/Add -d "$1" 2>&1; }

ipcrpc=$2
"$1" shm:sum 2 2> "$dir/daemon.log" &
pid=$!
says daemon.log "listening on shm:sum"
total=$(add '{"number": [1, 2, 39]}')
[[ $total == *42* ]] || fail "the total is: $total"
listed=$("$ipcrpc" list shm:sum)
[[ $listed == *sum.Sum* ]] || fail "the services are: $listed"

if lost=$(add '{}'); then fail "nothing was added to: $lost"; fi
[[ $lost == *"adder-"*" was ended by signal 6 (Aborted)"* ]] || fail "the lost call says: $lost"
total=$(add '{"number": [20, 1]}')
[[ $total == *21* ]] || fail "after a crash the total is: $total"
says daemon.log "was ended by signal 6 (Aborted)"
kill "$pid"
wait "$pid" || fail "it ended with $?"
pid=
says daemon.log "adder-2 was stopped"
echo "added; one worker crashed; added; stopped"

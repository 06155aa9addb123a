#!/bin/bash
# run.sh THERMOMETERD IPCRPC: the daemon is started, read, reloaded, and stopped; a second one and one without a thermometer refuse.
source "$(dirname "$0")/../says.sh"

# refuses TEXT ARGUMENT…: one started with these arguments does not start, and says why.
refuses() {
  local text=$1 code=0 said
  shift
  said=$("$daemon" "$@" 2>&1) || code=$?
  [[ $code == 1 && $said == "thermometerd: cannot start: "*"$text"* ]] || fail "with $* it ended with $code: $said"
}

daemon=$1
refuses "has no temperature" "$dir/none" unix:another
echo 21500 > "$dir/temp"
"$daemon" "$dir/temp" shm:thermometer 2> "$dir/daemon.log" &
pid=$!
says daemon.log "listening on shm:thermometer"
read=$("$2" call shm:thermometer thermometer.Thermometer/Read)
[[ $read == *21.5* ]] || fail "the thermometer says: $read"
refuses "pid $pid" "$dir/temp" unix:another

kill -HUP "$pid"
says daemon.log "reloaded"
rm "$dir/temp"
kill -HUP "$pid"
says daemon.log "cannot reload: $dir/temp has no temperature"
kill "$pid"
wait "$pid" || fail "it ended with $?"
pid=
echo "read 21.5 degrees; reloaded; stopped"

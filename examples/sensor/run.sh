#!/bin/bash
# run.sh SENSORD READER IPCRPC: readers sleep until the sensor's next reading, by name and by address; and are told when it was killed.
source "$(dirname "$0")/../says.sh"
sensord=$1 reader=$2 ipcrpc=$3
trap 'kill -9 "${pid:-}" "${reading:-}" 2> /dev/null || true; wait 2> /dev/null; "$ipcrpc" doctor --clean --runtime-dir "$dir/run" > /dev/null || true; rm -rf "$dir"' EXIT

set_temperature() { echo "$1" > "$dir/temp.new" && mv "$dir/temp.new" "$dir/temp"; }
# start PLACE ADDRESS
start() {
  set_temperature 21500
  rm -f "$dir/sensord.log"  # what the one before has said
  "$sensord" "$dir/temp" "$1" "$2" 2> "$dir/sensord.log" &
  pid=$!
  says "sensord.log" "listening on $2"
  says "sensord.log" "the first reading is published"
}
# follows WHERE: a reader of two readings, of which the second has not happened yet.
follows() {
  : > "$dir/reader.log"
  "$reader" "$1" 2 > "$dir/reader.log" 2>&1 &
  reading=$!
  says "reader.log" "21.5 degrees, from 21.5 to 21.5"
  set_temperature 23000
  wait "$reading" || fail "reading $1 it ended with $?"
  says "reader.log" "23.0 degrees, from 21.5 to 23.0"
}

for case in "sensor sensor" "sensor?home=posix sensor" "sensor?home=sysv sensor" \
            "sensor shm:sensor" "sensor?home=memfd shm:sensor" "sensor?home=memfd fifo:sensor"; do
  read -r place where <<< "$case"
  address=shm:sensor
  [[ $where == *:* ]] && address=$where
  start "$place" "$address"
  follows "$where"
  if [[ $place != *memfd ]]; then
    [[ $("$ipcrpc" snapshot --compact sensor) == *'"celsius":23'* ]] || fail "ipcrpc snapshot shows something else"
  fi
  kill "$pid"
  wait "$pid" || fail "the sensor ended with $?"
  [[ -z $(ls "$dir/run") ]] || fail "the sensor left $(ls "$dir/run")"
  echo "$place, read as $where: 21.5, then 23.0"
done

start "sensor?home=sysv" shm:sensor
"$reader" sensor > "$dir/reader.log" 2>&1 &
reading=$!
says "reader.log" "21.5"
kill -9 "$pid"
code=0
wait "$reading" || code=$?
[[ $code == 3 ]] || fail "the reader of a dead sensor ended with $code"
says "reader.log" "is dead: pid $pid"
cleaned=$("$ipcrpc" doctor --clean --runtime-dir "$dir/run")
[[ $cleaned == *"removed memory System V shared memory with key"* && $cleaned == *"removed snap"* ]] || fail "doctor cleaned: $cleaned"
[[ -z $(ls "$dir/run") ]] || fail "doctor left $(ls "$dir/run")"
echo "killed: its reader was told, and doctor removed what was left"

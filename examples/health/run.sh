#!/bin/bash
# run.sh SERVER CLIENT: the client hears of each change, and lines wait while there is no directory, or no server, to keep them.
set -euo pipefail
dir=$(mktemp -d "${TMPDIR:-/tmp}/ipcrpc-health.XXXXXX")
export IPCRPC_RUNTIME_DIR=$dir
trap 'kill ${server:-} ${client:-} 2> /dev/null || true; wait; rm -rf "$dir"' EXIT
work=$dir/work

# Until the client has printed this last, 20 s at most.
await() {
  for ((i = 0; i < 400; ++i)); do
    [[ $(tail -n 1 "$dir/said") == "$1" ]] && return
    sleep 0.05
  done
  printf 'over %s the client did not print "%s":\n' "$address" "$1"
  cat "$dir/said"
  exit 1
}

mkfifo "$dir/lines"
: > "$dir/said"
for address in shm:spool unix:spool; do
  mkdir "$work"
  "$1" "$work" "$address" 3>&- &
  server=$!
  "$2" "$address" < "$dir/lines" > "$dir/said" &
  client=$!
  exec 3> "$dir/lines"
  await "health: SERVING"
  echo one >&3
  await "one: 1"
  rm -r "$work"
  await "health: NOT_SERVING"
  echo two >&3
  mkdir "$work"
  await "two: 2"
  kill "$server"
  wait "$server" 2> /dev/null || true
  await "health: gone"
  echo three >&3
  "$1" "$work" "$address" 3>&- &
  server=$!
  await "three: 1"
  exec 3>&-
  wait "$client"
  kill "$server"
  wait "$server" 2> /dev/null || true
  printf '%s:\n%s\n' "$address" "$(cat "$dir/said")"
  diff - "$dir/said" << END
health: SERVING
one: 1
health: NOT_SERVING
health: SERVING
two: 2
health: gone
health: SERVING
three: 1
END
  [[ $(cat "$work/1") == three && $(cat "$work/2") == two ]]
  rm -r "$work"
done

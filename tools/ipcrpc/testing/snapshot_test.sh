#!/bin/bash
# snapshot_test.sh IPCRPC FIXTURE_PUBLISHER: what a user of `ipcrpc snapshot` sees.
set -uo pipefail
ipcrpc=$1 publisher=$2

dir=$(mktemp -d)
export IPCRPC_RUNTIME_DIR=$dir/run
unset IPCRPC_ADDRESS XDG_RUNTIME_DIR
mkdir -m 700 "$dir/run"
started=()
finish() {
  kill "${started[@]}" 2>/dev/null
  wait
  rm -rf "$dir"
}
trap finish EXIT

failures=0
fail() {
  printf 'FAIL: %s\n' "$*" >&2
  failures=$((failures + 1))
}

# start PLACE: a publisher whose pid is in $pid; publish TEXT makes it publish.
start() {
  coproc PUBLISHER { exec "$publisher" "$1"; }
  pid=$PUBLISHER_PID
  exec {to}>&"${PUBLISHER[1]}" {from}<&"${PUBLISHER[0]}"
  eval "exec ${PUBLISHER[1]}>&- ${PUBLISHER[0]}<&-"
  started+=("$pid")
}
publish() {
  local said
  printf '%s\n' "$1" >&"$to"
  read -r -t 20 -u "$from" said
  [[ $said == published ]] || fail "publishing '$1': $said"
}
stop() {  # SIGNAL or nothing
  [[ -z ${1:-} ]] || kill "-$1" "$pid"
  exec {to}>&-
  wait "$pid" 2>/dev/null
  exec {from}<&-
}

run() {  # ARGUMENTS…: sets out, err, code
  out=$("$ipcrpc" snapshot "$@" 2>"$dir/stderr")
  code=$?
  err=$(<"$dir/stderr")
}
gives() {  # EXPECTED_OUTPUT ARGUMENTS…
  local expected=$1
  shift
  run "$@"
  [[ $code == 0 && -z $err && $out == "$expected" ]] ||
    fail "ipcrpc snapshot $*"$'\n'"  code $code, stderr: $err"$'\n'"  stdout:   $out"$'\n'"  expected: $expected"
}
fails() {  # CODE EXPECTED_ERROR ARGUMENTS…: one line on stderr that has the text
  local expected_code=$1 expected=$2
  shift 2
  run "$@"
  [[ $code == "$expected_code" && $err == "ipcrpc: "*"$expected"* && $err != *$'\n'* ]] ||
    fail "ipcrpc snapshot $*"$'\n'"  code $code (expected $expected_code), stdout: $out"$'\n'"  stderr:   $err"$'\n'"  expected: $expected"
}

one='{"text":"one","colour":"COLOUR_RED","nested":{"a-zero":0}}'
two='{"text":"two","colour":"COLOUR_RED","nested":{"a-zero":0}}'
pretty=$'{\n "text": "one",\n "colour": "COLOUR_RED",\n "nested": {\n  "a-zero": 0\n }\n}'

fails 1 "no such snapshot: $dir/run/state.snap does not exist; /run/ipcrpc/state.snap does not exist" state
start state
publish one
gives "$pretty" state
gives "$one" state --compact
gives "$one" "$dir/run/state.snap" --compact
gives "$one" "state?uid=$(id -u)" --compact
publish two
gives "$two" state --compact
run
[[ $code == 0 && $'\n'$out$'\n' == *$'\n'state$'\n'* ]] || fail "the list of names: $out $err"

# watching: from the state now to the end of the writer
mkfifo "$dir/watched"
"$ipcrpc" snapshot state --watch >"$dir/watched" 2>"$dir/watch.err" &
watcher=$!
started+=("$watcher")
exec {watched}<"$dir/watched"
sees() {
  local line
  read -r -t 20 -u "$watched" line
  [[ $line == "$1" ]] || fail "watching: saw '$line', expected '$1'"
}
sees "$two"
publish one
sees "$one"
long=$(printf 'x%.0s' {1..20000})  # a larger file in the place of the first
publish "$long"
sees "{\"text\":\"$long\",\"colour\":\"COLOUR_RED\",\"nested\":{\"a-zero\":0}}"
publish two
sees "$two"
stop
wait "$watcher"
code=$?
[[ $code == 3 && $(<"$dir/watch.err") == "ipcrpc: $dir/run/state.snap: its writer has stopped" ]] ||
  fail "the end of watching: code $code, $(<"$dir/watch.err")"
exec {watched}<&-
fails 1 "no such snapshot" state
[[ -z $(ls -A "$dir/run") ]] || fail "left behind: $(ls -A "$dir/run")"

# a writer that dies
start state
publish one
stop KILL
fails 3 "$dir/run/state.snap is stale: its writer, pid $pid, is dead, last heard of" state --compact
[[ $out == "$one" ]] || fail "what a dead writer left: $out"
fails 0 "is dead" state --compact --stale-ok
[[ $out == "$one" ]] || fail "what a dead writer left, --stale-ok: $out"
fails 3 "is dead" state --watch
[[ $out == "$one" ]] || fail "what a dead writer left, --watch: $out"
start state
publish two
gives "$two" state --compact

# what is wrong
fails 1 "did you mean 'state'?" stat
fails 1 "expected a name" shm:state
fails 1 "/etc/passwd" /etc/passwd
fails 1 "not a regular file" "$dir/run"
fails 2 "what to watch?" --watch
fails 2 "--nonsense" state --nonsense
cp "$dir/run/state.snap" "$dir/short.snap"
truncate -s 5000 "$dir/short.snap"
fails 1 "has 5000 bytes where its header says" "$dir/short.snap"
stop

if ((failures)); then
  echo "$failures failures" >&2
  exit 1
fi

#!/bin/bash
# cli_test.sh IPCRPC FIXTURE_SERVER SCHEME: what a user of `ipcrpc` sees (output, errors, exit codes), against a real
# server over that scheme.
set -uo pipefail
ipcrpc=$1 server=$2 scheme=$3

dir=$(mktemp -d)
export IPCRPC_RUNTIME_DIR=$dir
unset IPCRPC_ADDRESS
servers=()
finish() {
  kill "${servers[@]}" 2>/dev/null
  wait
  rm -rf "$dir"
}
trap finish EXIT

start() {  # NAME ARGUMENTS…: a server at $scheme:NAME, ready
  local name=$1 ready
  shift
  mkfifo "$dir/$name.ready"
  "$server" "$scheme:$name" "$@" >"$dir/$name.ready" &
  servers+=($!)
  read -r -t 20 ready <"$dir/$name.ready"
  if [[ $ready != ready ]]; then
    echo "FAIL: the server at $scheme:$name did not start" >&2
    exit 1
  fi
}

failures=0
fail() {
  printf 'FAIL: %s\n' "$*" >&2
  failures=$((failures + 1))
}

run() {  # ARGUMENTS…: sets out, err, code; stdin is the caller's
  out=$("$ipcrpc" "$@" 2>"$dir/stderr")
  code=$?
  err=$(<"$dir/stderr")
}

gives() {  # EXPECTED_OUTPUT ARGUMENTS…: succeeds with exactly that on stdout, and nothing on stderr
  local expected=$1
  shift
  run "$@"
  [[ $code == 0 && -z $err && $out == "$expected" ]] ||
    fail "ipcrpc $*"$'\n'"  code $code, stderr: $err"$'\n'"  stdout:   $out"$'\n'"  expected: $expected"
}

fails() {  # CODE EXPECTED_ERROR ARGUMENTS…: that exit code, and one line on stderr that is exactly, or has, the text
  local expected_code=$1 expected=$2
  shift 2
  run "$@"
  [[ $code == "$expected_code" && $err == "ipcrpc: "*"$expected"* && $err != *$'\n'* && -z $out ]] ||
    fail "ipcrpc $*"$'\n'"  code $code (expected $expected_code), stdout: $out"$'\n'"  stderr:   $err"$'\n'"  expected: $expected"
}

start main
a=$scheme:main
s=fixture.v1.Fixture

# transports and status
run transports
[[ $code == 0 && $out == "SCHEME"* && $out == *$'\n'"$scheme "* ]] || fail "transports: $out"
# Which of them pass file descriptors: the fifth column.
passing=$(awk '$5 == "yes" { print $1 }' <<< "$out" | sort | tr '\n' ' ')
[[ $passing == "inproc shm socketpair unix " ]] || fail "transports pass descriptors: $passing"
run status "$a"
[[ $code == 0 && -z $err && $out == "address    $a"$'\n'"transport  $scheme:"*$'\n'"peer       pid "*$'\n'"connected  in "*" ms" ]] ||
  fail "status: code $code, $err, $out"
run status "$scheme:nobody"
[[ $code == 1 && $err == "ipcrpc: "*"cannot reach $scheme:nobody"* && $out == "address    $scheme:nobody" ]] ||
  fail "status of nobody: code $code, $err, $out"
run status main
[[ $code == 0 && $out == *$'\n'"transport  $scheme:"* ]] || fail "status of a bare name: code $code, $err, $out"
fails 2 "one address is enough" status "$a" "$a"

# doctor: what a killed server leaves, and nothing of the living one
gives 'nothing was left behind' doctor --runtime-dir "$dir"
start victim
kill -9 "${servers[-1]}"
wait "${servers[-1]}" 2>/dev/null
run doctor --runtime-dir "$dir"
[[ $code == 0 && $out == *"$dir/victim."* && $out != *"$dir/main."* && $out == *" is gone"* ]] || fail "doctor: code $code, $err, $out"
run doctor --clean --runtime-dir "$dir"
[[ $code == 0 && $out == *"removed "*"$dir/victim."* && $out != *"$dir/main."* ]] || fail "doctor --clean: code $code, $err, $out"
gives 'nothing was left behind' doctor --runtime-dir "$dir"
[[ -z $(ls "$dir" | grep '^victim\.\(sock\|shm\|lock\|fifo\|mqueue\|sysvmq\)') ]] || fail "doctor left: $(ls "$dir")"

# list
gives $'fixture.v1.Fixture\ngrpc.reflection.v1.ServerReflection\ngrpc.reflection.v1alpha.ServerReflection' list "$a"
gives "$s/Echo
$s/Fail
$s/Count
$s/Sum
$s/Chat
$s/Hang" list "$a" $s
run list -l "$a" $s
[[ $out == *"$s/Chat(stream fixture.v1.EchoRequest) returns (stream fixture.v1.EchoResponse)"* ]] || fail "list -l: $out"
fails 1 "no service 'fixture.v1.Fixtur' at $a; did you mean '$s'?" list "$a" fixture.v1.Fixtur
IPCRPC_ADDRESS=$a gives "grpc.reflection.v1.ServerReflection/ServerReflectionInfo" list grpc.reflection.v1.ServerReflection
fails 2 "no address: give ADDR or set IPCRPC_ADDRESS" list

# describe
gives 'message CountRequest {
  int32 count = 1;
}' describe "$a" fixture.v1.CountRequest
IPCRPC_ADDRESS=$a gives 'enum Colour {
  COLOUR_UNSPECIFIED = 0;
  COLOUR_RED = 1;
}' describe fixture.v1.Colour
run describe "$a" $s/Echo
[[ $out == "rpc Echo("*"message EchoRequest {"*"message EchoResponse {"* ]] || fail "describe of a method: $out"
[[ $out == *"ipcrpc.allow) = {"*"same_user: true"* ]] || fail "describe does not tell who may call: $out"
fails 1 "no symbol 'fixture.v1.EchoReqest' at $a; did you mean 'fixture.v1.EchoRequest'?" describe "$a" fixture.v1.EchoReqest
fails 2 "SYMBOL is missing" describe "$a"

# call, one message each way
gives '{}' call "$a" $s/Echo
gives '{
 "text": "hi",
 "colour": "COLOUR_RED",
 "nested": {
  "a-zero": 0
 }
}' call "$a" $s/Echo -d '{"text":"hi","colour":"COLOUR_RED","nested":{"a-zero":0}}'
gives '{"text":"hi"}' call --compact "$a" /$s/Echo -d '{"text":"hi"}'
IPCRPC_ADDRESS=$a gives '{"text":"hi"}' call $s/Echo --compact -d '{"text":"hi"}'
echo '{"text":"from a file"}' >"$dir/request.json"
gives '{"text":"from a file"}' call --compact "$a" $s/Echo -d "@$dir/request.json"
gives '{"text":"from a pipe"}' call --compact "$a" $s/Echo -d @- <<<'{"text":"from a pipe"}'
gives '{"metadata":{"x-key":"a: b"}}' call --compact "$a" $s/Echo -H 'X-Key: a: b'
gives '{"metadata":{"x-bytes-bin":"!"}}' call --compact "$a" $s/Echo -H 'x-bytes-bin: IQ=='
run call --compact "$a" $s/Echo -d '{"padBytes": 20000000}'
[[ $code == 0 && ${#out} == 20000011 ]] || fail "20 MB: code $code, ${#out} bytes, $err"

# call, streams
gives $'{"number":1}\n{"number":2}\n{"number":3}' call "$a" $s/Count -d '{"count":3}'
gives '' call "$a" $s/Count
gives '{"number":6}' call --compact "$a" $s/Sum -d '{"count":1}{"count":2} {"count":3}'
gives '{}' call "$a" $s/Sum
gives $'{"text":"a"}\n{"text":"b"}' call "$a" $s/Chat -d '{"text":"a"} {"text":"b"}'
gives '' call "$a" $s/Chat

# each answer as it arrives, to each request as it is typed
mkfifo "$dir/in" "$dir/out"
"$ipcrpc" call "$a" $s/Chat -d @- <"$dir/in" >"$dir/out" 2>"$dir/chat.err" &
chat=$!
exec 8>"$dir/in" 9<"$dir/out"
for text in one two; do
  echo "{\"text\":\"$text\"}" >&8
  read -r -t 20 line <&9
  [[ $line == "{\"text\":\"$text\"}" ]] || fail "chat: '$line' for $text"
done
# The server ends the call while more input may come.
echo '{"text":"end"}' >&8
wait $chat
[[ $? == 74 && $(<"$dir/chat.err") == "ipcrpc: ABORTED: as you wish" ]] || fail "chat's end: $(<"$dir/chat.err")"
exec 8>&- 9<&-

# calls that fail
fails 69 "NOT_FOUND: not here" call "$a" $s/Fail -d '{"code":5,"message":"not here"}'
fails 71 'PERMISSION_DENIED: two\nlines' call "$a" $s/Fail -d '{"code":7,"message":"two\nlines"}'
fails 78 "UNAVAILABLE" call "$a" $s/Fail -d '{"code":14}'
fails 75 "OUT_OF_RANGE: cannot count down" call "$a" $s/Count -d '{"count":-1}'
fails 68 "DEADLINE_EXCEEDED" call "$a" $s/Hang --timeout=300ms

# what is wrong, in one line
fails 1 "no method 'Ecko' in $s; did you mean 'Echo'?" call "$a" $s/Ecko
fails 1 "no service 'fixture.v2.Fixture' at $a; did you mean '$s'?" call "$a" fixture.v2.Fixture/Echo
fails 1 "fixture.v1.EchoRequest has no field 'txt'; did you mean 'text'?" call "$a" $s/Echo -d '{"txt":1}'
fails 1 "did you mean 'COLOUR_RED'?" call "$a" $s/Echo -d '{"colour":"COLOR_RED"}'
fails 1 "bad JSON" call "$a" $s/Echo -d '{"text":'
fails 1 "takes one message" call "$a" $s/Echo -d '{}{}'
fails 1 "message 2: bad JSON" call "$a" $s/Sum -d '{} {"cuont":1}'
fails 1 "cannot read $dir/nothing: No such file" call "$a" $s/Echo -d "@$dir/nothing"
fails 1 "$scheme:nobody" call $scheme:nobody $s/Echo
fails 1 "did you mean '$scheme'?" call "${scheme}x:main" $s/Echo
fails 2 "looks like pkg.Service/Method" call "$a" $s
fails 2 "METHOD is missing" call
fails 2 "'key: value'" call "$a" $s/Echo -H novalue
fails 2 "base64" call "$a" $s/Echo -H 'x-bin: ***'
fails 2 "--timeout=soon is no duration" call "$a" $s/Echo --timeout=soon
fails 2 "no command 'lst'; did you mean 'list'?" lst
fails 2 "--nonsense" call "$a" $s/Echo --nonsense
fails 2 "which command?"

# a terminal isn't waited for
said=$(script -qec "'$ipcrpc' call '$a' $s/Echo -d @-" /dev/null </dev/null)
[[ $? == 2 && $said == *"standard input, which is a terminal"* ]] || fail "on a terminal: $said"

# a server that cannot be asked
start silent no-reflection
fails 1 "has no reflection service" list $scheme:silent

# a server that is gone
kill -9 "${servers[0]}"
wait "${servers[0]}" 2>/dev/null
fails 1 "$a" list "$a"

if ((failures)); then
  echo "$failures failures" >&2
  exit 1
fi

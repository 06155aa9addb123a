#!/bin/bash
# units_test.sh UNIT_DIR MONITORD IPCRPC: the units are right in systemd's own eyes, the sandbox allows what the monitor does, and it serves
# at the sockets of its socket unit.
set -euo pipefail
units=$1 monitord=$2 ipcrpc=$3
dir=$(mktemp -d "${TMPDIR:-/tmp}/ipcrpc-units.XXXXXX")
pid=
trap 'kill $pid 2> /dev/null || true; wait; rm -rf "$dir"' EXIT

fail() { echo "$*"; exit 1; }
for program in systemd-analyze systemd-socket-activate setpriv strace; do
  command -v "$program" > /dev/null || fail "needs $program"
done

# The daemon as it was built, in place of the one to be installed.
cp "$units"/ipcrpc-monitord.{service,socket} "$dir"
sed -i "s|^ExecStart=ipcrpc-monitord |ExecStart=$monitord |" "$dir/ipcrpc-monitord.service"
grep -q "^ExecStart=$monitord " "$dir/ipcrpc-monitord.service" || fail "the unit does not start ipcrpc-monitord"

# ---- what systemd says of them ----
verify() { systemd-analyze verify --man=no "$1"/ipcrpc-monitord.{service,socket} 2>&1 || echo "it fails"; }
said=$(verify "$dir")
[[ -z $said ]] || fail "systemd-analyze verify: $said"
mkdir "$dir/wrong"
cp "$dir"/ipcrpc-monitord.* "$dir/wrong"
sed -i 's/^WatchdogSec=.*/WatchdogSec=often/' "$dir/wrong/ipcrpc-monitord.service"
[[ $(verify "$dir/wrong") == *"ignoring: often"* ]] || fail "systemd-analyze verify finds nothing wrong with WatchdogSec=often"
systemd-analyze security --offline=true --threshold=40 --no-pager "$dir/ipcrpc-monitord.service" > "$dir/security" ||
  { cat "$dir/security"; fail "it is more exposed than 4.0"; }

# ---- the daemon, started by its sockets ----
export IPCRPC_RUNTIME_DIR=$dir/run
mkdir "$IPCRPC_RUNTIME_DIR"
# unit KEY: its value in the service.
unit() { sed -n "s/^$1=//p" "$dir/ipcrpc-monitord.service"; }
capability=$(unit CapabilityBoundingSet)
confined=(setpriv --no-new-privs)
if ((EUID == 0)); then
  capability=${capability#CAP_}
  confined+=("--bounding-set=-all,+${capability,,}" --inh-caps=-all)
fi
# serve TYPE-FLAG PLACE ADDRESS: one kind of socket a time is what systemd-socket-activate can make.
serve() {
  local flags=() i
  [[ -z $1 ]] || flags=("$1")
  systemd-socket-activate "${flags[@]}" --listen="$2" --fdname=ipcrpc-monitord.socket --setenv=IPCRPC_RUNTIME_DIR \
    "${confined[@]}" strace -D -f -qq -o "$dir/calls" "$monitord" --listen "$3" 2> "$dir/log" &
  pid=$!
  for ((i = 0; i < 500; i++)); do
    [[ ! -S $2 ]] || break
    sleep 0.01
  done
  "$ipcrpc" call "$3" ipcrpc.monitor.v1.NetEvents/List -d '{"kinds": ["LINK"]}' > "$dir/links" || { cat "$dir/log"; fail "no answer at $3"; }
  grep -q '"ifname": *"lo"' "$dir/links" || fail "no loopback at $3: $(< "$dir/links")"
  "$ipcrpc" call "$3" ipcrpc.monitor.v1.SystemStatus/Get > "$dir/status" || { cat "$dir/log"; fail "no status at $3"; }
  "$ipcrpc" snapshot monitor.net > /dev/null || fail "no snapshot"
  kill "$pid"
  wait "$pid" || fail "it ended with $?: $(< "$dir/log")"
  pid=
  [[ -S $2 ]] || fail "the daemon removed $2, which is the socket unit's"
  rm "$2"
  sed -nE 's/^[0-9]+ +([a-z0-9_]+)\(.*/\1/p' "$dir/calls" >> "$dir/made"
}
serve --seqpacket "$IPCRPC_RUNTIME_DIR/monitor.shm" shm:monitor
serve "" "$IPCRPC_RUNTIME_DIR/monitor.sock" unix:monitor

# ---- the system calls that it has made are those that the unit lets it make ----
# allowed WORD…: calls, and those of sets and of the sets in them.
allowed() {
  local word
  for word; do
    if [[ $word != @* ]]; then echo "$word"; continue; fi
    allowed $(systemd-analyze syscall-filter "$word" | sed '1d; s/#.*//')
  done
}
allowed $(unit SystemCallFilter) | sort -u > "$dir/allowed"
[[ -s $dir/made ]] || fail "strace has seen no system call"
refused=$(sort -u "$dir/made" | comm -23 - "$dir/allowed")
[[ -z $refused ]] || fail "the unit does not allow:" $refused
echo "the units are right, and the monitor serves at their sockets"

# For the run.sh of examples that start a daemon: a runtime directory for the run, in $dir, and waiting for what is said there.
# Whoever uses it sets $pid while the daemon runs.
set -euo pipefail
dir=$(mktemp -d "${TMPDIR:-/tmp}/ipcrpc-example.XXXXXX")
mkdir -m 700 "$dir/run"
export IPCRPC_RUNTIME_DIR=$dir/run
trap 'kill "${pid:-}" 2> /dev/null || true; wait; rm -rf "$dir"' EXIT

fail() { echo "$*"; cat "$dir"/*.log; exit 1; }
# says FILE TEXT: waits until somebody has said it there, in $dir.
says() {
  for _ in {1..1000}; do
    if grep -qF "$2" "$dir/$1" 2> /dev/null; then return; fi
    sleep 0.01
  done
  fail "nobody said in $1: $2"
}

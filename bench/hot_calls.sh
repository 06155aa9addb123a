#!/bin/bash
# System calls of hot unary calls over shm:, by strace: RUNS (5) times CALLS (1000000) with server and client on two processors, and
# once on one, for the spin budgets. What is left of each run when the sleeps after a spent spin budget are subtracted, each of
# which is two system calls (the sleep, and the wake that ends it), for each 1,000 calls; the median last.
#
#   bench/hot_calls.sh BUILD_DIRECTORY [RUNS [CALLS]]
set -euo pipefail
program=$1/bin/hot_calls runs=${2:-5} calls=${3:-1000000}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for ((run = 1; run <= runs; ++run)); do
  strace -f -c -o "$scratch/trace" "$program" "$calls" 0 1 | tee "$scratch/out"
  total=$(awk '$NF == "total" { print $4 }' "$scratch/trace")
  spent=$(grep -o 'spent [0-9]*' "$scratch/out" | awk '{ sum += $2 } END { print sum + 0 }')
  awk -v total="$total" -v spent="$spent" -v calls="$calls" -v run="$run" 'BEGIN {
    printf "run %d: %d system calls, %d spent spins, left: %.2f for each 1,000 calls\n", run, total, spent, (total - 2 * spent) * 1000 / calls }' |
    tee -a "$scratch/results"
done
echo "on one processor:"
"$program" "$((calls / 10))" 0 0
echo "median: $(awk '{ for (i = 1; i <= NF; ++i) if ($i == "left:") print $(i + 1) }' "$scratch/results" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }') for each 1,000 calls"

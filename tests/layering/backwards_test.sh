#!/bin/bash
# A backwards include does not build: with the include directories of transport's targets no header of rpc is found,
# while with those of rpc's the same lines build. (Without the second half a misspelt header would pass for proof.)
# usage: backwards_test.sh COMPILER TRANSPORT_DIRECTORIES RPC_DIRECTORIES HEADER…      (directories: a;b;c)
set -euo pipefail
export LC_ALL=C
compiler=$1
transport=$2
rpc=$3
shift 3

# builds DIRECTORIES HEADER
builds() {
  local flags=() dir
  IFS=';' read -ra dirs <<< "$1"
  for dir in "${dirs[@]}"; do flags+=(-I "$dir"); done
  echo "#include \"$2\"" | "$compiler" -std=c++20 -fsyntax-only "${flags[@]}" -x c++ - 2> "$errors"
}

errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
for header; do
  if builds "$transport" "$header"; then
    echo "transport can include \"$header\""
    exit 1
  fi
  grep -q "$header: No such file" "$errors" || { echo "\"$header\" failed in transport, but not for want of it:"; cat "$errors"; exit 1; }
  builds "$rpc" "$header" || { echo "\"$header\" does not build in rpc either, so this proves nothing:"; cat "$errors"; exit 1; }
  echo "\"$header\": not seen from transport, seen from rpc"
done

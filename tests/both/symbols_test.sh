#!/bin/bash
# symbols_test.sh NM GRPC-OBJECTS IPCRPC-OBJECTS (lists separated by ';'): what both generated files define for the service has to
# be different symbols; the linker would keep one of two equal ones, without a word.
set -euo pipefail
export LC_ALL=C
symbols() {
  local -a objects
  IFS=';' read -ra objects <<< "$2"
  "$1" --defined-only --demangle "${objects[@]}" | sed -nE 's/^[0-9a-f]+ [A-Zuv] //p' | grep -E '(both|health::v1)::.*(Echo|Health)\b' | sort -u
}
grpc=$(symbols "$1" "$2")
ipcrpc=$(symbols "$1" "$3")
[[ -n $grpc && -n $ipcrpc ]] || { echo "found no symbols of the services"; exit 1; }
common=$(comm -12 <(echo "$grpc") <(echo "$ipcrpc"))
[[ -z $common ]] || { echo "defined by both:"; echo "$common"; exit 1; }

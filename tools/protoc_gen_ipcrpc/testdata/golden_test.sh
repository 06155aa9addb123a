#!/bin/bash
# golden_test.sh PROTOC PLUGIN TESTDATA PROTO_DIR: generates from every TESTDATA/shapes/*.proto and compares with the *.golden.h
# and *.golden.cc beside it, so that each change of generated code is seen in review. With IPCRPC_UPDATE_GOLDEN=1 it
# writes them instead. Then checks what the plugin refuses.
set -euo pipefail
protoc=$(realpath "$1") plugin=$(realpath "$2") testdata=$3 proto_dir=$(realpath "$4")
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

generate() {  # PARAMETER PROTO…
  local parameter=$1
  shift
  "$protoc" -I. "-I$proto_dir" "--plugin=protoc-gen-ipcrpc=$plugin" "--ipcrpc_out=$parameter:$out" "$@"
}

failed=0
cd "$testdata"
generate "" shapes/*.proto
for proto in shapes/*.proto; do
  base=${proto%.proto}
  for kind in h cc; do
    if [[ ${IPCRPC_UPDATE_GOLDEN:-} ]]; then
      cp "$out/$base.ipcrpc.pb.$kind" "$base.golden.$kind"
    elif ! diff -u --label "$base.golden.$kind" --label generated "$base.golden.$kind" "$out/$base.ipcrpc.pb.$kind"; then
      failed=1
    fi
  done
done
if ((failed)); then
  echo "generated code has changed; if that is meant: IPCRPC_UPDATE_GOLDEN=1 ctest -R protoc_gen_ipcrpc_golden" >&2
fi

refuses() {  # EXPECTED PARAMETER PROTO
  local said
  if said=$(generate "$2" "$3" 2>&1); then
    echo "was not refused: '$2' $3" >&2
    failed=1
  elif [[ $said != *"$1"* ]]; then
    printf 'refused with\n  %s\nwhich does not say: %s\n' "$said" "$1" >&2
    failed=1
  fi
}
refuses "unknown option 'generate_mock_code'" "generate_mock_code=true" shapes/names.proto
refuses "refused.proto: with cc_generic_services" "" refused.proto

exit $failed

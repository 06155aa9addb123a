#!/bin/bash
# Every include of ours follows the layers: transport <- rpc <- services, tools; proto <- rpc, services, tools.
# usage: includes_test.sh SOURCE_ROOT
# Given a second argument "--self-test", checks that it finds a wrong include of each sort.
set -euo pipefail
export LC_ALL=C

# wrong_includes ROOT: prints FILE:LINE: what is wrong, for each wrong include below it.
wrong_includes() {
  (
    cd "$1"
    shopt -s nullglob globstar
    awk '
      BEGIN {
        # Whose folders a layer may name in "LAYER/…". Tools see of rpc what is public, no more.
        may["transport"] = "transport"
        may["rpc"] = "rpc transport proto"
        may["services"] = "services rpc transport proto"
        may["tools"] = "tools services transport proto"
        split("transport rpc proto services tools tests bench examples", names)
        for (i in names) layers[names[i]] = 1
      }
      function allows(layer, other,   list, i, n) {
        n = split(may[layer], list)
        for (i = 1; i <= n; i++) if (list[i] == other) return 1
        return 0
      }
      function complain(what) { printf "%s:%d: %s\n", FILENAME, FNR, what }
      # The public headers of each layer, given first, one per line of a list.
      FILENAME == "-" { owner[substr($0, index($0, "include/") + 8)] = substr($0, 1, index($0, "/") - 1); next }
      /^[ \t]*#[ \t]*include[ \t]*[<"]/ {
        layer = substr(FILENAME, 1, index(FILENAME, "/") - 1)
        if (!(layer in may)) next
        path = $0
        sub(/^[^<"]*/, "", path)
        angle = substr(path, 1, 1) == "<"
        path = substr(path, 2)
        sub(/[>"].*/, "", path)
        first = substr(path, 1, index(path, "/") - 1)

        if (path in owner) {
          if (owner[path] != layer && !allows(layer, owner[path]) && !(layer == "tools" && owner[path] == "rpc"))
            complain(layer " includes <" path ">, which belongs to " owner[path])
        } else if (first in layers && !allows(layer, first)) {
          complain(layer " includes \"" path "\"; it may include: " may[layer] (layer == "tools" ? ", and of rpc <ipcrpc/…>" : ""))
        } else if (!angle && first == "") {
          complain("\"" path "\" names no folder; ours are included as \"LAYER/path.h\"")
        }
        if (layer == "transport" && path ~ /^google\/protobuf\/|\.pb\.h$/)
          complain("transport includes " path "; it knows no protobuf")
        if (FILENAME ~ /^[a-z]+\/include\// && (first in layers || first == "absl" || first == "boost"))
          complain("a public header includes " path "; those use <ipcrpc/…>, the standard library and protobuf alone")
        # importer.h and parser.h are in libprotobuf itself, whatever their folder says.
        if (FILENAME !~ /^tools\/protoc_gen_ipcrpc\// && path ~ /^google\/protobuf\/compiler\// && path !~ /\/(importer|parser)\.h$/)
          complain("libprotoc belongs to protoc-gen-ipcrpc alone")
      }' - {transport,rpc,services,tools}/**/*.{h,cc} \
      < <(printf '%s\n' {transport,rpc,services}/include/**/*.h)
  )
}

root=${1:?usage: includes_test.sh SOURCE_ROOT [--self-test]}

if [[ ${2:-} == --self-test ]]; then
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  # try EXPECTED FILE INCLUDE: EXPECTED is right or wrong.
  try() {
    local found
    rm -rf "$work/tree"
    mkdir -p "$work/tree/"{transport,rpc/include/ipcrpc,services,tools/ipcrpc,tools/protoc_gen_ipcrpc}
    echo "#pragma once" > "$work/tree/rpc/include/ipcrpc/status.h"
    echo "$3" > "$work/tree/$2"
    found=$(wrong_includes "$work/tree")
    if [[ $1 == right && -n $found || $1 == wrong && -z $found ]]; then
      echo "expected $1, found '${found}' for $2: $3"
      exit 1
    fi
  }
  try wrong transport/a.cc '#include "rpc/frame.h"'
  try wrong transport/a.cc '  #  include "ipcrpc/status.h"'
  try wrong transport/a.cc '#include <ipcrpc/status.h>'
  try wrong transport/a.cc '#include <google/protobuf/message.h>'
  try wrong transport/a.cc '#include "address.h"'
  try right transport/a.cc '#include "transport/address.h"'
  try wrong rpc/a.cc '#include "services/daemon/daemon.h"'
  try right rpc/a.cc '#include "transport/address.h"'
  try wrong rpc/a.cc '#include <google/protobuf/compiler/code_generator.h>'
  try right tools/ipcrpc/a_test.cc '#include <google/protobuf/compiler/importer.h>'
  try wrong rpc/include/ipcrpc/a.h '#include "absl/status/status.h"'
  try wrong rpc/include/ipcrpc/a.h '#include "rpc/frame.h"'
  try right rpc/include/ipcrpc/a.h '#include "ipcrpc/status.h"'
  try wrong services/a.cc '#include "tools/ipcrpc/output.h"'
  try right services/a.cc '#include <ipcrpc/status.h>'
  try wrong tools/ipcrpc/a.cc '#include "rpc/frame.h"'
  try right tools/ipcrpc/a.cc '#include <ipcrpc/status.h>'
  try right tools/protoc_gen_ipcrpc/a.cc '#include <google/protobuf/compiler/code_generator.h>'
  echo "finds each sort of wrong include"
  exit 0
fi

wrong=$(wrong_includes "$root")
if [[ -n $wrong ]]; then
  echo "$wrong"
  exit 1
fi
echo "all includes follow the layers"

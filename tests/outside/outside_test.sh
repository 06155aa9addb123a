#!/bin/bash
# Installs a build tree, builds a project against it, moves the installation and runs what was built.
# usage: outside_test.sh CMAKE BUILD_DIR PROJECT COMPILER
set -euo pipefail
cmake=$1
build=$2
project=$3
compiler=$4

work=$(mktemp -d "${TMPDIR:-/tmp}/ipcrpc-outside.XXXXXX")
trap 'rm -rf "$work"' EXIT
export IPCRPC_RUNTIME_DIR=$work/run
mkdir -m 700 "$IPCRPC_RUNTIME_DIR"

"$cmake" --install "$build" --prefix "$work/first" > "$work/install.log" || { cat "$work/install.log"; exit 1; }
# Nothing in it may hold on to where it was installed, or to the tree that it came from.
mv "$work/first" "$work/prefix"
if grep -rIl -e "$build" -e "$work/first" "$work/prefix"; then
  echo "the files above name the build tree or the first prefix"
  exit 1
fi

# A copy, so that no file of this tree is near.
cp -r "$project" "$work/project"
"$cmake" -S "$work/project" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/prefix" \
  -DCMAKE_CXX_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Debug
"$cmake" --build "$work/build" -j 2
"$work/build/greet"
"$work/build/hosted"

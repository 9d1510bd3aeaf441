#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# nccl_overhead.sh PROGRAM: how many instructions a collective costs through shardwise and by hand, counted by callgrind,
# which counts and does not time. The work inside cudaGetDevice, which shardwise asks before each collective, is the
# CUDA runtime's (here the fake's) and has its own column; calling it counts as shardwise's.
# Fails where shardwise adds more than 30 instructions to a call of NCCL, or allocates.
set -euo pipefail
program=$1
if ! command -v valgrind > /dev/null; then
  echo "SKIP: valgrind is not installed"
  exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
valgrind --tool=callgrind --callgrind-out-file="$work/out" "$program" > "$work/counts" 2> "$work/log" ||
  { cat "$work/counts" "$work/log"; exit 1; }
callgrind_annotate --inclusive=yes --tree=calling --threshold=100 "$work/out" > "$work/annotated"

# The instructions of a function and of what it calls: the first number of its line. With a second name, those of that
# function where the first one calls it, itself or through one more function of shardwise.
instructions() {
  awk -v name=":$1\$" -v inside="${2:+:$2 }" '
    { field = $0; sub(/ \[[^\]]*\]$/, "", field); count = $1; gsub(/,/, "", count) }
    / \* / { here = field ~ name; if (here && inside == "") { print count; exit } }
    / > / { if (here && inside != "" && field " " ~ inside) { print count; exit } }' "$work/annotated"
}
# The work of cudaGetDevice is the same in every call of it.
device=$(instructions our_all_reduce 'cudaGetDevice')
failed=0
printf '%-16s %10s %10s %8s %14s %10s %12s\n' \
  "collective" "by hand" "shardwise" "more" "cudaGetDevice" "NCCL calls" "allocations"
while read -r name calls nccl_calls allocations; do
  raw=$(instructions "raw_$name") ours=$(instructions "our_$name")
  if [ -z "$raw" ] || [ -z "$ours" ] || [ -z "$device" ]; then
    echo "callgrind has not seen raw_$name and our_$name"
    exit 1
  fi
  awk -v name="$name" -v raw="$raw" -v ours="$ours" -v device="$device" -v calls="$calls" -v nccl="$nccl_calls" \
    -v allocations="$allocations" 'BEGIN {
      more = (ours - raw) / calls
      printf "%-16s %10.1f %10.1f %8.1f %14.1f %10d %12d\n", name, raw / calls, ours / calls, more, device / calls, nccl,
        allocations
      exit more - device / calls > 30 * nccl || allocations != 0
    }' || failed=1
done < "$work/counts"
[ $failed = 0 ] || echo "more than 30 instructions a call of NCCL, or an allocation"
exit $failed

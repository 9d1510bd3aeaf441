#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What a plan costs the compiler, in milliseconds of processor time, medians: the headers of plan, model, match and
# shard over an empty file, and on top of them a model of 96 distinct parameters with a plan of 36 rules that covers it.
#   tests/bench/compile_time.sh [RUNS] [COMPILER...]      default: 11 runs, those of g++, clang++ and nvcc that are there
set -euo pipefail
include=$(cd "$(dirname "$0")/../../include" && pwd)
runs=${1:-11}
shift || true
compilers=("$@")
if [ ${#compilers[@]} = 0 ]; then
  for c in g++ clang++ nvcc; do if command -v $c > /dev/null; then compilers+=("$c"); fi; done
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

headers='#include "shardwise/match.hpp"
#include "shardwise/model.hpp"
#include "shardwise/plan.hpp"
#include "shardwise/shard.hpp"'

# 12 blocks of 4 linears with weight and bias. Two rules a block, one for a single parameter, and eleven with **, which
# are the dearest to match: more than a real plan has.
program() {
  echo "$headers"
  awk 'function members(type, names, count,   i, s) {
         s = "  static consteval auto shardwise_members() {\n    return sw::members<"
         for (i = 0; i < count; ++i) s = s (i ? ", " : "") "sw::field<&" type "::" names[i] ">"
         return s ">{};\n  }\n};"
       }
       BEGIN {
         print "namespace sw = shardwise;\nstruct tensor {};"
         print "template <>\ninline constexpr bool shardwise::is_parameter<tensor> = true;"
         names[0] = "weight"; names[1] = "bias"
         print "struct linear {\n  tensor weight, bias;\n" members("linear", names, 2)
         for (b = 0; b < 12; ++b) {
           list = ""
           for (l = 0; l < 4; ++l) { names[l] = "proj_" b "_" l; list = list (l ? ", " : "") names[l] }
           print "struct block_" b " {\n  linear " list ";\n" members("block_" b, names, 4)
         }
         print "struct layer {"
         for (b = 0; b < 12; ++b) { names[b] = "self_attention_" b; print "  block_" b " " names[b] ";" }
         print members("layer", names, 12)
         names[0] = "layers"
         print "struct inner {\n  layer layers[4];\n" members("inner", names, 1)
         names[0] = "language_model"
         print "struct model {\n  inner language_model;\n" members("model", names, 1)
         print "inline constexpr auto text = sw::plan({"
         for (b = 0; b < 12; ++b) {
           at = "  {\"layers.*.self_attention_" b ".proj_" b "_"
           print at "{0,2}\", sw::colwise},\n" at "{1,3}\", sw::rowwise},"
         }
         print "  {\"layers.*.self_attention_0.proj_0_0.weight\", sw::colwise.units(\"heads\")},"
         for (b = 1; b < 11; ++b) print "  {\"**.self_attention_" b ".**\", sw::replicate(\"x\")},"
         print "  {\"**\", sw::replicate(\"rest\")},"
         print "});\ninline constexpr auto plan = text.under(\"language_model\");"
         print "static_assert(plan.size() == 36 && sw::schema<model>.parameter_count == 96);"
         print "static_assert(sw::covers<model, plan>);"
       }'
}
: > "$work/empty.cpp"
echo "$headers" > "$work/headers.cpp"
program > "$work/checked.cpp"
for name in empty headers checked; do cp "$work/$name.cpp" "$work/$name.cu"; done

compile() {  # COMPILER NAME
  if [ "$(basename "$1")" = nvcc ]; then
    "$1" -std=c++20 -I"$include" -c "$work/$2.cu" -o "$work/$2.o"
  else
    "$1" -std=c++20 -I"$include" -fsyntax-only "$work/$2.cpp"
  fi
}
# Milliseconds of processor time, which a busy machine stretches less than the clock's.
spent() {  # COMPILER NAME
  local TIMEFORMAT='%U %S'
  { time compile "$1" "$2" 2>&3; } 3>&2 2>&1 | awk '{ printf "%.0f\n", ($1 + $2) * 1000 }'
}
# In rounds, so that a busy moment falls on all three alike; the first fills the file cache.
for c in "${compilers[@]}"; do
  for ((round = 0; round <= runs; ++round)); do
    for name in empty headers checked; do
      t=$(spent "$c" $name)
      if [ $round != 0 ]; then echo "$t" >> "$work/$(basename "$c").$name"; fi
    done
  done
done
median() {  # COMPILER NAME
  sort -n "$work/$(basename "$1").$2" | awk '{ t[NR] = $1 } END { print t[int((NR + 1) / 2)] }'
}

# What each may cost: the headers over an empty file, the check over the headers, both together.
budget() {
  case $(basename "$1") in
    nvcc) echo "both 900" ;;
    *clang*) echo "both 800" ;;
    *) echo "200, 350" ;;
  esac
}
printf '%-12s %8s %16s %26s %8s   %s\n' compiler empty 'headers (over)' 'model and plan (over that)' both budget
for c in "${compilers[@]}"; do
  empty=$(median "$c" empty)
  light=$(median "$c" headers)
  checked=$(median "$c" checked)
  printf '%-12s %8d %8d (+%d) %18d (+%d) %+8d   %s\n' "$(basename "$c")" "$empty" "$light" $((light - empty)) \
    "$checked" $((checked - light)) $((checked - empty)) "$(budget "$c")"
done

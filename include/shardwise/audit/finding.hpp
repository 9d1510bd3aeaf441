// SPDX-License-Identifier: Apache-2.0
// One thing that an audit has to say of a plan.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace shardwise {
inline namespace v0 {

/// How bad a finding is. A report is clean where it has nothing above a note.
enum class severity : std::uint8_t {
  note,     ///< worth knowing; nothing is wrong
  warning,  ///< probably not meant
  error,    ///< does not run, gives wrong results, or wastes much
};
constexpr std::string_view name_of(severity s) {
  constexpr std::string_view names[] = {"note", "warning", "error"};
  return names[static_cast<std::size_t>(s)];
}

/// What a finding is about.
enum class finding_kind : std::uint8_t {
  bad_rank_count,        ///< tp is no number of ranks
  nothing_cut,           ///< no parameter is cut, at more than one rank
  whole_on_every_rank,   ///< and nobody said so
  not_covered,           ///< a parameter that no rule of a plan of ours covers: `shard` refuses
  idle_rule,             ///< matches no parameter and no module
  shadowed_rule,         ///< matches, and other rules own everything that it matches
  rules_tie,             ///< two rules are equally specific
  renamed_style,         ///< written with a name that Hugging Face has renamed
  rule_of_one_layer,     ///< its pattern has a layer's number, for which Hugging Face writes a star
  no_such_dim,           ///< a style cuts a dim that the parameter does not have
  config_number,         ///< units(field) without such a number in the config
  unlike_layout,         ///< groups unlike those of the engine's layout
  does_not_divide,       ///< a size, in elements, units or groups, over the ranks
  cut_inside_head,       ///< heads that do not divide, in a plan that does not know of heads
  cut_inside_block,      ///< a quantised weight cut inside a block that shares a scale
  uneven_pieces,         ///< torch.chunk's last pieces are shorter, or empty
  packed_cut_plainly,    ///< parts laid side by side, cut as if they were one
  groups_unlike,         ///< a packed cut of what is not packed so
  bias_unlike_weight,    ///< cut where its weight is not, or otherwise
  vector_cut,            ///< a vector cut as if it were input features
  cut_on_experts,        ///< a tensor of each expert's vectors, cut between experts
  module_unlike_weight,  ///< a weight cut otherwise than the rule of its module takes it to be
  style_unlike_module,   ///< a style of products on a look-up, or the reverse
  norm_over_cut_axis,    ///< a mean over elements of which each rank has a part
  tied_unlike,           ///< two names of one storage, cut in two ways
  whole_input,           ///< a module that takes a cut input is fed a whole one
  cut_input,             ///< a module that takes a whole input is fed a cut one
  never_reduced,         ///< a partial sum that nobody adds up
  reduced_twice,         ///< a sum of what is whole already: as many times too large as there are ranks
  logits_width,          ///< each rank has only its part of the vocabulary's scores
  gathered_to_be_cut,    ///< gathered only for the next module to take its part of it
  dealt_unlike,          ///< parts of one head are dealt to different ranks
  whole_as_planned,      ///< the plan lets it be whole at this number of ranks, over which it does not divide
};
/// As JSON and tests write it: "does-not-divide". Stable.
constexpr std::string_view name_of(finding_kind k) {
  constexpr std::string_view names[] = {
      "bad-rank-count",     "nothing-cut",          "whole-on-every-rank", "not-covered",
      "idle-rule",          "shadowed-rule",        "rules-tie",           "renamed-style",
      "rule-of-one-layer",  "no-such-dim",          "config-number",       "unlike-layout",
      "does-not-divide",    "cut-inside-head",      "cut-inside-block",    "uneven-pieces",
      "packed-cut-plainly", "groups-unlike",        "bias-unlike-weight",  "vector-cut",
      "cut-on-experts",     "module-unlike-weight", "style-unlike-module", "norm-over-cut-axis",
      "tied-unlike",        "whole-input",          "cut-input",           "never-reduced",
      "reduced-twice",      "logits-width",         "gathered-to-be-cut",  "dealt-unlike",
      "whole-as-planned"};
  static_assert(sizeof names / sizeof names[0] == static_cast<std::size_t>(finding_kind::whole_as_planned) + 1);
  return names[static_cast<std::size_t>(k)];
}

/// A plain value that refers to nothing.
struct finding {
  finding_kind kind = finding_kind::not_covered;
  shardwise::severity severity = shardwise::severity::note;
  std::string subject;      ///< a parameter, module or pattern; numbers of layers and experts are stars
  std::string first;        ///< the first parameter that it is about, by its own name; "" where it is about none
  std::size_t count = 0;    ///< of parameters that it is about
  std::size_t bytes = 0;    ///< that a rank holds more than its share
  double milliseconds = 0;  ///< that a decoded token takes longer for it: those bytes at the stated memory bandwidth
  std::string text;         ///< what and where
  std::string fix;          ///< what to do
};

}  // namespace v0
}  // namespace shardwise

// SPDX-License-Identifier: Apache-2.0
// LoRA beside a plan: how the two small weights of an adapter are cut so that base and adapter are reduced together.
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/detail/list.hpp"
#include "shardwise/plan/plan.hpp"

namespace shardwise {
inline namespace v0 {

/// Rows that `lora_of` makes of one: of A and of B, as a file names them and with an adapter's name after it.
inline constexpr std::size_t lora_rows = 4;

namespace detail {

// How A [rank, in] and B [out, rank] are cut, and what PEFT calls them.
struct lora_styles {
  style a, b;
  const char *name_a = "lora_A", *name_b = "lora_B";
};

constexpr style lora_whole() { return replicate("LoRA: its features are those of its rank, which are few"); }

// The cut of `base` in a weight of its own: nothing is gathered or reduced there.
constexpr style as_part_of(style base, style_kind kind) {
  base.kind = kind;
  return base;
}

constexpr lora_styles lora_styles_of(const style& base) {
  switch (base.kind) {
    case style_kind::colwise:
    case style_kind::colwise_gather_output: return {lora_whole(), as_part_of(base, style_kind::colwise)};
    case style_kind::rowwise:
    case style_kind::rowwise_split_input:
    case style_kind::rowwise_partial_output:
      return {as_part_of(base, style_kind::rowwise_partial_output), lora_whole()};
    case style_kind::embedding_rowwise:
      return {as_part_of(base, style_kind::rowwise_partial_output), lora_whole(), "lora_embedding_A",
              "lora_embedding_B"};
    case style_kind::embedding_colwise:
      return {lora_whole(), as_part_of(base, style_kind::colwise), "lora_embedding_A", "lora_embedding_B"};
    default: return {lora_whole(), lora_whole()};
  }
}

/// Has a weight under this rule a LoRA whose cut follows from it? Not where whole experts are dealt, not where a rule
/// covers no parameter, and not of a whole subtree.
constexpr bool has_lora(const rule& r) {
  return r.how.has_parameter_half() && r.how.facts().cut != cut_of::experts && r.pattern.count != 0 &&
         r.pattern.at[r.pattern.count - 1].kind != segment::deep;
}

// f(rule) for each of the `lora_rows` rows of a rule that has them.
template <class F>
constexpr void each_lora_rule(const rule& base, F f) {
  if (!has_lora(base)) return;
  const lora_styles styles = lora_styles_of(base.how);
  const auto add = [&](const char* name, const style& how) {
    rule r = base;
    r.how = how;
    // `*` is a number in Hugging Face's dialect, and any segment here: the names of adapters are no numbers.
    r.matching = dialect::shardwise;
    r.optional = true;  // an adapter has a LoRA of some modules
    const std::string_view text = name;
    r.pattern.push({name, text.size()}, text);
    r.count();
    f(r);
    segment any("*", 1);
    any.kind = segment::star;
    r.pattern.push(any, text);
    r.count();
    f(r);
  };
  add(styles.name_a, styles.a);
  add(styles.name_b, styles.b);
}

}  // namespace detail

/// The rows of a LoRA adapter for a plan, and only these: under each rule of a weight, `<module>.lora_A` and
/// `<module>.lora_B`, as PEFT names them in a file (`lora_A.weight`), and `lora_A.*`, `lora_B.*`, as it names them in
/// memory (`lora_A.default.weight`). Beside a weight W [out, in] the module yields W x + scale B (A x), and
///
/// - where W is cut on `out` (colwise), A is whole, and B is cut as W is: the same groups, units, copies and uneven
///   pieces. Each rank adds its columns of the product to its columns of W x, before a gather;
/// - where W is cut on `in` (rowwise), A is cut as W is, and B is whole: A x is a partial sum, B of it too, which is
///   added to the partial sum W x. The step of the module itself reduces both, once; a step of `lora_A` reduces
///   nothing. Of `rowwise_split_input`, A takes what the module's own input step takes;
/// - an embedding cut on its vocabulary has `lora_embedding_A` [rank, vocabulary] cut there and `lora_embedding_B`
///   [hidden, rank] whole; one cut on its columns has A whole and B cut;
/// - where the plan leaves W whole, both are whole.
///
/// An adapter's file has names under a prefix: `lora_of(plan).under("base_model.model")`, sharded with a tree that
/// knows the base's config, since its numbers count the units. The scale is the engine's: alpha / r, or alpha / sqrt(r)
/// with `use_rslora`, times what it likes. A and B are Linear weights in PEFT, [rank, in] and [out, rank], whatever
/// `fan_in_fan_out` says of W; a plan says of a W that is stored [in, out] which of its dims is cut, and not which one
/// is `out`, so that such a rule needs rows of its own, by `with`. No rows are made for: experts of which each rank has
/// whole ones; the magnitudes of DoRA, whose norms are of whole rows of W; a rule that ends in `**`, which speaks of
/// its adapters too. A bias of B is cut as B; of a B that is whole, add it after the reduce.
template <std::size_t N>
constexpr plan<N * lora_rows> lora_of(const plan<N>& base) {
  plan<N * lora_rows> out{};
  for (const rule& r : base) {
    detail::each_lora_rule(r, [&](const rule& made) { out.add(made); });
  }
  return out;
}

/// A plan and the rows of its LoRA adapters: for an engine whose adapters are parameters of the model.
template <std::size_t N>
constexpr plan<N + N * lora_rows> with_lora(const plan<N>& base) {
  return base + lora_of(base);
}

/// The same of a plan that is made at run time: `base` outlives it. Converts to `plan_view`.
class lora_rules {
 public:
  explicit lora_rules(plan_view base) {
    for (const rule& r : base) detail::each_lora_rule(r, [&](const rule& made) { rules_.push(made); });
  }
  operator plan_view() const { return {rules_.data(), rules_.size()}; }

 private:
  detail::list<rule> rules_;
};

}  // namespace v0
}  // namespace shardwise

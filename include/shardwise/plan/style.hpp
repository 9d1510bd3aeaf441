// SPDX-License-Identifier: Apache-2.0
// Styles: what one rule says of a module or a parameter.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shardwise/error.hpp"
#include "shardwise/placement.hpp"
#include "shardwise/plan/style_table.hpp"

namespace shardwise {
inline namespace v0 {

/// Groups that one packed dim may have; of these, groups of unequal size.
inline constexpr std::size_t max_groups = 8;
inline constexpr std::size_t max_unequal_groups = 4;

namespace detail {
[[noreturn]] inline void a_packed_dim_has_1_to_8_groups(int groups) {
  raise(plan_error("a packed dim was given ", groups, " groups; it may have 1 to ", max_groups));
}
[[noreturn]] inline void this_style_has_no_groups(std::string_view name) {
  raise(plan_error(
      "'", name,
      "' has no groups: only colwise, colwise_gather_output, rowwise and rowwise_partial_output cut a packed dim"));
}
[[noreturn]] inline void this_style_has_no_units(std::string_view name) {
  raise(plan_error("'", name, "' cuts nothing, so that it has no units"));
}
[[noreturn]] inline void this_style_has_no_output_features(std::string_view name) {
  raise(plan_error("'", name, "' cuts no output features: only colwise and colwise_gather_output cut a convolution's"));
}
[[noreturn]] inline void this_style_has_no_pairs(std::string_view name) {
  raise(plan_error("'", name, "' has no units that are paired with others: say .units(\"...\") first, of colwise, ",
                   "rowwise or rowwise_partial_output"));
}
[[noreturn]] inline void this_style_has_unequal_groups_already() {
  raise(plan_error("a style has unequal groups, heads(...) for each, or units of its own, not both"));
}
[[noreturn]] inline void a_tile_has_at_least_one_element(std::size_t n) {
  raise(plan_error("tiles(", n, "): a tile has at least 1 element"));
}
[[noreturn]] inline void tiles_have_no_pairs() {
  raise(plan_error("tiles(n) are paired with nothing: reading and read_by are of units(...)"));
}
[[noreturn]] inline void interleaved_groups_are_unequal_ones() {
  raise(plan_error("interleaved() is of groups(heads(...), ...): it says that they repeat in each unit"));
}
constexpr void check_groups(int groups) {
  if (groups < 1 || groups > static_cast<int>(max_groups)) a_packed_dim_has_1_to_8_groups(groups);
}
}  // namespace detail

/// One of several groups of unequal size, made by `heads`. Its texts are literals: they outlive the plan.
struct feature_group {
  const char* unit = "";   ///< the field of config.json that counts its units
  const char* other = "";  ///< the field that counts what these are paired with
  const char* width = "";  ///< the field that counts the elements of a unit; "": see `style::groups`
  pairing pair = pairing::none;

  /// Each unit reads one unit of `config_field`: see `pairing`.
  constexpr feature_group reading(const char* config_field) const {
    return {unit, config_field, width, pairing::reads};
  }
  constexpr feature_group read_by(const char* config_field) const {
    return {unit, config_field, width, pairing::read_by};
  }
  /// A unit has as many elements as this field of config.json says.
  constexpr feature_group of(const char* config_field) const { return {unit, other, config_field, pair}; }
  friend constexpr bool operator==(const feature_group& a, const feature_group& b) {
    const auto same = [](std::string_view x, std::string_view y) { return x == y; };
    return same(a.unit, b.unit) && same(a.other, b.other) && same(a.width, b.width) && a.pair == b.pair;
  }
};
/// `heads("num_attention_heads")`: a group of as many units as this field of config.json says.
constexpr feature_group heads(const char* config_field) { return {config_field}; }

/// A style as a value: what a row of a plan stores. The tags below convert to it.
struct style {
  style_kind kind = style_kind::replicate;
  std::uint8_t group_count = 1;
  division divided = division::exact;
  pairing pair = pairing::none;
  bool whole_if_refused = false;    ///< see `or_whole`
  bool channels_first = false;      ///< see `convolution`
  bool groups_interleaved = false;  ///< see `interleaved`
  std::uint8_t unequal_groups = 0;  ///< how many of `group` there are; 0: all groups are alike
  std::uint32_t tile = 0;           ///< elements of a unit; 0: see `unit`
  std::string_view unit{};          ///< the field of config.json that counts what may not be cut in two
  std::string_view other{};         ///< the field that counts what the units are paired with
  std::string_view reason{};        ///< why something is whole
  feature_group group[max_unequal_groups]{};

  constexpr const style_facts& facts() const { return style_table[static_cast<std::size_t>(kind)]; }
  /// The name that a plan file of Hugging Face has for it.
  constexpr std::string_view name() const {
    if (group_count > 1 && kind == style_kind::colwise) return "packed_colwise";
    if (group_count > 1 && kind == style_kind::rowwise) return "packed_rowwise";
    return facts().name;
  }
  /// Does a rule of this style say how a parameter is cut (or that it is whole)?
  constexpr bool has_parameter_half() const { return facts().cut != cut_of::no_half; }
  /// Does it change what a module takes or gives? Hugging Face's `packed_rowwise` speaks of the parameter only.
  constexpr bool has_module_half() const { return facts().changes_module && !hugging_face_packed_rowwise(); }
  constexpr bool hugging_face_packed_rowwise() const {
    return kind == style_kind::rowwise && group_count > 1 && divided == division::chunk;
  }

  /// The cut dim consists of this many groups laid side by side (gate|up: 2), each cut by itself.
  constexpr style groups(int n) const {
    detail::check_groups(n);
    if (n > 1 && !packs()) detail::this_style_has_no_groups(facts().name);
    style s = *this;
    s.group_count = static_cast<std::uint8_t>(n);
    return s;
  }
  /// The cut dim consists of groups of unequal size laid side by side, each cut by itself, at its own units:
  /// `groups(heads("num_attention_heads"), heads("num_key_value_heads"), heads("num_key_value_heads"))`. All units are
  /// equally wide; those of a group with `of` are as wide as that field says, and what is left is the others'.
  template <class... Groups>
  constexpr style groups(const feature_group& first, const feature_group& second, const Groups&... rest) const {
    static_assert(2 + sizeof...(rest) <= max_unequal_groups, "shardwise: at most 4 groups of unequal size");
    if (!packs()) detail::this_style_has_no_groups(facts().name);
    if (!unit.empty() || tile != 0) detail::this_style_has_unequal_groups_already();
    style s = *this;
    const feature_group all[] = {first, second, rest...};
    for (const feature_group& g : all) {
      if (g.pair != pairing::none && !stays_cut()) detail::this_style_has_no_pairs(facts().name);
      s.group[s.unequal_groups++] = g;
    }
    s.group_count = s.unequal_groups;
    return s;
  }
  /// The groups repeat within each unit that others read, or, where none are paired, within each unit: per key head
  /// q|k|v|z, or b|a of the value heads that read it. All are of the same heads.
  constexpr style interleaved() const {
    if (unequal_groups == 0 || !stays_cut()) detail::interleaved_groups_are_unequal_ones();
    style s = *this;
    s.groups_interleaved = true;
    return s;
  }
  /// The cut dim (each of its groups) consists of as many equal units as this field of config.json says, and no unit is
  /// cut. The field is looked up in the submodel's own config: see `tree::number`.
  constexpr style units(const char* config_field) const {
    check_cuts();
    if (unequal_groups != 0) detail::this_style_has_unequal_groups_already();
    style s = *this;
    s.unit = config_field;
    s.tile = 0;
    return s;
  }
  /// The cut dim (each of its groups) consists of units of `n` elements: a tile of a kernel, a block of a quantised
  /// weight, a pair of interleaved features.
  constexpr style tiles(std::uint32_t n) const {
    check_cuts();
    if (unequal_groups != 0) detail::this_style_has_unequal_groups_already();
    if (n == 0) detail::a_tile_has_at_least_one_element(n);
    if (pair != pairing::none) detail::tiles_have_no_pairs();
    style s = *this;
    s.unit = {};
    s.tile = n;
    return s;
  }
  /// These units, query heads, read those that `config_field` counts, key/value heads: see `pairing`.
  constexpr style reading(const char* config_field) const { return paired(pairing::reads, config_field); }
  /// These units, key/value heads, are read by those that `config_field` counts, query heads. A rank holds exactly
  /// those that its query heads read, copied where ranks share one. Legal where, on each rank, all that are held are
  /// read by the same number of its query heads.
  constexpr style read_by(const char* config_field) const { return paired(pairing::read_by, config_field); }
  /// Units (or elements) are dealt where they do not divide too: the first ranks have one more. Fewer units than ranks
  /// are refused.
  constexpr style uneven() const {
    check_cuts();
    style s = *this;
    s.divided = division::uneven;
    return s;
  }
  /// Of a convolution's weight [out, in, kernel...]: its output features are dim 0.
  constexpr style convolution() const {
    if (facts().cut != cut_of::out) detail::this_style_has_no_output_features(facts().name);
    style s = *this;
    s.channels_first = true;
    return s;
  }
  /// Where the dim does not divide over the ranks, it is whole on each, and the module's step does nothing: instead of
  /// a refusal. Every rule of a module's weights that fit each other says so, with the same units.
  constexpr style or_whole(const char* why) const {
    check_cuts();
    style s = *this;
    s.whole_if_refused = true;
    s.reason = why;
    return s;
  }
  friend constexpr bool operator==(const style&, const style&) = default;

 private:
  constexpr bool packs() const {
    return kind == style_kind::colwise || kind == style_kind::colwise_gather_output || kind == style_kind::rowwise ||
           kind == style_kind::rowwise_partial_output;
  }
  constexpr bool stays_cut() const {
    return kind == style_kind::colwise || kind == style_kind::rowwise || kind == style_kind::rowwise_partial_output;
  }
  constexpr void check_cuts() const {
    if (facts().cut == cut_of::whole || facts().cut == cut_of::no_half) detail::this_style_has_no_units(facts().name);
  }
  constexpr style paired(pairing p, const char* config_field) const {
    if (unit.empty() || !stays_cut()) detail::this_style_has_no_pairs(facts().name);
    style s = *this;
    s.pair = p;
    s.other = config_field;
    return s;
  }
};

/// A style as a type with one value: good as a template argument (`run<colwise>`), and converts to `style` in a row.
/// `In`, `Local` and `Out` repeat the table for the compiler; a static_assert below holds the two together.
template <style_kind Kind, class In, class Local, class Out, int Groups = 1>
struct style_tag {
  static_assert(style_table[static_cast<std::size_t>(Kind)].kind == Kind);
  static_assert(style_table[static_cast<std::size_t>(Kind)].input == placement(In{}));
  static_assert(style_table[static_cast<std::size_t>(Kind)].local == placement(Local{}));
  static_assert(style_table[static_cast<std::size_t>(Kind)].output == placement(Out{}));

  constexpr operator style() const {
    style s;
    s.kind = Kind;
    return s.groups(Groups);
  }
  constexpr style units(const char* config_field) const { return static_cast<style>(*this).units(config_field); }
  constexpr style tiles(std::uint32_t n) const { return static_cast<style>(*this).tiles(n); }
  constexpr style groups(int n) const { return static_cast<style>(*this).groups(n); }
  template <class... Rest>
  constexpr style groups(const feature_group& first, const feature_group& second, const Rest&... rest) const {
    return static_cast<style>(*this).groups(first, second, rest...);
  }
  constexpr style uneven() const { return static_cast<style>(*this).uneven(); }
  constexpr style convolution() const { return static_cast<style>(*this).convolution(); }
  constexpr style or_whole(const char* why) const { return static_cast<style>(*this).or_whole(why); }
};

/// [out, in] is cut on `out`; the output stays local.
struct colwise_t : style_tag<style_kind::colwise, replicated, sharded<-1>, sharded<-1>> {};
/// As `colwise`, and the output is gathered: for an `lm_head`.
struct colwise_gather_output_t : style_tag<style_kind::colwise_gather_output, replicated, sharded<-1>, replicated> {};
/// [out, in] is cut on `in`; the input is local already, the output is reduced; a bias is added once, after it.
struct rowwise_t : style_tag<style_kind::rowwise, sharded<-1>, partial<>, replicated> {};
/// As `rowwise`, of a whole input of which each rank takes its chunk.
struct rowwise_split_input_t : style_tag<style_kind::rowwise_split_input, replicated, partial<>, replicated> {};
/// `colwise` of N groups laid side by side.
template <int N>
struct packed_colwise_t : style_tag<style_kind::colwise, replicated, sharded<-1>, sharded<-1>, N> {};
/// `rowwise` of N groups laid side by side.
template <int N>
struct packed_rowwise_t : style_tag<style_kind::rowwise, sharded<-1>, partial<>, replicated, N> {};
/// [vocabulary, hidden] is cut on the vocabulary: a token of another rank gives a zero row, then all-reduce.
struct embedding_rowwise_t : style_tag<style_kind::embedding_rowwise, replicated, partial<>, replicated> {};
/// [vocabulary, hidden] is cut on hidden; the vectors are gathered.
struct embedding_colwise_t : style_tag<style_kind::embedding_colwise, replicated, sharded<-1>, replicated> {};
/// The module that owns cut experts: its output is a partial sum, and is reduced. Says nothing of parameters.
struct moe_tp_experts_t : style_tag<style_kind::moe_tp_experts, replicated, partial<>, replicated> {};
/// The owner of a bare cut parameter sees its local piece. Says nothing of parameters.
struct local_params_t : style_tag<style_kind::local_params, replicated, replicated, replicated> {};
/// The module's output is a partial sum, and is reduced. Says nothing of parameters.
struct all_reduce_t : style_tag<style_kind::all_reduce, replicated, partial<>, replicated> {};
/// Whole on every rank: said, not implied. `replicate("why")` says why; the text outlives the plan.
struct replicate_t : style_tag<style_kind::replicate, replicated, replicated, replicated> {
  constexpr style operator()(const char* reason) const {
    style s = *this;
    s.reason = reason;
    return s;
  }
};
/// In inference the same as `replicate`.
struct replicated_with_grad_allreduce_t
    : style_tag<style_kind::replicated_with_grad_allreduce, replicated, replicated, replicated> {};
/// In inference the same as `replicate`.
struct mla_kv_a_proj_t : style_tag<style_kind::mla_kv_a_proj, replicated, replicated, replicated> {};
/// A norm between cut sequences, [batch, tokens, features]: its parameters are whole, its input and output are cut on
/// dim 1. `run` does not do it: run/sequence_parallel.hpp has the tokens of a whole batch cut, for any plan.
struct sequence_parallel_t : style_tag<style_kind::sequence_parallel, sharded<1>, sharded<1>, sharded<1>> {};
/// An expert that hands its input on: each rank's own arithmetic divides it by the number of ranks, so that the sum
/// over the ranks, which the experts' module makes, is the input. Says nothing of parameters.
struct moe_identity_expert_t : style_tag<style_kind::moe_identity_expert, replicated, partial<>, partial<>> {};
/// [experts, ...] is cut on the experts, whole ones, which divide exactly: rank r of n has experts r E/n to
/// (r + 1) E/n. Of parameters only: the module that owns them is `ep_dispatch_experts`.
struct grouped_gemm_t : style_tag<style_kind::grouped_gemm, replicated, replicated, replicated> {};
/// The module whose experts the ranks share: each runs its own experts, and the outputs are summed. Says nothing of
/// parameters. See run/experts.hpp, where every rank has all tokens, and run/dispatch.hpp, where tokens are sent.
struct ep_dispatch_experts_t : style_tag<style_kind::ep_dispatch_experts, replicated, partial<>, replicated> {};
/// As `rowwise`, and the output stays a partial sum: a row above adds others to it and reduces them once.
struct rowwise_partial_output_t : style_tag<style_kind::rowwise_partial_output, sharded<-1>, partial<>, partial<>> {};
/// The module's output is a partial sum and stays one: a row above reduces it. Says nothing of parameters.
struct partial_output_t : style_tag<style_kind::partial_output, replicated, partial<>, partial<>> {};

inline constexpr colwise_t colwise{};
inline constexpr colwise_gather_output_t colwise_gather_output{};
inline constexpr rowwise_t rowwise{};
inline constexpr rowwise_split_input_t rowwise_split_input{};
template <int N>
inline constexpr packed_colwise_t<N> packed_colwise{};
template <int N>
inline constexpr packed_rowwise_t<N> packed_rowwise{};
inline constexpr embedding_rowwise_t embedding_rowwise{};
inline constexpr embedding_colwise_t embedding_colwise{};
inline constexpr moe_tp_experts_t moe_tp_experts{};
inline constexpr local_params_t local_params{};
inline constexpr all_reduce_t all_reduce{};
inline constexpr replicate_t replicate{};
inline constexpr replicated_with_grad_allreduce_t replicated_with_grad_allreduce{};
inline constexpr mla_kv_a_proj_t mla_kv_a_proj{};
inline constexpr sequence_parallel_t sequence_parallel{};
inline constexpr moe_identity_expert_t moe_identity_expert{};
inline constexpr grouped_gemm_t grouped_gemm{};
inline constexpr ep_dispatch_experts_t ep_dispatch_experts{};
inline constexpr rowwise_partial_output_t rowwise_partial_output{};
inline constexpr partial_output_t partial_output{};

}  // namespace v0
}  // namespace shardwise

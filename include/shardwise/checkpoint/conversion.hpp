// SPDX-License-Identifier: Apache-2.0
// An algebra of names and boxes: how the tensors of one layout become those of another. A rule is data.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shardwise/model/shape.hpp"

namespace shardwise {
inline namespace v0 {
namespace checkpoint {

/// Up to four texts that a rule is given: names, or fields of the config.
struct rule_texts {
  static constexpr std::size_t most = 4;
  std::string_view at[most]{};
  std::size_t count = 0;

  constexpr rule_texts() = default;
  template <class... Texts>
  requires(sizeof...(Texts) >= 1 && sizeof...(Texts) <= most) constexpr rule_texts(const Texts&... texts)
      : at{std::string_view(texts)...}, count(sizeof...(Texts)) {}
  constexpr const std::string_view* begin() const { return at; }
  constexpr const std::string_view* end() const { return at + count; }
};

/// One rule: the tensors whose names have one of the fragments `from` become tensors whose names have `to` in that
/// place. Made by the verbs of `convert`. The texts must outlive the rule.
///
/// A fragment is found anywhere in a name, and replaced where it first is. It is literal, but for
/// - `^`: the start of the name
/// - `*`: a number; in `to`, the number that it was. `*+1`: what is written there is one more than the number
/// - `**`: any text; in `to`, that text
/// - `{a,b}`: one of these (`{^,model.}`: at the start, or after this); in `to`, `{}` is the one that it was
/// - `!{a,b}`: none of these; where a fragment starts with it, none of these before it
/// and one that ends in a letter or a digit ends there as a word does: "weight" is not in "weight_scale".
struct conversion {
  enum verb_t : std::uint8_t {
    rename,
    one_of,
    stack,
    concat,
    split,
    transpose,
    interleave,
    deinterleave,
    refuse,
  };
  verb_t verb = rename;
  rule_texts from, to;
  std::size_t dim = 0;       ///< along which tensors are joined or split; the first of the two that are transposed
  std::size_t dim_two = 0;   ///< the second
  rule_texts shares = {};    ///< of a split: fields of the config in whose proportion; none: equal parts
  rule_texts counted = {};   ///< of a stack: fields of the config that may say how many
  std::string_view heads{};  ///< of rotary halves: the field that says how many heads; else empty
  std::size_t halved = 0;    ///< and of how many of the first `to`
  std::string_view done{};   ///< of a transpose: the field that `done_dim` is equal to where it was done already
  std::size_t done_dim = 0;
  std::size_t tile = 1;       ///< `dim` is padded to a multiple of this
  std::string_view within{};  ///< names under this path only, with or without its first segment
  std::string_view given{};   ///< only where a name has this fragment
  std::string_view why{};     ///< of a refusal

  /// The names, as fragments, that take the place.
  template <class... Names>
  constexpr conversion into(const Names&... names) const {
    conversion c = *this;
    c.to = rule_texts(names...);
    return c;
  }
  /// Along this dim of what is made.
  constexpr conversion along(std::size_t d) const {
    conversion c = *this;
    c.dim = d;
    return c;
  }
  /// A split in the proportion of these fields of the config, one for each name: "num_attention_heads", or with its
  /// section, "vision_config.num_heads".
  template <class... Fields>
  constexpr conversion by(const Fields&... fields) const {
    conversion c = *this;
    c.shares = rule_texts(fields...);
    return c;
  }
  /// A stack of as many as one of these fields of the config says, so that a missing last one is missed.
  template <class... Fields>
  constexpr conversion counted_by(const Fields&... fields) const {
    conversion c = *this;
    c.counted = rule_texts(fields...);
    return c;
  }
  /// The rows of each head lie in pairs for rotary embeddings, and become halves: of the first `n` names.
  constexpr conversion halved_by_head(std::string_view field, std::size_t n) const {
    conversion c = *this;
    c.heads = field;
    c.halved = n;
    return c;
  }
  /// Not where dim `d` is what this field of the config says already. Where that cannot be told it is an error.
  constexpr conversion unless(std::size_t d, std::string_view field) const {
    conversion c = *this;
    c.done_dim = d;
    c.done = field;
    return c;
  }
  /// Padded along the dim to a multiple of `n`: for an engine's own tensors. What is added is not written to.
  constexpr conversion padded_to(std::size_t n) const {
    conversion c = *this;
    c.tile = n;
    return c;
  }
  /// Names under this path only: the submodel that the rule is of.
  constexpr conversion under(std::string_view path) const {
    conversion c = *this;
    c.within = path;
    return c;
  }
  /// Only where some name of the checkpoint has this fragment.
  constexpr conversion where(std::string_view fragment) const {
    conversion c = *this;
    c.given = fragment;
    return c;
  }
};

/// The verbs, each with the names that it takes; `into` says the names that it makes.
namespace convert {

constexpr conversion make(conversion::verb_t verb, const rule_texts& from, std::size_t dim = 0) {
  conversion c;
  c.verb = verb;
  c.from = from;
  c.dim = dim;
  return c;
}

/// Another name: `rename(".block_sparse_moe.", ".mlp.")`.
constexpr conversion rename(std::string_view from, std::string_view to) {
  return make(conversion::rename, from).into(to);
}
/// Copies that differ in a number of their names, of which the first is taken.
constexpr conversion one_of(std::string_view from, std::string_view to) {
  return make(conversion::one_of, from).into(to);
}
/// Tensors that differ in the last `*` of their names, 0 first, along a new dim 0. Of several names each is stacked,
/// and they are laid side by side along dim 1:
/// `stack("experts.*.gate_proj.weight", "experts.*.up_proj.weight").into("experts.gate_up_proj")`. Into several names:
/// the first of equal parts of the numbers, then the next.
template <class... Names>
constexpr conversion stack(const Names&... names) {
  return make(conversion::stack, rule_texts(names...), 1)
      .counted_by("num_experts", "n_routed_experts", "num_local_experts");
}
/// Side by side, along dim 0 unless `along` says another: `concat("q_proj", "k_proj", "v_proj").into("qkv_proj")`.
/// One name with a `*`: all of its numbers, 0 first.
template <class... Names>
constexpr conversion concat(const Names&... names) {
  return make(conversion::concat, rule_texts(names...));
}
/// The reverse: equal parts, or `by` fields of the config.
constexpr conversion split(std::string_view name) { return make(conversion::split, name); }
/// Two dims change places.
constexpr conversion transpose(std::string_view name, std::size_t a, std::size_t b) {
  conversion c = make(conversion::transpose, name, a);
  c.dim_two = b;
  return c;
}
/// In turns along the dim: the first of each, then the second of each, ...
template <class... Names>
constexpr conversion interleave(const Names&... names) {
  return make(conversion::interleave, rule_texts(names...));
}
/// The reverse: dealt out in turns into the names; into one name, in two halves side by side.
constexpr conversion deinterleave(std::string_view name) { return make(conversion::deinterleave, name); }
/// Rotary pairs of each head's rows that become halves, in one tensor.
constexpr conversion halves_of_heads(std::string_view name, std::string_view field) {
  return split(name).halved_by_head(field, 1);
}
/// A checkpoint that has such a name needs `what`, which changes values and is not done here.
constexpr conversion refuse(std::string_view name, std::string_view what) {
  conversion c = make(conversion::refuse, name);
  c.why = what;
  return c;
}

}  // namespace convert

/// A piece of a tensor that was assembled: where it lies there, and which elements of which tensor it is. All of a
/// conversion comes down to these, so that the slice of any rank is known as boxes of the file.
struct part {
  std::size_t tensor = 0;       ///< index in the source
  box at;                       ///< in the assembled tensor: element i of dim d is at offset[d] + i * step[d]
  std::size_t step[max_dims];   ///< 1 but where tensors are interleaved
  tensor_shape from;            ///< the first element in the source's tensor
  std::size_t every[max_dims];  ///< and every how many-th after it, in each dim of that tensor
  std::size_t axis[max_dims];   ///< the dim of the assembled tensor that each dim of the source's is
  static constexpr std::size_t no_axis = ~std::size_t{};  ///< none: one element of it
};

/// A box of a tensor of the source.
struct source_box {
  std::size_t tensor = 0;
  box what;
  friend bool operator==(const source_box&, const source_box&) = default;
};

}  // namespace checkpoint
}  // namespace v0
}  // namespace shardwise

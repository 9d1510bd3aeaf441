// SPDX-License-Identifier: Apache-2.0
// Plans made at run time of pattern and style texts, as Hugging Face writes them: {"layers.*.mlp.up_proj": "colwise"}.
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/detail/list.hpp"
#include "shardwise/plan/plan.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {
struct style_name {
  std::string_view name;
  style how;
};
// Names that the table of styles does not have: short ones of packed dims.
inline constexpr style_name packed_names[] = {{"packed_colwise", packed_colwise<2>},
                                              {"packed_rowwise", packed_rowwise<2>}};

struct renamed_name {
  std::string_view before, now;
};
// Names of earlier versions of Hugging Face whose meaning has another name now.
inline constexpr renamed_name renamed_names[] = {
    {"colwise_rep", "colwise_gather_output"},
    {"rowwise_rep", "rowwise_split_input"},
    {"local_colwise", "colwise"},
    {"local_rowwise", "rowwise"},
    {"local_packed_colwise", "packed_colwise"},
    {"local_packed_rowwise", "packed_rowwise"},
    {"vocab_parallel_rowwise", "embedding_rowwise"},
};

struct removed_name {
  std::string_view name, advice;
};
// Names of earlier versions whose meaning no style of now has. A name that ends in `_` stands for all that begin so.
inline constexpr removed_name removed_names[] = {
    {"ep_router",
     "leave the router's row out, or say replicate, since every rank scores all experts; then ep_dispatch_experts on "
     "the module of the experts and grouped_gemm on its parameters, or, in a tensor-parallel plan, moe_tp_experts on "
     "the module and packed_colwise and rowwise on its parameters"},
    {"megamoe_",
     "say grouped_gemm of the experts' parameters and ep_dispatch_experts of the module that owns them; which kernel "
     "takes the tokens there is not the plan's"},
    {"gather",
     "it summed a module's output over the ranks, which is all_reduce, or moe_tp_experts for the module that owns cut "
     "experts; for an output that is gathered say colwise_gather_output"},
    {"local",
     "it kept a module's parameters whole and took 1 part in ranks of them, so that a later sum counts them once: "
     "rowwise adds its bias once by itself, so leave the row out; the owner of a bare cut parameter is local_params"},
    {"isolated",
     "it is what 'local' was: leave the row out, since rowwise adds its bias once by itself; the owner of a bare cut "
     "parameter is local_params"},
};

// How many letters apart two words are, for "did you mean". `row` has room for one more than the letters of `b`.
constexpr std::size_t distance(std::string_view a, std::string_view b, std::size_t* row) {
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      const std::size_t grown = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
      row[j] = replaced < grown ? replaced : grown;
    }
  }
  return row[b.size()];
}
// The same of short words; those over 63 letters are far from everything.
constexpr std::size_t distance(std::string_view a, std::string_view b) {
  constexpr std::size_t longest = 64;
  if (a.size() >= longest || b.size() >= longest) return longest;
  std::size_t row[longest] = {};
  return distance(a, b, row);
}
}  // namespace detail

/// The name that Hugging Face has now for a style that it has renamed; "" for any other text.
constexpr std::string_view renamed_to(std::string_view style_text) {
  for (const detail::renamed_name& n : detail::renamed_names) {
    if (n.before == style_text) return n.now;
  }
  return {};
}

namespace detail {
inline void refuse_removed_style(std::string_view text) {
  for (const removed_name& n : removed_names) {
    if (n.name == text || (n.name.ends_with('_') && text.starts_with(n.name))) {
      raise(plan_error("'", text, "' was removed by Hugging Face: ", n.advice));
    }
  }
}

[[noreturn]] inline void refuse_unknown_style(std::string_view text) {
  plan_error e("unknown style '", text, "'");
  std::string_view nearest;
  std::size_t best = ~std::size_t{};
  const auto consider = [&](std::string_view name) {
    const std::size_t d = distance(text, name);
    if (d < best) {
      best = d;
      nearest = name;
    }
  };
  for (const style_facts& f : style_table) consider(f.name);
  for (const style_name& n : packed_names) consider(n.name);
  for (const renamed_name& n : renamed_names) consider(n.before);
  if (best <= 4) {
    e.append(std::string_view("; did you mean '"));
    e.append(nearest);
    e.append(std::string_view("'?"));
  }
  e.append(std::string_view(best <= 4 ? " Known styles: replicate(why)" : "; known styles: replicate(why)"));
  for (const style_facts& f : style_table) {
    e.append(std::string_view(", "));
    e.append(f.name);
  }
  for (const style_name& n : packed_names) {
    e.append(std::string_view(", "));
    e.append(n.name);
  }
  raise(e);
}
}  // namespace detail

/// The style that a text names: a name of the table of styles, `packed_colwise` or `packed_rowwise` (of two groups),
/// one that Hugging Face has renamed (see `renamed_to`), or `replicate(why)`. The reason points into `text`.
///
/// Throws `plan_error` for a name that Hugging Face has removed, with the way to say it now, and for any other, with
/// the nearest name and all known ones.
inline style parse_style(std::string_view text) {
  if (const std::string_view now = renamed_to(text); !now.empty()) return parse_style(now);
  for (const style_facts& f : style_table) {
    if (f.name == text) {
      style s;
      s.kind = f.kind;
      return s;
    }
  }
  for (const detail::style_name& n : detail::packed_names) {
    if (n.name == text) return n.how;
  }
  constexpr std::string_view open = "replicate(";
  if (text.starts_with(open) && text.ends_with(")") && text.size() > open.size() + 1) {
    style s = replicate;
    s.reason = text.substr(open.size(), text.size() - open.size() - 1);
    return s;
  }
  detail::refuse_removed_style(text);
  detail::refuse_unknown_style(text);
}

/// A row whose style had a name that Hugging Face has replaced.
struct renamed_style {
  std::string_view pattern, old_name, new_name;
};

/// A plan that owns its rules and their texts. Rows are cut as Hugging Face cuts; a pattern that holds `**` or `{` is
/// matched by our rules, every other by Hugging Face's, where `*` stands for a number between dots.
class imported_plan {
 public:
  /// Hugging Face has two plans for a class: say `parallelism::expert` of the second (`base_model_ep_plan`).
  explicit imported_plan(parallelism over = parallelism::tensor) : over_(over) {}

  parallelism over() const { return over_; }

  /// Adds a row. Throws `plan_error` for an unknown or removed style, a malformed pattern, a pattern that is there with
  /// another style, `moe_tp_experts` in an expert-parallel plan, whose experts are whole, and for more than
  /// `max_rules` rows.
  imported_plan& add(std::string_view pattern, std::string_view style_text) {
    const rule r = made(pattern, style_text);
    if (const std::size_t known = find(r); known != npos) {
      detail::same_pattern_needs_same_style("", rules_[known], r);
      return *this;
    }
    push(r);
    note_renamed(pattern, style_text);
    return *this;
  }

  /// Adds copies of all rows of a plan, matched and cut as they are there. Throws `plan_error` for a pattern that is
  /// there with another style.
  imported_plan& add(plan_view rows) {
    for (const rule& row : rows) {
      if (const std::size_t known = find(row); known != npos) {
        detail::same_pattern_needs_same_style("", rules_[known], row);
        continue;
      }
      rule r = row;
      for (std::size_t i = 0; i < r.pattern.count; ++i) {
        detail::segment& s = r.pattern.at[i];
        if (s.size() != 0) s.text = texts_.keep(s.view()).data();
      }
      r.how.unit = texts_.keep(row.how.unit);
      r.how.reason = texts_.keep(row.how.reason);
      r.text = "";
      r.over = over_;
      refuse_tensor_style(r);
      push(r);
    }
    return *this;
  }

  /// What a user's own plan does to a model's in Hugging Face: gives the row of this pattern another style, or adds a
  /// row. An added row must match something (`shard` throws where it does not), since it was meant to. Throws as `add`.
  imported_plan& replace(std::string_view pattern, std::string_view style_text) {
    rule r = made(pattern, style_text);
    if (const std::size_t known = find(r); known != npos) {
      rules_[known].how = r.how;
      forget_renamed(pattern);
    } else {
      r.optional = false;
      push(r);
    }
    note_renamed(pattern, style_text);
    return *this;
  }

  /// Drops the rows that a model's expert-parallel plan takes over: those of a pattern of its rows, or beneath one.
  /// Hugging Face does so to the tensor-parallel plan where both are in use.
  imported_plan& leave_to(plan_view expert_plan) {
    const auto taken = [&](const rule& row) {
      for (const rule& e : expert_plan) {
        rule above = row;
        above.pattern.count = e.pattern.count;
        if (e.pattern.count <= row.pattern.count && above.same_pattern(e)) return true;
      }
      return false;
    };
    detail::list<rule> all = static_cast<detail::list<rule>&&>(rules_);
    index_ = detail::name_index{};
    for (const rule& row : all) {
      if (!taken(row)) push(row);
    }
    return *this;
  }

  std::size_t size() const { return rules_.size(); }
  operator plan_view() const { return {rules_.data(), rules_.size()}; }
  /// The rows whose styles had names that Hugging Face has replaced, in the order in which they came. The texts live as
  /// long as the plan.
  const detail::list<renamed_style>& renamed() const { return renamed_; }

 private:
  rule made(std::string_view pattern, std::string_view style_text) {
    const bool ours = pattern.find("**") != std::string_view::npos || pattern.find('{') != std::string_view::npos;
    rule r(texts_.keep(pattern), parse_style(texts_.keep(style_text)),
           ours ? dialect::shardwise : dialect::hugging_face);
    r.how.divided = division::chunk;
    r.over = over_;
    refuse_tensor_style(r);
    return r;
  }
  static void refuse_tensor_style(const rule& r) {
    if (r.over == parallelism::tensor || r.how.kind != style_kind::moe_tp_experts) return;
    plan_error e("'");
    detail::append_path(e, r.pattern);
    e.append(
        std::string_view("': moe_tp_experts is a style of the tensor-parallel plan, whose experts are cut; in the "
                         "expert-parallel plan, where each rank has some experts whole, the module is "
                         "ep_dispatch_experts and its parameters are grouped_gemm"));
    detail::raise(e);
  }
  static constexpr std::size_t npos = detail::name_index::npos;
  // The index of the row of this pattern.
  std::size_t find(const rule& r) const { return index_.find(detail::joined_path(r.pattern).view()); }
  void push(const rule& r) {
    if (rules_.size() == max_rules) detail::raise(plan_error("a plan has ", max_rules, " rows at most"));
    index_.add(texts_.keep(detail::joined_path(r.pattern).view()), rules_.size());
    rules_.push(r);
  }
  void note_renamed(std::string_view pattern, std::string_view style_text) {
    const std::string_view now = renamed_to(style_text);
    if (!now.empty()) renamed_.push({texts_.keep(pattern), texts_.keep(style_text), now});
  }
  void forget_renamed(std::string_view pattern) {
    detail::list<renamed_style> kept;
    for (const renamed_style& n : renamed_) {
      if (n.pattern != pattern) kept.push(n);
    }
    renamed_ = static_cast<detail::list<renamed_style>&&>(kept);
  }

  parallelism over_;
  detail::text_store texts_;
  detail::list<rule> rules_;
  detail::list<renamed_style> renamed_;
  detail::name_index index_;  // rows by their patterns
};

}  // namespace v0
}  // namespace shardwise

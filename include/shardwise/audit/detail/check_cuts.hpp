// SPDX-License-Identifier: Apache-2.0
// Cuts that do not go together: of a weight and its bias, its norm, its scales, its module, or its tied name.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "shardwise/audit/detail/check_sizes.hpp"
#include "shardwise/audit/detail/check_whole.hpp"
#include "shardwise/audit/detail/products.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

class cut_check {
 public:
  cut_check(const facts& all, const products& p, audit_report& r) : all_(all), products_(p), to_(r) {}

  void run() {
    for (const audited& g : all_.groups) {
      if (g.x.refused() && g.x.why != refusal::does_not_divide) continue;
      // `shard` refuses these at any number of ranks, one too.
      if (g.tied()) look_at_tie(g, all_.groups[g.kept]);
      look_at_module(g);
      if (all_.tp == 1 || g.tied()) continue;
      if (has_weight(g)) {
        look_at_bias(g);
      } else if (g.shape.dims() == 1) {
        look_at_vector(g);
      }
      look_at_blocks(g);
    }
  }

 private:
  std::string as(const audited& g) const { return std::string(all_.style_of(g)); }

  void look_at_tie(const audited& alias, const audited& kept) {
    const bool same = alias.x.how == kept.x.how;
    // A name without a rule has no step; where the other is cut, its module would work with a part unawares.
    if (same && (alias.x.covered() == kept.x.covered() || !alias.is_cut())) return;
    finding& f = findings(to_).add(finding_kind::tied_unlike, severity::error, alias, starred(alias.thing()));
    const std::string a = starred(alias.thing()), b = starred(kept.thing());
    f.text = a + " (" + as(alias) + ") and " + b + " (" + as(kept) + ") are tied, one storage, and " +
             (alias.x.covered() == kept.x.covered() ? "are cut in two ways"
              : alias.x.covered()                   ? b + " has no row, so that it stays whole"
                                                    : a + " has no row, so that it works with a rank's part unawares");
    f.fix = alias.x.covered() ? "add {\"" + b + "\", embedding_rowwise}, and cut both on the vocabulary"
                              : "add {\"" + a + "\", colwise_gather_output}";
    if (alias.x.covered() == kept.x.covered())
      f.fix = "cut both on the vocabulary: embedding_rowwise and colwise_gather_output";
  }

  const audited* weight_of(const audited& b) const {
    const std::string name(b.name);
    if (b.leaf() == "bias") return all_.find(dotted(b.module(), "weight"));
    return b.leaf().ends_with("_bias") ? all_.find(name.substr(0, name.size() - 5)) : nullptr;
  }
  bool has_weight(const audited& b) const {
    const audited* w = weight_of(b);
    return w != nullptr && w->shape.dims() >= 2;
  }

  void look_at_bias(const audited& b) {
    const bool own = b.leaf() == "bias";
    const audited* w = weight_of(b);
    if ((w->x.refused() && w->x.why != refusal::does_not_divide)) return;
    const std::size_t last = b.shape.dims() - 1;
    const bool kernel = own && w->shape.dims() > 2 && w->shape[0] == b.shape[0];  // of a convolution: [out, in, ...]
    const std::size_t out = kernel ? 0 : products_.out_dim(*w);
    if (!kernel && (b.shape.dims() != w->shape.dims() - 1 || b.shape[last] != w->shape[out])) return;
    cut expected;
    if (w->is_cut() && static_cast<std::size_t>(w->x.how.dim) == out) {
      expected.dim = static_cast<int>(last);
      expected.groups = w->x.how.groups;
    } else if (w->is_cut() && w->x.how.dim == 0 && w->shape.dims() == 3) {
      expected.dim = 0;
    }
    if (b.x.how.dim == expected.dim && b.x.how.groups == expected.groups) return;
    // Beside partial sums of experts each rank may add the columns of the bias that it has.
    const bool in_columns = b.shape.dims() == 2 && b.x.how.dim == 1 && w->is_cut() && w->x.how.dim != 0;
    if (in_columns && expected.whole() && all_.rule_of(b).how.divided != division::chunk) return;
    const std::string thing = starred(b.name), weight = starred(w->name);
    const bool between_experts = b.shape.dims() == 2 && b.x.how.dim == 0 && expected.dim != 0;
    finding& f = findings(to_).add(between_experts ? finding_kind::cut_on_experts : finding_kind::bias_unlike_weight,
                                   severity::error, b, thing);
    const auto groups = [](const cut& c) { return counted(c.groups, "group"); };
    if (between_experts) {
      f.text = thing + " has a row for each of " + std::to_string(b.shape[0]) + " experts, and " + as(b) +
               " cuts it between experts, while every rank has a part of each expert";
      f.fix = expected.whole() ? "leave its row out, or replicate it: it is added once, after the sum"
              : expected.groups > 1
                  ? "use rowwise.groups(" + std::to_string(expected.groups) + "), which cuts the last dim"
                  : "use rowwise, which cuts the last dim";
    } else if (b.is_cut() && !expected.whole() && b.x.how.dim == expected.dim) {
      f.text = thing + " is cut in " + groups(b.x.how) + ", and " + weight + " in " + groups(expected) +
               ": a rank would add another part's bias";
      f.fix = own ? "a plan of ours cuts a packed bias as its weight; Hugging Face's does not: use "
                    "colwise_gather_output, or a plan of ours"
                  : "give it the groups of its weight";
    } else if (!b.is_cut() && b.x.why == refusal::none) {
      f.text = thing + " is whole (" + as(b) + "), and the outputs of " + weight + " (" + as(*w) + ") are cut";
      f.fix = own ? "let the rule name the module, so that it cuts both"
                  : "add {\"" + thing + "\", " + (b.shape.dims() > 1 ? "rowwise" : "colwise") + "}";
    } else {
      f.text = thing + " is cut (" + as(b) + "), and " + weight + " gives each rank all outputs (" + as(*w) + ")";
      f.fix = "leave its row out, or let the rule name the module";
    }
  }

  // The last segment that is no number: norms may be in a list.
  static std::string_view kind_of(std::string_view module) {
    while (!module.empty() && is_number(leaf_of(module).data(), leaf_of(module).size())) module = module_of(module);
    return leaf_of(module);
  }

  void look_at_vector(const audited& g) {
    const std::string_view module = kind_of(g.module());
    const bool is_norm = (g.leaf() == "weight" || g.leaf() == "bias") &&
                         (module.find("norm") != std::string_view::npos || module.starts_with("ln"));
    const std::string thing = starred(g.thing());
    if (is_norm && g.is_cut() && !all_.sums_of_squares(g)) {
      finding& f = findings(to_).add(finding_kind::norm_over_cut_axis, severity::error, g, thing);
      f.text = thing + " is of a norm over " + std::to_string(g.shape[0]) + " elements, and " + as(g) +
               " leaves each rank a part of it: its mean would be another on each";
      f.fix = "replicate the norm";
      return;
    }
    if (g.is_cut()) {
      look_at_cut_vector(g);
      return;
    }
    const std::string_view parent = module_of(g.module());
    if (is_norm) look_at_norm(g, parent, module);
    if (g.leaf() == "sinks" || g.leaf() == "gate_bias") look_at_sinks(g);
  }

  void look_at_cut_vector(const audited& g) {
    const cut_of cuts = all_.rule_of(g).how.facts().cut;
    if (cuts == cut_of::experts) return;
    const std::string name = starred(g.name);
    if (cuts != cut_of::out) {
      finding& f = findings(to_).add(finding_kind::vector_cut, severity::error, g, name);
      f.text = name + " is a vector of " + std::to_string(g.shape[0]) + " elements, and " + as(g) +
               " cuts it: only a vector named bias is left whole";
      f.fix =
          "add {\"" + name + "\", replicate(\"added once, after the sum\")}, or colwise where it goes with cut outputs";
      return;
    }
    // One number for each head or feature goes with a cut output near it.
    const std::string parent(module_of(starred(g.thing())));
    for (const audited& other : all_.groups) {
      if (other.shape.dims() < 2 || !other.is_cut() || module_of(starred(other.thing())) != parent) continue;
      if (products_.output_of(other, products_.out_dim(other)) == spread::cut) return;
    }
    finding& f = findings(to_).add(finding_kind::vector_cut, severity::error, g, name);
    f.text = name + " is a vector of " + std::to_string(g.shape[0]) + " elements, and " + as(g) +
             " cuts it, while no output beside it is cut";
    f.fix = "add {\"" + name + "\", replicate(\"why\")}";
  }

  // A norm between a cut output and what takes it.
  void look_at_norm(const audited& g, std::string_view parent, std::string_view leaf) {
    struct row {
      std::string_view norm, of;
    };
    constexpr row rows[] = {{"q_norm", "q_proj"},          {"k_norm", "k_proj"},
                            {"q_layernorm", "q_proj"},     {"k_layernorm", "k_proj"},
                            {"query_norm", "query"},       {"key_norm", "key"},
                            {"query_layernorm", "q_proj"}, {"key_layernorm", "k_proj"},
                            {"q_a_layernorm", "q_a_proj"}, {"kv_a_layernorm", "kv_a_proj_with_mqa"}};
    const std::string thing = starred(g.thing());
    const auto say = [&](const audited& of) {
      finding& f = findings(to_).add(finding_kind::norm_over_cut_axis, severity::error, g, thing);
      f.text = thing + " is a norm over all " + std::to_string(g.shape[0]) + " features that " + starred(of.thing()) +
               " (" + as(of) + ") leaves cut: each rank would take the mean of its part";
      return &f;
    };
    for (const row& r : rows) {
      if (r.norm != leaf) continue;
      const audited* of = all_.find(dotted(parent, r.of) + ".weight");
      if (of == nullptr || of->shape.dims() != 2 || of->shape[0] < g.shape[0]) continue;
      if (r.norm.find("_a_") != std::string_view::npos) {
        if (products_.output_of(*of, 0) == spread::cut) say(*of)->fix = "make " + starred(of->thing()) + " whole";
        continue;
      }
      if (of->shape[0] != g.shape[0]) continue;
      const heads_found h = heads_of(all_, *of);
      if (h.heads == 1 || all_.number(g.name, "head_dim") == g.shape[0] || is_of_heads(g, parent)) continue;
      if (products_.output_of(*of, 0) == spread::cut) {
        say(*of)->fix = "use colwise_gather_output for q_proj, k_proj and v_proj, and rowwise_split_input for o_proj";
      }
    }
    if (leaf.find("sub_norm") == std::string_view::npos && leaf.find("sub_layernorm") == std::string_view::npos &&
        leaf != "inner_attn_ln" && leaf != "ffn_layernorm") {
      return;
    }
    for (const char* consumer : {"o_proj", "down_proj", "out_proj", "fc2", "w2"}) {
      const audited* to = all_.find(dotted(parent, consumer) + ".weight");
      if (to == nullptr || to->shape.dims() != 2 || to->shape[1] != g.shape[0]) continue;
      if (products_.input_of(*to, 1) != spread::cut) continue;
      finding& f = findings(to_).add(finding_kind::norm_over_cut_axis, severity::error, g, thing);
      f.text = thing + " is a norm over all " + std::to_string(g.shape[0]) + " features of which " +
               starred(to->thing()) + " (" + as(*to) + ") takes a part on each rank";
      f.fix = "use colwise_gather_output before it, and rowwise_split_input after it";
    }
  }

  // Has the norm of the queries this size, too, and are they several heads? Then it is of single heads.
  bool is_of_heads(const audited& g, std::string_view parent) const {
    const audited* norm = all_.find(dotted(parent, "q_norm.weight"));
    const audited* q = all_.find(dotted(parent, "q_proj.weight"));
    return norm != nullptr && q != nullptr && norm->shape == g.shape && q->shape[0] > g.shape[0];
  }

  // One number a head goes with the heads.
  void look_at_sinks(const audited& g) {
    const audited* q = all_.find(dotted(g.module(), "q_proj") + ".weight");
    if (q == nullptr || q->shape.dims() != 2 || products_.output_of(*q, 0) != spread::cut) return;
    finding& f = findings(to_).add(finding_kind::bias_unlike_weight, severity::error, g, starred(g.name));
    f.text = f.subject + " has a number for each of " + std::to_string(g.shape[0]) + " heads on every rank, and " +
             starred(q->thing()) + " (" + as(*q) + ") leaves each rank its heads only";
    f.fix = "add {\"" + f.subject + "\", colwise} and {\"" + starred(g.module()) + "\", local_params}";
  }

  // As `shard` refuses it.
  void look_at_module(const audited& g) {
    const style* module = all_.module_style(g.module());
    if (g.shape.dims() < 2 || module == nullptr || !module->has_parameter_half()) return;
    const cut expected = cut_by(*module, g.shape.dims(), false).how;
    if (expected.dim == g.x.how.dim && expected.groups == g.x.how.groups) return;
    if (!g.is_cut() && module->whole_if_refused && g.x.covered() && all_.rule_of(g).how.whole_if_refused) return;
    finding& f = findings(to_).add(finding_kind::module_unlike_weight, severity::error, g, starred(g.name));
    f.text = f.subject + " is cut by " + as(g) + ", unlike its module, whose rule is " + std::string(module->name()) +
             ": the module's step would not fit";
    f.fix = "give both the same style";
  }

  // Elements that share a scale stay together.
  void look_at_blocks(const audited& g) {
    if (!g.is_cut() || g.shape.dims() < 2 || g.shape.dims() > 3 || g.x.why == refusal::does_not_divide) return;
    const auto dim = static_cast<std::size_t>(g.x.how.dim);
    if (dim == 0 && g.shape.dims() == 3) return;
    std::string_view from = "";
    std::size_t block = 0;
    for (const char* suffix : {"_scale_inv", "_scale", "_scales"}) {
      const audited* s = all_.find(std::string(g.name) + suffix);
      if (s == nullptr || s->shape.dims() != g.shape.dims() || s->shape[dim] <= 1) continue;
      block = (g.shape[dim] + s->shape[dim] - 1) / s->shape[dim];
      from = suffix;
    }
    if (block == 0 && g.leaf() == "scales") {  // AWQ and GPTQ: [input groups, outputs], of a transposed weight
      return;
    }
    const std::string_view thing_leaf = leaf_of(g.thing());
    const bool weight = g.leaf() == "weight" || g.shape.dims() == 3;
    if (block == 0 && weight && !is_look_up(g) && thing_leaf != "lm_head") {
      const bool in = dim == products_.in_dim(g);
      block =
          all_.number("", in ? "quantization_config.weight_block_columns" : "quantization_config.weight_block_rows");
      from = "quantization_config.weight_block_size";
      if (block == 0 && in) {
        block = all_.number("", "quantization_config.group_size");
        from = "quantization_config.group_size";
      }
    }
    if (block <= 1 || fits(g, block, all_.tp)) return;
    const std::string thing = starred(g.thing());
    finding& f = findings(to_).add(finding_kind::cut_inside_block, severity::error, g, thing);
    const std::size_t extent = g.cut_extent();
    const auto legal = [&](int tp) { return fits(g, block, tp); };
    f.text = thing + " has " + std::to_string(extent) + (dim == products_.in_dim(g) ? " input" : " output") +
             " features in quantisation blocks of " + std::to_string(block) + ", " + std::to_string(all_.tp) +
             " ranks: pieces of " + std::to_string(pieces_of(g.x.how, extent, all_.tp, 0).at[0].size()) +
             " end inside a block, whose scale two ranks would need; legal sizes are " + legal_sizes(legal);
    const std::size_t unit = block * static_cast<std::size_t>(all_.tp) * g.x.how.groups;
    f.fix = "use tp " + std::to_string(size_below(all_.tp, legal)) + ", or pad to " +
            std::to_string((extent + unit - 1) / unit * unit) + " features";
  }
  static bool fits(const audited& g, std::size_t block, int tp) {
    const std::size_t extent = g.cut_extent();
    for (int r = 0; r < tp; ++r) {
      const auto pieces = pieces_of(g.x.how, extent, tp, r);
      if (pieces.size() == 0) return false;
      for (const interval& i : pieces) {
        if (i.begin % block != 0 || (i.end % block != 0 && i.end != extent)) return false;
      }
    }
    return true;
  }

  const facts& all_;
  const products& products_;
  audit_report& to_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise

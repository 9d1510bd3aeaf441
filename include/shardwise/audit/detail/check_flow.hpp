// SPDX-License-Identifier: Apache-2.0
// From producer to consumer: a cut output meets a cut input, groups meet groups, and each partial sum is added up once.
#pragma once
#include <algorithm>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardwise/audit/detail/check_sizes.hpp"
#include "shardwise/audit/detail/check_whole.hpp"
#include "shardwise/audit/detail/products.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Is it the product that makes the logits?
inline bool is_head(const audited& g) {
  const std::string_view thing = g.thing(), leaf = leaf_of(thing);
  if (g.shape.dims() != 2 || starred(thing) != thing) return false;
  return leaf == "lm_head" || leaf == "embed_out" || thing == "output" || thing.find("lm_head.") != std::string::npos;
}
/// Does it score the experts, or weigh a shared one?
inline bool is_router(const audited& g) {
  constexpr std::string_view names = "gate router classifier shared_expert_gate shared_experts_gate wg router_gate";
  return g.shape.dims() == 2 && has_word(names, leaf_of(g.thing()));
}
/// Gate and up lie in turn, a row of each: gpt-oss, which has a bias beside it, and the inkling models. A plain cut is
/// then right.
inline bool is_interleaved(const facts& all, const audited& g) {
  if (all.find(std::string(g.name) + "_bias") != nullptr) return true;
  const std::size_t mlp = g.name.find(".mlp.");
  return mlp != std::string_view::npos &&
         all.find(std::string(g.name.substr(0, mlp)) + ".self_attn.r_proj.weight") != nullptr;
}

class flow_check {
 public:
  flow_check(const facts& all, const products& p, audit_report& r) : all_(all), products_(p), to_(r) {}

  void run() {
    if (all_.tp == 1) return;
    for (const linked& l : products_.links()) look_at(l);
    for (const mismatch& m : mismatches_) report(m);
    for (const audited& g : all_.groups) {
      if (g.x.refused() && g.x.why != refusal::does_not_divide) continue;
      if (is_head(g)) {
        look_at_head(g);
      } else if (!look_at_style(g)) {
        look_around(g);
      }
    }
    look_at_sums();
    report_gathered();
  }

 private:
  using text = std::string;

  // Producers of one consumer that do not hand on what it takes.
  struct mismatch {
    finding_kind kind;
    const audited* consumer;
    std::vector<const audited*> producers;
  };

  std::string as(const audited& g) const {
    return g.x.covered() ? std::string(all_.rule_of(g).how.name()) : std::string("whole, without a rule");
  }

  void note(finding_kind kind, const linked& l) {
    for (mismatch& m : mismatches_) {
      if (m.kind == kind && m.consumer == l.consumer) {
        m.producers.push_back(l.producer);
        return;
      }
    }
    mismatches_.push_back({kind, l.consumer, {l.producer}});
  }

  void look_at(const linked& l) {
    if ((l.producer->x.refused() && l.producer->x.why != refusal::does_not_divide) ||
        (l.consumer->x.refused() && l.consumer->x.why != refusal::does_not_divide)) {
      return;
    }
    const spread out = products_.output_of(*l.producer, l.out), in = products_.input_of(*l.consumer, l.in);
    const style* step = products_.step_of(*l.consumer);
    if (in == spread::cut && out == spread::cut) {
      look_at_groups(l);
    } else if (in == spread::cut || (in == spread::experts && out != spread::experts)) {
      // Key and value heads that all ranks have, said so with a reason: the engine gives each query its own.
      if (l.by->kind == edge::attention && l.producer->x.covered() && !all_.rule_of(*l.producer).how.reason.empty() &&
          has_word("k_proj v_proj wk wv k v", leaf_of(l.producer->thing()))) {
        return;
      }
      note(finding_kind::whole_input, l);
    } else if (out == spread::cut || (out == spread::experts && in != spread::experts)) {
      note(finding_kind::cut_input, l);
    } else if (step != nullptr && step->facts().splits_input && products_.step_of(*l.producer) != nullptr &&
               products_.step_of(*l.producer)->facts().then == collective::gather_last_dim) {
      gathered_.push_back(l.producer);
    }
  }

  void report(const mismatch& m) {
    std::vector<std::string> things;
    std::vector<std::string> styles;
    for (const audited* p : m.producers) {
      const std::string thing = starred(p->thing()), style = as(*p);
      if (std::find(things.begin(), things.end(), thing) == things.end()) things.push_back(thing);
      if (std::find(styles.begin(), styles.end(), style) == styles.end()) styles.push_back(style);
    }
    std::string by;
    for (const std::string& s : styles) by += (by.empty() ? "" : ", ") + s;
    finding& f = findings(to_).add(m.kind, severity::error, *m.consumer, starred(m.consumer->thing()));
    const bool many = things.size() > 1;
    if (m.kind == finding_kind::whole_input) {
      f.text = f.subject + " (" + as(*m.consumer) + ") takes its part of a cut input, and " + joined(things) + " (" +
               by + ")" + (many ? " hand on" : " hands on") + " a whole one";
      f.fix = "make " + std::string(many ? "them" : "it") + " colwise, or " + f.subject + " rowwise_split_input";
    } else {
      f.text = f.subject + " (" + as(*m.consumer) + ") takes a whole input, and " + joined(things) + " (" + by + ")" +
               (many ? " hand on" : " hands on") + " a rank's part of one";
      f.fix = "make " + f.subject + " rowwise, or " + joined(things) + " colwise_gather_output";
    }
  }

  void look_at_groups(const linked& l) {
    const audited &p = *l.producer, &c = *l.consumer;
    if (p.x.how.unequal != 0) return;  // the plan says what each group is
    const std::size_t out = p.shape[l.out], in = c.shape[l.in];
    const std::string_view leaf = leaf_of(p.thing());
    int parts = 1;
    if (l.by->kind == edge::attention) {
      if (has_word("qkv_proj qkv Wqkv wqkv in_proj_qkv", leaf)) parts = 3;
    } else if (out == 2 * in && !is_interleaved(all_, p)) {
      parts = 2;
    }
    const int has = p.x.how.groups, takes = c.x.how.groups;
    if (has == parts * takes && (parts < 3 || out == 3 * in)) return;
    const std::string thing = starred(p.thing());
    const std::string parts_text = parts == 3 ? "q|k|v" : "gate|up";
    if (parts > 1 && has == 1) {
      finding& f = findings(to_).add(finding_kind::packed_cut_plainly, severity::error, p, thing);
      f.text = thing + " is " + parts_text + " side by side, " + std::to_string(out) + " rows, and " + as(p) +
               " cuts it as one: the first ranks get parts of " + (parts == 3 ? "q" : "gate") + " only, the last of " +
               (parts == 3 ? "v" : "up");
      f.fix = parts == 2      ? text(l.out == 2 ? "use packed_rowwise" : "use packed_colwise")
              : out == 3 * in ? text("use colwise.groups(3)")
                              : text(
                                    "its parts are not equally large: use colwise_gather_output, and "
                                    "rowwise_split_input for ") +
                                    starred(c.thing());
      return;
    }
    finding& f = findings(to_).add(finding_kind::groups_unlike, severity::error, p, thing);
    f.text = thing + " (" + std::to_string(out) + " features) is cut as " +
             counted(static_cast<std::size_t>(has), "group") + ", and " + starred(c.thing()) + " (" +
             std::to_string(in) + " features), which takes its output, as " + std::to_string(takes) +
             ": a rank's parts do not belong together";
    f.fix = parts == 1 ? "cut both as one: " + text(has != 1 ? "colwise for the first" : "rowwise for the second")
                       : "cut the first as " + std::to_string(parts) + " groups and the second as one";
  }

  void look_at_head(const audited& g) {
    const std::string thing = starred(g.thing());
    const style* step = products_.step_of(g);
    if (step != nullptr && step->facts().input != placement(replicated{})) {
      finding& f = findings(to_).add(finding_kind::whole_input, severity::error, g, thing);
      f.text = thing + " (" + as(g) + ") takes its part of a cut input, and the last norm hands on a whole one";
      f.fix = "use colwise_gather_output, or rowwise_split_input";
    } else if (step != nullptr && step->facts().cut != cut_of::out && g.is_cut() && !step->facts().splits_input) {
      unlike(g, "a product", "colwise_gather_output");
    } else if (products_.output_of(g, 0) == spread::cut) {
      finding& f = findings(to_).add(finding_kind::logits_width, severity::error, g, thing);
      const std::size_t local = pieces_of(g.x.how, g.cut_extent(), all_.tp, 0).size();
      f.text = thing + " is " + as(g) +
               (step == nullptr ? " by a row that names the parameter, so that no step gathers" : "") +
               ": each rank has " + std::to_string(local) + " of " + std::to_string(g.shape[0]) +
               " logits, and a token chosen from those is wrong";
      f.fix = "use {\"" + thing + "\", colwise_gather_output}";
    }
  }

  void unlike(const audited& g, std::string_view what, std::string_view use) {
    const std::string thing = starred(g.thing());
    finding& f = findings(to_).add(finding_kind::style_unlike_module, severity::error, g, thing);
    f.text = thing + " is " + std::string(what) + ", and its style is " + as(g);
    f.fix = "use " + std::string(use);
  }

  // True where the style is not one for such a module.
  bool look_at_style(const audited& g) {
    if (!g.is_cut()) return false;
    const cut_of cuts = all_.rule_of(g).how.facts().cut;
    const std::size_t dims = g.shape.dims();
    if (cuts == cut_of::experts) {
      const std::size_t experts = experts_of(g);
      if (dims > 2 || (dims == 2 && g.leaf().ends_with("bias")) || experts == g.shape[0]) return false;
      unlike(g, "no tensor of stacked experts", "replicate(\"why\")");
      return true;
    }
    if (dims < 2) return false;
    const bool of_table = cuts == cut_of::first || cuts == cut_of::second;
    const std::string_view leaf = leaf_of(g.thing()), usual = usual_style(g.thing());
    if (!of_table && has_word("embed_tokens wte word_embeddings tok_embeddings embed_in", leaf)) {
      unlike(g, "a table that is looked up in", "embedding_rowwise");
      return true;
    }
    if (of_table && !is_look_up(g) && leaf.find("emb") == std::string_view::npos) {
      unlike(g, "a product", usual.empty() ? "the style of its neighbours" : usual);
      return true;
    }
    // [out, in, width]: colwise means the last dim but one, which are the input channels, unless it says `convolution`.
    if (all_.rule_of(g).how.channels_first) return false;
    const bool kernel = dims > 3 || (dims == 3 && g.shape[2] <= 16 && g.leaf() == "weight");
    if (!of_table && kernel && !products_.is_producer(g) && !products_.is_consumer(g)) {
      unlike(g, "the kernel of a convolution, which is cut on dim " + std::to_string(g.x.how.dim),
             "replicate(\"a convolution\")");
      return true;
    }
    return false;
  }
  std::size_t experts_of(const audited& g) const {
    for (const char* field : {"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"}) {
      if (const std::size_t n = all_.number(g.name, field); n != 0) return n;
    }
    return 0;
  }

  // A module whose neighbours are not known by name: something near must make, or take, a cut of as many features.
  void look_around(const audited& g) {
    if (!g.is_cut() || g.shape.dims() != 2 || g.leaf().ends_with("bias")) return;
    if (g.leaf() != "weight" && all_.module_rule(g.module()) != no_rule) return;  // the module knows of its parameters
    const std::string thing = starred(g.thing());
    const bool gives = products_.output_of(g, 0) == spread::cut && !products_.is_producer(g);
    const bool takes = products_.input_of(g, 1) == spread::cut && !products_.is_consumer(g);
    if (gives && is_router(g)) {
      finding& f = findings(to_).add(finding_kind::cut_input, severity::error, g, thing);
      f.text = thing + " is " + as(g) + ": a rank has the scores of some only, and every rank needs them all";
      f.fix = "use replicate(\"every rank needs all scores\")";
      return;
    }
    if (!gives && !takes) return;
    // Before the first of a block and after its last are the whole hidden states.
    const bool end = g.leaf() == "weight" && (gives ? products_.is_consumer(g) : products_.is_producer(g));
    const std::size_t number = thing.rfind(".*.");
    const std::string scope = number == std::string::npos ? dotted(module_of(thing), "") : thing.substr(0, number + 3);
    const std::string where = scope.empty() ? "the model" : scope + "*";
    const std::size_t features = g.shape[gives ? 0 : 1];
    const bool heads = has_word("q_proj k_proj v_proj", leaf_of(thing));
    for (const audited& other : all_.groups) {
      if (end || &other == &g || other.shape.dims() < 2 || !other.is_cut() || !other.subject.starts_with(scope))
        continue;
      if (is_router(other)) continue;
      const std::size_t dim = gives ? products_.in_dim(other) : products_.out_dim(other), n = other.shape[dim];
      if (n == 0 || (n != features && n != 2 * features && 2 * n != features && !(heads && n % features == 0)))
        continue;
      if ((gives ? products_.input_of(other, dim) : products_.output_of(other, dim)) == spread::cut) return;
    }
    finding& f =
        findings(to_).add(gives ? finding_kind::cut_input : finding_kind::whole_input, severity::warning, g, thing);
    f.text = gives ? thing + " is " + as(g) + ": each rank has a part of its output, and nothing in " + where +
                         " takes a cut input of that size"
                   : thing + " is " + as(g) + ": it takes a part of its input, and nothing in " + where +
                         " makes a cut output of that size";
    f.fix = gives ? "use colwise_gather_output, or rowwise for what takes it" : "use rowwise_split_input";
  }

  // Every partial sum, and who adds it up.
  void look_at_sums() {
    std::set<std::string> sums;
    std::set<std::string> told;
    std::vector<std::pair<const audited*, std::string_view>> ends;  // of blocks, and where their sums are reduced
    for (const audited& g : all_.groups) {
      if (all_.sums_of_squares(g)) sums.insert(starred(g.module()));
      if (!g.is_cut() || g.shape.dims() < 2 || !makes_sum(g)) continue;
      std::string_view at = g.module();
      const style* by = nullptr;
      for (;; at = module_of(at)) {
        by = all_.module_style(at);
        if (by != nullptr && by->facts().then == collective::all_reduce) break;
        by = nullptr;
        if (at.empty()) break;
      }
      if (by != nullptr) {
        sums.insert(starred(at));
        if (products_.is_consumer(g)) ends.push_back({&g, at});
      } else if (told.insert(starred(g.module())).second) {
        report_no_sum(g);
      }
    }
    for (const auto& [g, at] : ends) look_above(*g, at, sums, told);
    std::set<std::string> seen;
    for (const audited& g : all_.groups) {
      for (std::string_view at = g.module(); !at.empty(); at = module_of(at)) {
        if (!seen.insert(starred(at)).second) break;
        const style* how = all_.module_style(at);
        if (how != nullptr && how->facts().cut == cut_of::no_half && how->facts().then == collective::all_reduce &&
            sums.count(starred(at)) == 0) {
          report_two_sums(g, starred(at), *how);
        }
      }
    }
  }

  // The end of a block that is reduced at `at`, and again with what is added to it above.
  void look_above(const audited& g, std::string_view at, const std::set<std::string>& sums,
                  std::set<std::string>& told) {
    while (!at.empty()) {
      at = module_of(at);
      const style* above = all_.module_style(at);
      if (above == nullptr || above->facts().cut != cut_of::no_half || above->facts().then != collective::all_reduce) {
        continue;
      }
      if (sums.count(starred(at)) == 0) return;  // it adds up nothing else, and is said to
      const std::string thing = starred(g.leaf() == "weight" ? g.thing() : g.name);
      if (!told.insert("twice " + thing).second) return;
      finding& f = findings(to_).add(finding_kind::reduced_twice, severity::error, g, thing);
      f.text = thing + " (" + as(g) + ") is added up over the ranks, and its module " + starred(at) + " (" +
               std::string(above->name()) + ") adds up the sum again: it is " + std::to_string(all_.tp) +
               " times too large";
      f.fix = g.leaf() == "weight"
                  ? "make it rowwise_partial_output, or leave out the row of " + starred(at)
                  : "make " + starred(g.module()) + " partial_output, or leave out the row of " + starred(at);
      return;
    }
  }

  bool makes_sum(const audited& g) const {
    if (const style* step = products_.step_of(g)) return step->facts().local == placement(partial<>{});
    const style& how = all_.rule_of(g).how;
    if (is_look_up(g)) return how.facts().cut == cut_of::first;  // looked up without a step
    const auto dim = static_cast<std::size_t>(g.x.how.dim);
    if (g.shape.dims() == 2) {
      const bool weight = g.leaf() == "weight" || all_.module_rule(g.module()) == no_rule;
      return weight && dim == 1 && !g.leaf().ends_with("bias") && g.leaf().find("scale") == std::string_view::npos;
    }
    return (dim == 0 && how.facts().cut == cut_of::experts) || dim == products_.in_dim(g);
  }

  void report_no_sum(const audited& g) {
    const bool experts = all_.rule_of(g).how.facts().cut == cut_of::experts;
    const bool bare = g.leaf() != "weight";
    const std::string owner = starred(g.module()), thing = starred(bare ? g.name : g.thing());
    finding& f = findings(to_).add(finding_kind::never_reduced, severity::error, g, thing);
    f.text = experts ? thing + " is cut between experts, and no rule of " + owner +
                           " lets the ranks work together: each " + "has the output of its own experts only"
                     : thing + " (" + as(g) + ") gives each rank a part of a sum, and no rule adds the parts up";
    f.fix = experts ? "add {\"" + owner + "\", ep_dispatch_experts}"
            : bare  ? "add {\"" + owner + "\", moe_tp_experts}"
                    : "let the rule name the module, \"" + starred(g.module()) + "\", so that it has a step";
  }

  void report_two_sums(const audited& g, const std::string& module, const style& how) {
    finding& f = findings(to_).add(finding_kind::reduced_twice, severity::error, g, module);
    bool cut = false;
    for (const audited& other : all_.groups) cut |= other.is_cut() && other.subject.starts_with(module + ".");
    f.text = module + " is " + std::string(how.name()) + ", which adds up the outputs of " + std::to_string(all_.tp) +
             " ranks, and " +
             (cut ? "what is in it has added up its own already" : "nothing in it is cut, so that each has the whole") +
             ": the result is " + std::to_string(all_.tp) + " times too large";
    f.fix = cut ? "leave the row out" : "cut what is in it, or leave the row out";
  }

  void report_gathered() {
    if (gathered_.empty()) return;
    const std::string thing = starred(gathered_.front()->thing());
    finding& f = findings(to_).add(finding_kind::gathered_to_be_cut, severity::note, *gathered_.front(), thing);
    f.count = 0;
    for (const audited* g : gathered_) f.count += g->count;
    f.text = thing + (f.count == 1 ? "" : " and " + std::to_string(f.count - 1) + " more") +
             (f.count == 1 ? " is" : " are") + " gathered, and what takes the output cuts it again";
    f.fix = "where nothing between needs the whole, colwise and rowwise save the gather";
  }

  const facts& all_;
  const products& products_;
  audit_report& to_;
  std::vector<mismatch> mismatches_;
  std::vector<const audited*> gathered_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise

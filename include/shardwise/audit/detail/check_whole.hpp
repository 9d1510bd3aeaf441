// SPDX-License-Identifier: Apache-2.0
// What is whole on every rank without a reason, weighed in bytes and in time.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/audit/detail/facts.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Is it a table that is looked up in, of which a token reads one row?
inline bool is_look_up(const audited& g) {
  std::string_view thing = leaf_of(g.thing());
  if (is_number(thing.data(), thing.size())) thing = leaf_of(module_of(g.thing()));  // one of a list of tables
  for (const std::string_view word : {"embed_tokens", "wte", "wpe", "word_embeddings", "tok_embeddings", "embed_in",
                                      "embeddings", "token_embedding", "position_embedding", "pos_embed", "shared"}) {
    if (thing == word) return g.shape.dims() == 2;
  }
  return g.shape.dims() == 2 && (thing.ends_with("_embedding") || thing.ends_with("_embeddings") ||
                                 thing.starts_with("embed_tokens_") || thing == "embed_positions");
}

/// Is it part of an encoder of images or sound, which a decoded token does not run through?
inline bool is_encoder(std::string_view name) {
  for (const std::string_view word : {"vision", "visual", "audio", "image", "encoder", "tower", "projector"}) {
    if (name.find(word) != std::string_view::npos) return true;
  }
  return false;
}

/// The share of a parameter that one decoded token reads: a row of a table, the chosen ones of stacked experts.
inline double read_share(const facts& all, const audited& g) {
  if (is_encoder(g.name)) return 0;
  if (is_look_up(g)) {
    // A tied table is read whole as the head.
    for (const audited& alias : all.groups) {
      if (alias.tied() && &all.groups[alias.kept] == &g) return 1;
    }
    return 0;
  }
  const bool experts = g.name.find(".experts.") != std::string_view::npos;
  const std::size_t chosen = all.number(g.name, "num_experts_per_tok");
  std::size_t of = all.number(g.name, "num_experts");
  for (const char* field : {"num_local_experts", "n_routed_experts", "moe_num_experts"}) {
    if (of == 0) of = all.number(g.name, field);
  }
  return experts && chosen != 0 && of > chosen ? static_cast<double>(chosen) / static_cast<double>(of) : 1;
}

/// The row that most plans have for a weight of this name; "" if the name tells nothing.
inline std::string_view usual_style(std::string_view thing) {
  struct row {
    std::string_view leaf, style;
  };
  constexpr row rows[] = {{"lm_head", "colwise_gather_output"},
                          {"output", "colwise_gather_output"},
                          {"embed_out", "colwise_gather_output"},
                          {"embed_tokens", "embedding_rowwise"},
                          {"wte", "embedding_rowwise"},
                          {"word_embeddings", "embedding_rowwise"},
                          {"embeddings", "embedding_rowwise"},
                          {"q_proj", "colwise"},
                          {"k_proj", "colwise"},
                          {"v_proj", "colwise"},
                          {"q_b_proj", "colwise"},
                          {"kv_b_proj", "colwise"},
                          {"gate_proj", "colwise"},
                          {"up_proj", "colwise"},
                          {"fc1", "colwise"},
                          {"w1", "colwise"},
                          {"w3", "colwise"},
                          {"gate_up_proj", "packed_colwise"},
                          {"o_proj", "rowwise"},
                          {"down_proj", "rowwise"},
                          {"fc2", "rowwise"},
                          {"w2", "rowwise"}};
  for (const row& r : rows) {
    if (leaf_of(thing) == r.leaf) return r.style;
  }
  return {};
}

/// Weighs what is whole. A subtree of which nothing is cut, and of which nothing is said, is one thing; what is part of
/// a subtree that is cut elsewhere stands for itself.
class whole_check {
 public:
  whole_check(const facts& all, audit_report& r) : all_(all), to_(r) {}

  void run() {
    if (all_.tp == 1) return;
    for (std::size_t i = 0; i < all_.groups.size(); ++i) insert(i);
    weigh(nodes_[0]);
    add_rest();
  }

 private:
  struct node {
    std::string path;
    std::map<std::string, std::size_t> below;  // a segment to a node
    std::vector<std::size_t> groups;           // of all parameters in it
    bool whole = true;                         // nothing in it is cut, or said to be whole with a reason
    std::size_t unsaid = 0;                    // bytes of its matrices that are whole without a reason
    double read = 0;                           // of these, what a decoded token reads
  };

  static bool said(const facts& all, const audited& g) {
    if (!g.x.covered()) return false;
    const style& how = all.rule_of(g).how;
    if (g.is_cut() || !how.reason.empty()) return true;
    // The other styles that leave things whole are of norms, and of the way down to a latent.
    return how.kind != style_kind::replicate &&
           (g.shape.dims() < 2 || g.name.find("norm") != std::string_view::npos ||
            (how.kind == style_kind::mla_kv_a_proj && g.name.find("kv_a_proj") != std::string_view::npos));
  }

  void insert(std::size_t i) {
    const audited& g = all_.groups[i];
    if (g.tied()) return;
    const bool quiet = said(all_, g);
    const bool counts = !quiet && g.shape.dims() >= 2;
    std::size_t at = 0;
    const std::string& name = g.subject;
    for (std::size_t begin = 0;;) {
      node& n = nodes_[at];
      n.groups.push_back(i);
      if (quiet && g.shape.dims() >= 2) n.whole = false;
      if (counts) {
        n.unsaid += g.bytes();
        n.read += static_cast<double>(g.bytes()) * read_share(all_, g);
      }
      if (begin >= name.size()) return;
      const std::size_t dot = std::min(name.find('.', begin), name.size());
      const std::string segment = name.substr(begin, dot - begin);
      begin = dot + 1;
      const auto [found, made] = n.below.emplace(segment, nodes_.size());
      at = found->second;
      if (made) {
        node child;
        child.path = name.substr(0, dot);
        nodes_.push_back(std::move(child));
      }
    }
  }

  void weigh(const node& n) {
    if (n.unsaid == 0) return;
    if (!n.path.empty() && (n.whole || n.below.empty())) {
      report(n);
      return;
    }
    for (const auto& [segment, child] : n.below) {
      weigh(nodes_[child]);
    }
  }

  void report(const node& n) {
    const double extra_share = 1 - 1.0 / all_.tp;
    if (static_cast<double>(n.unsaid) <= all_.options.whole_threshold * static_cast<double>(to_.bytes)) {
      rest_.push_back(n.path);
      rest_bytes_ += n.unsaid;
      return;
    }
    const audited* first = nullptr;
    std::size_t count = 0;
    for (const std::size_t i : n.groups) {
      const audited& g = all_.groups[i];
      if (said(all_, g) || g.shape.dims() < 2) continue;
      if (first == nullptr) first = &g;
      count += g.count;
    }
    finding& f = findings(to_).add(finding_kind::whole_on_every_rank, severity::error, *first, n.path);
    f.count = count;
    f.bytes = static_cast<std::size_t>(static_cast<double>(n.unsaid) * extra_share);
    f.milliseconds = n.read * extra_share / all_.options.memory_bandwidth * 1e3;
    f.text = n.path + " " + bytes_text(n.unsaid) + " is whole on " + std::to_string(all_.tp) + " ranks: +" +
             bytes_text(f.bytes) + " per rank";
    if (f.milliseconds >= 0.0005) {
      char ms[48];
      std::snprintf(ms, sizeof ms, ", +%.*f ms per decoded token", f.milliseconds < 0.1 ? 3 : 2, f.milliseconds);
      f.text += ms;
    }
    // One thing, or a subtree with many.
    const bool one = n.groups.size() == 1 || leaf_of(n.path) == "weight";
    const std::string thing = leaf_of(n.path) == "weight" ? std::string(module_of(n.path)) : n.path;
    const std::string_view style = one || n.below.size() <= 2 ? usual_style(thing) : std::string_view();
    if (!style.empty()) {
      f.fix =
          "add {\"" + thing + "\", " + std::string(style) + "}, or allow it: {\"" + thing + "\", replicate(\"why\")}";
    } else if (one) {
      f.fix = "add a row that cuts it, or allow it: {\"" + thing + "\", replicate(\"why\")}";
    } else {
      f.fix = "add rows that cut it, or allow it: {\"" + thing + ".**\", replicate(\"why\")}";
    }
  }

  // What is small is one note.
  void add_rest() {
    if (rest_.empty()) return;
    finding& f = findings(to_).add(finding_kind::whole_on_every_rank, severity::note, rest_.front());
    f.count = rest_.size();
    f.bytes = static_cast<std::size_t>(static_cast<double>(rest_bytes_) * (1 - 1.0 / all_.tp));
    f.text = counted(rest_.size(), "smaller part") + " of the model, " + bytes_text(rest_bytes_) + " in all, " +
             (rest_.size() == 1 ? "is" : "are") + " whole on every rank without a reason: " + rest_.front();
    for (std::size_t i = 1; i < rest_.size() && i < 4; ++i) f.text += ", " + rest_[i];
    if (rest_.size() > 4) f.text += ", ...";
    f.fix = "replicate(\"why\") says that it is meant";
  }

  const facts& all_;
  audit_report& to_;
  std::vector<node> nodes_ = std::vector<node>(1);
  std::vector<std::string> rest_;
  std::size_t rest_bytes_ = 0;
};

/// A reason makes what is whole right; it does not make it small.
inline void note_what_is_whole_with_a_reason(const facts& all, audit_report& r) {
  std::map<std::string_view, std::size_t> by_reason;
  std::size_t whole = 0;
  for (const audited& g : all.groups) {
    if (g.tied() || g.is_cut() || !g.x.covered() || all.rule_of(g).how.reason.empty()) continue;
    by_reason[all.rule_of(g).how.reason] += g.bytes();
    whole += g.bytes();
  }
  if (all.tp == 1 || 2 * whole <= r.bytes) return;
  const auto most = std::max_element(by_reason.begin(), by_reason.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  finding& f = findings(r).add(finding_kind::whole_on_every_rank, severity::note, "");
  f.bytes = static_cast<std::size_t>(static_cast<double>(whole) * (1 - 1.0 / all.tp));
  f.text = bytes_text(whole) + " of " + bytes_text(r.bytes) +
           " is whole on every rank, as the plan says: most of it \"" + std::string(most->first) + "\"";
  f.fix = "rows that cut it would save a rank up to " + bytes_text(f.bytes);
}

inline void check_whole(const facts& all, audit_report& r) {
  if (all.tp > 1 && r.cut == 0 && r.parameters != 0) {
    finding& f = findings(r).add(finding_kind::nothing_cut, severity::error, "");
    f.count = r.parameters;
    f.text = "none of the " + std::to_string(r.parameters) + " parameters is cut: each of " + std::to_string(all.tp) +
             " ranks holds the whole model and does the whole work";
    bool any = false, cuts = false;
    for (std::size_t i = 0; i < all.rules.size(); ++i) {
      any |= all.use.used(i);
      const cut_of how = all.rules[i].how.facts().cut;
      cuts |= all.use.used(i) && how != cut_of::whole && how != cut_of::no_half;
    }
    f.fix = all.rules.size() == 0 ? "the plan has no rules: give one"
            : cuts ? "its rules that cut match nothing that they can cut: name the layers that have weights"
            : any  ? "its rules leave everything whole: this model has no tensor-parallel plan yet"
                   : "compare the patterns of the plan with the names of the model, prefix first";
  }
  whole_check(all, r).run();
  note_what_is_whole_with_a_reason(all, r);
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise

// SPDX-License-Identifier: Apache-2.0
// At which numbers of ranks a plan can be used, and what each rank needs and sends there.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/audit/detail/cache.hpp"
#include "shardwise/audit/detail/legality.hpp"
#include "shardwise/audit/detail/survey.hpp"
#include "shardwise/audit/detail/words.hpp"
#include "shardwise/audit/report.hpp"
#include "shardwise/detail/json_writer.hpp"

namespace shardwise {
inline namespace v0 {

struct sizes_options {
  std::size_t context = 4096;  ///< tokens of each sequence
  std::size_t batch = 1;       ///< sequences at a time
  int up_to = 64;              ///< the largest number of ranks
  dtype activations = dtype::bf16;
  dtype cache = dtype::bf16;
  dtype logits = dtype::f32;
  layout_view layout = {};                    ///< what the dims of the engine's parameters are made of
  std::vector<std::string> layer_types = {};  ///< of config.json, where it has them: which layers slide
};

/// One number of ranks. Bytes are those of the rank that holds most: the first.
struct size_row {
  int tp = 1;
  bool legal = true;
  bool uneven = false;  ///< some size does not divide, and torch.chunk deals some ranks less
  std::string reason;   ///< the first, where it is not legal
  std::size_t weights = 0;
  std::size_t cache = 0;        ///< keys, values and states of the whole batch
  std::size_t logits = 0;       ///< of the last token of each sequence
  std::size_t collectives = 0;  ///< of one pass through the model; none on one rank
  std::size_t payload = 0;      ///< bytes of their whole results, for each token, as a `tally` counts
  std::size_t sent = 0;         ///< bytes that a rank sends, for each token, by the ring's bound
  std::size_t total() const { return weights + cache + logits; }
};

/// Made by `sizes_of`. A plain value.
struct size_table {
  std::vector<size_row> rows;  ///< of 1 to `up_to` ranks
  std::size_t context = 0, batch = 0;
  std::size_t model_bytes = 0;     ///< of all parameters
  std::vector<std::string> notes;  ///< what was taken for granted, and what could not be counted
};

namespace detail {

/// Of a module that gives scores of a vocabulary: `npos` where none is recognised.
inline std::size_t find_head(const survey& s) {
  for (const std::string_view name : {"lm_head", "embed_out"}) {
    for (std::size_t m = 0; m < s.modules().size(); ++m) {
      if (leaf_of(s.modules()[m].name) == name && s.modules()[m].matrix != tree::npos) return m;
    }
  }
  return tree::npos;
}

class size_calculator {
 public:
  size_calculator(const survey& s, const sizes_options& options)
      : survey_(s),
        options_(options),
        legal_(s),
        cache_(s, options.context, options.cache, options.layer_types),
        head_(find_head(s)) {
    // Weights that are cut alike are one number.
    for (const parameter_class& p : s.parameters()) {
      if (!p.owns_bytes()) continue;
      const std::size_t bytes = p.bytes() * p.count;
      const std::size_t extent = p.what.how.whole() ? 0 : p.shape[static_cast<std::size_t>(p.what.how.dim)];
      if (extent == 0) {
        whole_ += bytes;
        continue;
      }
      add({p.what.how, extent, bytes / extent, p.what.sizes[p.what.size_count - 1].whole_if_refused});
    }
    for (const collective_class& c : s.collectives()) {
      if (c.features == 0) unknown_ = true;
    }
  }

  size_row row(int tp) const {
    size_row r;
    r.tp = tp;
    r.reason = legal_.reason_against(tp);
    r.legal = r.reason.empty();
    r.uneven = r.legal && legal_.uneven_at(tp);
    r.weights = weights(tp);
    r.cache = cache_.bytes(tp) * options_.batch;
    r.logits = logits(tp);
    if (tp == 1) return r;
    for (const collective_class& c : survey_.collectives()) {
      if (!survey_.acts_at(c.module, tp)) continue;
      const std::size_t modules = survey_.modules()[c.module].count;
      const std::size_t bytes = c.features * size_of(options_.activations);
      r.collectives += modules * c.calls;
      r.payload += modules * bytes;
      r.sent += modules * sent_bytes(c.op, bytes, tp);
    }
    return r;
  }

  std::vector<std::string> notes() const {
    std::vector<std::string> out = cache_.notes();
    const std::string logits(name_of(options_.logits));
    out.push_back(head_ == tree::npos ? "logits: no head was recognised (lm_head), so none are counted"
                                      : "logits: the last token of each sequence, in " + logits);
    out.push_back("collectives: each module runs once for a token, activations in " +
                  std::string(name_of(options_.activations)) +
                  "; sent: the ring's bound, 2 (n-1)/n of an all-reduce, (n-1)/n of a gather");
    if (unknown_) out.push_back("collectives: some sums have sizes that the plan does not say, counted as 0 bytes");
    return out;
  }

 private:
  struct spread {
    cut how;
    std::size_t extent, bytes_each;
    bool whole_if_refused;
    std::size_t on(int rank, int tp) const {
      if (whole_if_refused && fault_of(how, extent, tp) != cut_fault::none) return extent * bytes_each;
      return pieces_of(how, extent, tp, rank).size() * bytes_each;
    }
  };
  void add(const spread& s) {
    for (spread& known : spreads_) {
      if (known.extent == s.extent && known.whole_if_refused == s.whole_if_refused && known.how.deals_like(s.how)) {
        known.bytes_each += s.bytes_each;
        return;
      }
    }
    spreads_.push_back(s);
  }
  std::size_t weights(int tp) const {
    // Where units are copied, the first rank need not hold most.
    std::size_t most = 0;
    for (int rank = 0; rank < (legal_.deals_unequally() ? tp : 1); ++rank) {
      std::size_t n = whole_;
      for (const spread& s : spreads_) n += s.on(rank, tp);
      most = std::max(most, n);
    }
    return most;
  }
  std::size_t logits(int tp) const {
    if (head_ == tree::npos) return 0;
    const module_class& m = survey_.modules()[head_];
    const tensor_shape& shape = survey_.parameters()[m.matrix].shape;
    std::size_t scores = shape.dims() < 2 ? 0 : shape[shape.dims() - 2];
    const style* step = survey_.step_of(head_);
    if (step != nullptr && placement(step->facts().output).kind == placement::sharded) {
      scores = most_of(cut_by(*step, shape.dims(), false).how, scores, tp);
    }
    return scores * options_.batch * size_of(options_.logits);
  }

  const survey& survey_;
  const sizes_options& options_;
  legality legal_;
  cache_model cache_;
  std::size_t head_;
  std::size_t whole_ = 0;
  std::vector<spread> spreads_;
  bool unknown_ = false;
};

inline size_table sizes_of(const survey& s, const sizes_options& options) {
  const size_calculator work(s, options);
  size_table t;
  t.context = options.context;
  t.batch = options.batch;
  t.model_bytes = s.model().bytes();
  t.notes = work.notes();
  for (int tp = 1; tp <= options.up_to; ++tp) t.rows.push_back(work.row(tp));
  return t;
}

}  // namespace detail

/// The table of 1 to `options.up_to` ranks: is the plan legal there, as `shard` has it, and if not the first reason;
/// and bytes and collectives. Reads names, shapes and config numbers; throws nothing. What it does not look at: whether
/// every parameter has a rule, which is the same at each size.
inline size_table sizes(plan_view plan, const tree& model, const sizes_options& options = {}) {
  const detail::survey s(plan, model, options.layout);
  return detail::sizes_of(s, options);
}

/// For a reader: a line for each size that divides, and for powers of two that leave some ranks less; then which others
/// can be used, and why the rest cannot.
inline std::string text_of(const size_table& t) {
  std::vector<std::vector<std::string>> rows = {
      {"tp", "weights", "cache", "logits", "per rank", "collectives", "sent per token", ""}};
  struct refused {
    std::string reason;
    std::vector<int> sizes;
  };
  std::vector<refused> refusals;
  std::vector<int> uneven;
  for (const size_row& r : t.rows) {
    if (r.uneven) uneven.push_back(r.tp);
    const bool power_of_two = (r.tp & (r.tp - 1)) == 0;
    if (r.legal && (!r.uneven || power_of_two)) {
      rows.push_back({std::to_string(r.tp), detail::bytes_text(r.weights), detail::bytes_text(r.cache),
                      detail::bytes_text(r.logits), detail::bytes_text(r.total()), std::to_string(r.collectives),
                      detail::bytes_text(r.sent), r.uneven ? "uneven" : ""});
    }
    if (r.legal) continue;
    // "8 key/value heads over 16 ranks (...)": of the reason only the number of ranks differs.
    std::string reason = r.reason;
    const std::string ranks = " over " + std::to_string(r.tp) + " ranks";
    if (const std::size_t at = reason.find(ranks); at != std::string::npos) reason.erase(at, ranks.size());
    std::size_t i = 0;
    while (i < refusals.size() && refusals[i].reason != reason) ++i;
    if (i == refusals.size()) refusals.push_back({reason, {}});
    refusals[i].sizes.push_back(r.tp);
  }
  std::string out = "context " + std::to_string(t.context) + ", batch " + std::to_string(t.batch) + ", " +
                    detail::bytes_text(t.model_bytes) + " of weights; bytes of the rank that holds most\n" +
                    detail::table_text(rows, 0);
  if (!uneven.empty())
    out += "uneven " + detail::ranges_text(uneven) + ": legal, and some ranks get less than others\n";
  for (const refused& r : refusals) {
    out += "not at " + detail::ranges_text(r.sizes) + ": " + r.reason + '\n';
  }
  for (const std::string& note : t.notes) out += "note: " + note + '\n';
  return out;
}

inline std::string to_json(const size_table& t) {
  detail::json_writer w;
  w.begin_object().member("context", t.context).member("batch", t.batch).member("model_bytes", t.model_bytes);
  w.key("sizes").begin_array();
  for (const size_row& r : t.rows) {
    w.begin_object().member("tp", r.tp).member("legal", r.legal);
    if (!r.legal) {
      w.member("reason", r.reason).end_object();
      continue;
    }
    w.member("uneven", r.uneven).member("weights", r.weights).member("cache", r.cache).member("logits", r.logits);
    w.member("bytes_per_rank", r.total()).member("collectives", r.collectives);
    w.member("payload_bytes_per_token", r.payload).member("sent_bytes_per_token", r.sent).end_object();
  }
  w.end_array().key("notes").begin_array();
  for (const std::string& note : t.notes) w.value(note);
  w.end_array().end_object();
  return w.take();
}

}  // namespace v0
}  // namespace shardwise

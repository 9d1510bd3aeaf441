// SPDX-License-Identifier: Apache-2.0
// What one plan does to a model and another does not.
#pragma once
#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardwise/audit/detail/survey.hpp"
#include "shardwise/audit/detail/words.hpp"
#include "shardwise/audit/report.hpp"
#include "shardwise/detail/json_writer.hpp"

namespace shardwise {
inline namespace v0 {

/// What one of two plans says of a parameter.
struct plan_side {
  std::string style;       ///< "no rule" without one
  cut how;                 ///< whole, or on a dim
  std::size_t rank_bytes;  ///< of one, on the rank that holds most
};
/// Parameters that two plans treat in two ways.
struct parameter_diff {
  std::string name;  ///< with stars where it stands for several
  std::size_t count = 0;
  plan_side a, b;
};

/// What one of two plans says of a module.
struct step_side {
  std::string style;  ///< "no step" where no rule changes what it takes or gives
  collective then = collective::none;
  std::size_t sent = 0;  ///< bytes that a rank sends for one token, by the ring's bound
};
/// Modules that do one thing under one plan and another under the other.
struct module_diff {
  std::string name;
  std::size_t count = 0;
  step_side a, b;
};

struct plan_sums {
  std::size_t rank_bytes = 0;   ///< of all parameters, on the rank that holds most
  std::size_t whole_bytes = 0;  ///< of what every rank has all of
  std::size_t collectives = 0;  ///< of one pass through the model
  std::size_t sent = 0;         ///< bytes that a rank sends for one token
};

/// Made by `diff`. A plain value.
struct plan_diff {
  int tp = 1;
  plan_sums a, b;
  std::vector<parameter_diff> parameters;  ///< those that differ, the largest change of bytes first
  std::vector<module_diff> modules;        ///< those that differ, the largest change of bytes sent first
  std::size_t alike = 0;                   ///< parameters that both plans treat alike
  bool empty() const { return parameters.empty() && modules.empty(); }
};

namespace detail {

class differ {
 public:
  differ(const survey& a, const survey& b, int tp, dtype activations)
      : a_(a), b_(b), tp_(tp), activations_(activations) {}

  plan_diff run() const {
    plan_diff d;
    d.tp = tp_;
    d.a = sums(a_);
    d.b = sums(b_);
    for (std::size_t i = 0; i < a_.parameters().size(); ++i) {
      const parameter_class& p = a_.parameters()[i];
      parameter_diff row{std::string(p.name), p.count, side(a_, p), side(b_, b_.parameters()[i])};
      if (row.a.style == row.b.style && row.a.how.dim == row.b.how.dim && row.a.rank_bytes == row.b.rank_bytes) {
        d.alike += p.count;
      } else {
        add(d.parameters, std::move(row),
            [](const parameter_diff& x, const parameter_diff& y) { return same(x.a, y.a) && same(x.b, y.b); });
      }
    }
    const std::vector<std::size_t> features_a = features_of(a_), features_b = features_of(b_);
    for (std::size_t m = 0; m < a_.modules().size(); ++m) {
      module_diff row{std::string(a_.modules()[m].name), a_.modules()[m].count, step(a_, m, features_a),
                      step(b_, m, features_b)};
      if (same(row.a, row.b)) continue;
      add(d.modules, std::move(row),
          [](const module_diff& x, const module_diff& y) { return same(x.a, y.a) && same(x.b, y.b); });
    }
    largest_first(d.parameters,
                  [](const parameter_diff& r) { return change(r.a.rank_bytes, r.b.rank_bytes) * r.count; });
    largest_first(d.modules, [](const module_diff& r) { return change(r.a.sent, r.b.sent) * r.count; });
    return d;
  }

 private:
  static bool same(const plan_side& x, const plan_side& y) {
    return x.style == y.style && x.how.dim == y.how.dim && x.rank_bytes == y.rank_bytes;
  }
  static bool same(const step_side& x, const step_side& y) {
    return x.style == y.style && x.then == y.then && x.sent == y.sent;
  }
  static std::size_t change(std::size_t x, std::size_t y) { return x < y ? y - x : x - y; }
  template <class Row, class By>
  static void largest_first(std::vector<Row>& rows, By by) {
    std::stable_sort(rows.begin(), rows.end(), [&](const Row& x, const Row& y) { return by(x) > by(y); });
  }
  // Where each name stands for itself, alike ones still make one row.
  template <class Row, class Same>
  void add(std::vector<Row>& rows, Row row, Same alike) const {
    if (!a_.folded()) {
      const std::string name = starred(row.name);
      for (Row& known : rows) {
        if (starred(known.name) != name || !alike(known, row)) continue;
        known.name = name;
        known.count += row.count;
        return;
      }
    }
    rows.push_back(std::move(row));
  }

  plan_side side(const survey& s, const parameter_class& p) const {
    std::string style = "no rule";
    if (p.what.covered()) style = style_text(s.rules()[p.what.who.rule].how);
    return {std::move(style), p.what.how, most_bytes(p, tp_)};
  }
  step_side step(const survey& s, std::size_t m, const std::vector<std::size_t>& features) const {
    const style* how = s.step_of(m);
    if (how == nullptr) return {"no step", collective::none, 0};
    return {style_text(*how), how->facts().then,
            sent_bytes(how->facts().then, features[m] * size_of(activations_), tp_)};
  }
  static std::vector<std::size_t> features_of(const survey& s) {
    std::vector<std::size_t> features(s.modules().size());
    for (const collective_class& c : s.collectives()) features[c.module] = c.features;
    return features;
  }
  plan_sums sums(const survey& s) const {
    plan_sums sum;
    for (const parameter_class& p : s.parameters()) {
      if (!p.owns_bytes()) continue;
      sum.rank_bytes += most_bytes(p, tp_) * p.count;
      if (p.what.how.whole()) sum.whole_bytes += p.bytes() * p.count;
    }
    if (tp_ == 1) return sum;
    for (const collective_class& c : s.collectives()) {
      const std::size_t modules = s.modules()[c.module].count;
      sum.collectives += modules * c.calls;
      sum.sent += modules * sent_bytes(c.op, c.features * size_of(activations_), tp_);
    }
    return sum;
  }

  const survey &a_, &b_;
  int tp_;
  dtype activations_;
};

inline std::string side_text(const plan_side& s) {
  return s.style + (s.how.whole() ? ", whole" : ", dim " + std::to_string(s.how.dim));
}
inline std::string step_text(const step_side& s) {
  return s.style + (s.then == collective::none ? std::string() : ", " + std::string(name_of(s.then)));
}
/// "-894 MB", "+1.02 GB", "same".
inline std::string change_text(std::size_t a, std::size_t b) {
  if (a == b) return "same";
  return a < b ? '+' + bytes_text(b - a) : '-' + bytes_text(a - b);
}

}  // namespace detail

/// Compares what two plans make of `model` at `tp` ranks: per parameter and module, alike ones together, and in sums.
/// What a plan is refused for is not looked at: see `audit`. Throws `plan_error` for `tp` below 1 or above 65536.
inline plan_diff diff(plan_view a, plan_view b, const tree& model, int tp, dtype activations = dtype::bf16) {
  if (tp < 1 || tp > 65536) {
    detail::raise(plan_error("tp is ", tp, "; it is the number of ranks, at least 1 and at most 65536"));
  }
  const detail::survey first(a, model), second(b, model);
  if (first.folded() == second.folded()) return detail::differ(first, second, tp, activations).run();
  const detail::survey x(a, model, {}, false), y(b, model, {}, false);
  return detail::differ(x, y, tp, activations).run();
}

inline std::string text_of(const plan_diff& d) {
  using detail::bytes_text;
  const auto count = [](std::size_t n) { return std::to_string(n); };
  std::string out = detail::table_text(
      {{"tp " + std::to_string(d.tp), "A", "B", "change"},
       {"bytes per rank", bytes_text(d.a.rank_bytes), bytes_text(d.b.rank_bytes),
        detail::change_text(d.a.rank_bytes, d.b.rank_bytes)},
       {"whole on every rank", bytes_text(d.a.whole_bytes), bytes_text(d.b.whole_bytes),
        detail::change_text(d.a.whole_bytes, d.b.whole_bytes)},
       {"collectives per token", count(d.a.collectives), count(d.b.collectives),
        d.a.collectives == d.b.collectives  ? "same"
        : d.a.collectives < d.b.collectives ? '+' + count(d.b.collectives - d.a.collectives)
                                            : '-' + count(d.a.collectives - d.b.collectives)},
       {"sent per token", bytes_text(d.a.sent), bytes_text(d.b.sent), detail::change_text(d.a.sent, d.b.sent)}},
      1);
  if (d.empty()) return out + "the plans treat all " + count(d.alike) + " parameters alike\n";
  if (!d.parameters.empty()) {
    std::vector<std::vector<std::string>> rows = {
        {"parameter", "A", "B", "times", "A per rank", "B per rank", "change"}};
    for (const parameter_diff& p : d.parameters) {
      rows.push_back({p.name, detail::side_text(p.a), detail::side_text(p.b), count(p.count),
                      bytes_text(p.a.rank_bytes * p.count), bytes_text(p.b.rank_bytes * p.count),
                      detail::change_text(p.a.rank_bytes * p.count, p.b.rank_bytes * p.count)});
    }
    out += '\n' + detail::table_text(rows, 3);
  }
  if (!d.modules.empty()) {
    std::vector<std::vector<std::string>> rows = {{"module", "A", "B", "times", "A sends", "B sends", "change"}};
    for (const module_diff& m : d.modules) {
      rows.push_back({m.name.empty() ? "(the model)" : m.name, detail::step_text(m.a), detail::step_text(m.b),
                      count(m.count), bytes_text(m.a.sent * m.count), bytes_text(m.b.sent * m.count),
                      detail::change_text(m.a.sent * m.count, m.b.sent * m.count)});
    }
    out += '\n' + detail::table_text(rows, 3);
  }
  return out + '\n' + count(d.alike) + " parameters are treated alike\n";
}

inline std::string to_json(const plan_diff& d) {
  detail::json_writer w;
  w.begin_object().member("tp", d.tp);
  const auto sums = [&w](std::string_view key, const plan_sums& s) {
    w.key(key).begin_object().member("bytes_per_rank", s.rank_bytes).member("whole_bytes", s.whole_bytes);
    w.member("collectives", s.collectives).member("sent_bytes_per_token", s.sent).end_object();
  };
  sums("a", d.a);
  sums("b", d.b);
  w.key("parameters").begin_array();
  for (const parameter_diff& p : d.parameters) {
    w.begin_object().member("name", p.name).member("count", p.count);
    for (const bool first : {true, false}) {
      const plan_side& s = first ? p.a : p.b;
      w.key(first ? "a" : "b").begin_object().member("style", s.style).key("dim");
      s.how.whole() ? w.null() : w.value(s.how.dim);
      w.member("bytes_per_rank", s.rank_bytes * p.count).end_object();
    }
    w.end_object();
  }
  w.end_array().key("modules").begin_array();
  for (const module_diff& m : d.modules) {
    w.begin_object().member("name", m.name).member("count", m.count);
    for (const bool first : {true, false}) {
      const step_side& s = first ? m.a : m.b;
      w.key(first ? "a" : "b").begin_object().member("style", s.style).member("collective", name_of(s.then));
      w.member("sent_bytes_per_token", s.sent * m.count).end_object();
    }
    w.end_object();
  }
  return w.end_array().member("alike", d.alike).end_object().take();
}

}  // namespace v0
}  // namespace shardwise

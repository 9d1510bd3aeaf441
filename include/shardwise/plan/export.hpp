// SPDX-License-Identifier: Apache-2.0
// Plans in Hugging Face's words: {"layers.*.mlp.up_proj": "colwise"}. Those of a model are made in shard/export.hpp.
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/detail/list.hpp"
#include "shardwise/plan/plan.hpp"

namespace shardwise {
inline namespace v0 {

/// A row in Hugging Face's words.
struct exported_row {
  std::string_view pattern, style;
};
/// What its words cannot say: of which pattern or name, and why.
struct export_note {
  std::string_view what, why;
};

namespace detail {
class row_exporter;
class tree_exporter;

/// What Hugging Face calls a style; "" where it has no such style.
constexpr std::string_view hugging_face_name(const style& s) {
  const bool packed = s.kind == style_kind::colwise || s.kind == style_kind::rowwise;
  if (s.group_count > 2 || (s.group_count == 2 && !packed)) return {};
  if (s.unequal_groups != 0 || s.channels_first) return {};
  if (s.kind == style_kind::rowwise_partial_output || s.kind == style_kind::partial_output) return {};
  return s.name();
}

/// Appends why `hugging_face_name` has none.
inline void append_unnamed(error& e, const style& s) {
  e.append(s.name());
  if (s.channels_first) return e.append(std::string_view(" of a convolution: Hugging Face cuts dim n-2 of any weight"));
  if (s.unequal_groups != 0 || s.group_count > 1) {
    e.append(std::string_view(" of "));
    e.append(static_cast<int>(s.group_count));
    e.append(std::string_view(s.unequal_groups != 0 ? " unequal" : ""));
    return e.append(std::string_view(" groups: Hugging Face has packed_colwise and packed_rowwise, of 2"));
  }
  e.append(
      std::string_view(": Hugging Face reduces each partial sum by itself; export a plan whose rows are rowwise and "
                       "moe_tp_experts"));
}

/// f(why) for each thing that the words of Hugging Face leave out of a style that has a name there.
template <class F>
void each_unsaid(const style& s, F f) {
  if (!s.unit.empty()) f(error("units(\"", s.unit, "\"): Hugging Face cuts between any two elements"));
  if (s.pair == pairing::read_by) {
    f(error("read_by(\"", s.other, "\"): Hugging Face copies no unit, and cuts it in pieces where ranks share one"));
  }
  if (s.tile != 0)
    f(error("tiles(", static_cast<std::size_t>(s.tile), "): Hugging Face cuts between any two elements"));
  if (s.divided == division::uneven) f(error("uneven(): Hugging Face deals as torch.chunk, the last ranks less"));
  if (s.whole_if_refused) f(error("or_whole(): Hugging Face cuts it at every number of ranks"));
}
}  // namespace detail

/// The rows of a plan as Hugging Face writes them, and notes of what they do not say. Owns its texts.
class exported_plan {
 public:
  std::size_t size() const { return rows_.size(); }
  const exported_row& operator[](std::size_t i) const { return rows_[i]; }
  const exported_row* begin() const { return rows_.begin(); }
  const exported_row* end() const { return rows_.end(); }
  /// Where Hugging Face, given these rows, would cut or run otherwise than the plan.
  const detail::list<export_note>& notes() const { return notes_; }

  /// One JSON object, a member for each row, by a writer of JSON: `begin_object()`, `member(key, value)`,
  /// `end_object()`, which escape what must be.
  template <class Writer>
  void write_json(Writer& to) const {
    to.begin_object();
    for (const exported_row& r : rows_) to.member(r.pattern, r.style);
    to.end_object();
  }

 private:
  friend class detail::row_exporter;
  friend class detail::tree_exporter;

  void add(std::string_view pattern, std::string_view style) {
    const std::string_view kept = texts_.keep(pattern);
    if (index_.add(kept, rows_.size())) rows_.push({kept, style});
  }
  void note(std::string_view what, const error& why) { notes_.push({texts_.keep(what), texts_.keep(why.text())}); }

  detail::text_store texts_;
  detail::list<exported_row> rows_;
  detail::list<export_note> notes_;
  detail::name_index index_;
};

namespace detail {

// Row by row, of what a pattern alone tells.
class row_exporter {
 public:
  exported_plan make(plan_view plan) {
    for (const rule& r : plan) {  // later overrides first: the first row of a pattern stays
      if (r.overrides > top_) top_ = r.overrides;
    }
    for (int generation = top_; generation >= 0; --generation) {
      for (const rule& r : plan) {
        if (r.overrides == generation) add(r);
      }
    }
    return static_cast<exported_plan&&>(out_);
  }

 private:
  void add(const rule& r) {
    const joined_path pattern(r.pattern);
    const std::string_view name = hugging_face_name(r.how);
    if (name.empty()) {
      error why("");
      append_unnamed(why, r.how);
      out_.note(pattern.view(), why);
      return;
    }
    each_unsaid(r.how, [&](const error& why) { out_.note(pattern.view(), why); });
    if (r.how.kind == style_kind::rowwise && r.how.group_count == 2 && !r.how.hugging_face_packed_rowwise()) {
      out_.note(pattern.view(), error("its packed_rowwise speaks of the parameters only: nothing sums the output"));
    }
    if (r.matching == dialect::hugging_face) return out_.add(pattern.view(), name);
    if (r.deep) {
      out_.note(pattern.view(), error("Hugging Face has no '**': export the plan with the tree of a model"));
      return;
    }
    if (r.overrides != 0) {
      out_.note(pattern.view(), error("an override, which Hugging Face does not have: there a row of the parameter's "
                                      "own beats it; export the plan with the tree of a model"));
    }
    if (written_out(r.pattern) > most_written_out) {
      out_.note(pattern.view(), error("its braces stand for more than ", most_written_out,
                                      " names, which Hugging Face would need a row for each of"));
      return;
    }
    segments path = r.pattern;
    expand(path, 0, pattern.view(), name);
  }

  // Writes out the choices from segment `i` on.
  void expand(segments& path, std::size_t i, std::string_view pattern, std::string_view name) {
    while (i < path.count && path.at[i].kind != segment::choice) ++i;
    if (i == path.count) return add_plain(path, pattern, name);
    const segment choice = path.at[i];
    each_choice(choice, [&](const segment& chosen) {
      path.at[i] = chosen;
      expand(path, i + 1, pattern, name);
    });
    path.at[i] = choice;
  }

  // Hugging Face stars the numbers of a name, but not two in a row.
  void add_plain(const segments& path, std::string_view pattern, std::string_view name) {
    bool dot_eaten = true;
    for (std::size_t i = 0; i < path.count; ++i) {
      const segment& s = path.at[i];
      const bool star = s.kind == segment::star;
      const bool starred = !dot_eaten && (star || is_number(s.text, s.size()));
      if (star != starred) {
        out_.note(pattern, star
                               ? error("a star that comes first, or after another one, stands for no number there")
                               : error("Hugging Face stars the number ", s.view(), " in a name before it looks it up"));
        return;
      }
      dot_eaten = starred;
    }
    out_.add(joined_path(path).view(), name);
  }

  exported_plan out_;
  std::uint8_t top_ = 0;
};

}  // namespace detail

/// The rows of `plan` in Hugging Face's words, as far as the patterns alone tell: choices are written out, a star is
/// taken to stand for a number. Reasons of `replicate` are left out. `notes()` says what is lost; with the tree of a
/// model, `exported(plan, tree)` of shard/export.hpp says `**` and overrides, too, and compares the cuts.
inline exported_plan exported(plan_view plan) { return detail::row_exporter().make(plan); }

}  // namespace v0
}  // namespace shardwise

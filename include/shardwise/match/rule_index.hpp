// SPDX-License-Identifier: Apache-2.0
// The one matcher for many names: which rules a name cannot match is known by its last two segments, and most of those
// that it can match are texts with gaps.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shardwise/detail/list.hpp"
#include "shardwise/match/match.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {

/// The dots among up to 64 bytes, a bit for each.
inline std::uint64_t dots_in(const char* s, std::size_t n) {
  std::uint64_t dots = 0;
  std::size_t i = 0;
#if defined(__SSE2__)
  using vector = char __attribute__((vector_size(16)));
  const auto dots_at = [s](std::size_t at) {
    vector bytes;
    __builtin_memcpy(&bytes, s + at, sizeof bytes);
    return static_cast<std::uint64_t>(static_cast<unsigned>(__builtin_ia32_pmovmskb128(bytes == '.')));
  };
  for (; i + 16 <= n; i += 16) dots |= dots_at(i) << i;
  if (i < n && n >= 16) return dots | dots_at(n - 16) << (n - 16);
#endif
  for (; i < n; ++i) dots |= static_cast<std::uint64_t>(s[i] == '.') << i;
  return dots;
}

/// A name, and where its last segments begin.
struct scanned_name {
  static constexpr std::size_t longest = 255;  // a longer one is left to `split_name`

  const char* text;
  std::size_t size;
  std::size_t count = 0;                   // of segments
  std::size_t last = 0, last_but_one = 0;  // where these begin

  explicit scanned_name(std::string_view name) : text(name.data()), size(name.size()) {
    if (size == 0 || size > longest) return;
    count = 1;
    for (std::size_t block = 0; block < size; block += 64) {
      const std::uint64_t dots = dots_in(text + block, size - block < 64 ? size - block : 64);
      if (dots == 0) continue;
      count += static_cast<std::size_t>(__builtin_popcountll(dots));
      const auto top = [](std::uint64_t bits) { return static_cast<std::size_t>(63 - __builtin_clzll(bits)); };
      const std::uint64_t others = dots & ~(std::uint64_t{1} << top(dots));
      last_but_one = others != 0 ? block + top(others) + 1 : last;
      last = block + top(dots) + 1;
    }
  }
  bool has_module() const { return count > 1; }
  std::size_t module_size() const { return last - 1; }
  std::uint32_t last_key() const { return segment::make_key(text + last, size - last); }
  std::uint32_t module_key() const { return segment::make_key(text + last_but_one, module_size() - last_but_one); }
};

}  // namespace detail

/// The rules of a plan by their last segments: to ask of many names what `find_parameter_rule` and `find_module_rule`
/// are asked of one, with the same answers and the same refusals. The rules outlive it. Immutable; reading is safe from
/// any thread.
class rule_index {
 public:
  explicit rule_index(plan_view rules) : rules_(rules) {
    for (std::size_t i = 0; i < rules.size(); ++i) add(i);
    words_ = forms_.size() / 64 + 1;
    bits_.resize(2 * words_);
    std::size_t slots = 16;
    while (slots < 4 * forms_.size()) slots *= 2;
    slots_.resize(slots);
    for (std::size_t f = 0; f < forms_.size(); ++f) {
      bits_[(forms_[f].any_end ? words_ : row_for(forms_[f].key)) + f / 64] |= std::uint64_t{1} << (f % 64);
    }
  }

  plan_view rules() const { return rules_; }

  owner parameter(std::string_view name) const {
    return parameter(name, [](std::uint16_t) {});
  }
  /// `seen(i)` is told of every rule that speaks of the parameter.
  template <class Seen>
  owner parameter(std::string_view name, Seen&& seen) const {
    const detail::scanned_name path(name);
    if (!scans(path)) return detail::find_parameter_rule(rules_, detail::split_name(name), seen);
    const std::uint64_t* own = row(path.last_key());
    const std::uint64_t* module = path.has_module() ? row(path.module_key()) : bits_.data();
    detail::best_parameter_rule best;
    each_form(own, module, [&](const form& f, whole_path& whole) {
      match_level at = match_level::none;
      if (f.runs == 0) {
        at = matches_parameter(rules_[f.rule], whole.of(name));
      } else if (f.segments == path.count && is_text(f, path.text, path.size)) {
        at = match_level::parameter;
      } else if (f.segments + 1 == path.count && is_text(f, path.text, path.module_size())) {
        at = match_level::module;
      }
      if (at != match_level::none) best.offer(rules_[f.rule], f.rule, at, seen);
    });
    return best.who();
  }

  owner module(std::string_view name) const {
    return module(name, [](std::uint16_t) {});
  }
  /// `seen(i)` is told of every rule that speaks of the module.
  template <class Seen>
  owner module(std::string_view name, Seen&& seen) const {
    const detail::scanned_name path(name);
    detail::best_rule best;
    if (!scans(path)) {
      const detail::segments whole = detail::split_name(name);
      for (std::size_t i = 0; i < rules_.size(); ++i) {
        if (matches_module(rules_[i], whole)) offer(best, i, seen);
      }
      return best.who;
    }
    each_form(row(path.last_key()), bits_.data(), [&](const form& f, whole_path& whole) {
      if (f.runs == 0 ? matches_module(rules_[f.rule], whole.of(name))
                      : f.segments == path.count && is_text(f, path.text, path.size)) {
        offer(best, f.rule, seen);
      }
    });
    return best.who;
  }

 private:
  static constexpr std::size_t most_runs = max_segments + 1;
  // A way to write a rule: the texts between its stars. A rule with choices has one for each; of a rule that is no such
  // text there is one without runs, and the rule itself is asked.
  struct form {
    std::uint32_t key = 0;
    std::uint16_t rule = 0;
    std::uint8_t runs = 0;
    bool numbers = false;  // a star stands for a number
    bool any_end = false;  // its last segment is not known
    std::uint32_t first_run = 0;
    std::size_t segments = 0;
  };
  struct run {
    const char* text = "";
    std::size_t size = 0;
  };
  struct slot {
    std::uint32_t key = 0;
    std::uint32_t row = 0;  // where the bits of its forms begin; 0: the slot is empty
  };
  // A name split, once somebody asks.
  class whole_path {
   public:
    const detail::segments& of(std::string_view name) {
      if (!split_) path_ = detail::split_name(name);
      split_ = true;
      return path_;
    }

   private:
    bool split_ = false;
    union {
      detail::segments path_;
    };

   public:
    whole_path() {}
  };

  static bool scans(const detail::scanned_name& path) { return path.count != 0 && path.count <= max_segments; }

  template <class F>
  void each_form(const std::uint64_t* own, const std::uint64_t* module, F f) const {
    whole_path whole;
    for (std::size_t w = 0; w < words_; ++w) {
      for (std::uint64_t bits = bits_[words_ + w] | own[w] | module[w]; bits != 0; bits &= bits - 1) {
        f(forms_[w * 64 + static_cast<std::size_t>(__builtin_ctzll(bits))], whole);
      }
    }
  }
  template <class Seen>
  void offer(detail::best_rule& best, std::size_t rule, Seen&& seen) const {
    const auto i = static_cast<std::uint16_t>(rule);
    seen(i);
    best.offer(i, detail::score_of(rules_[rule], match_level::module));
  }

  // Are the `size` bytes at `s` the runs of `f` with a segment, or a number, in each gap?
  bool is_text(const form& f, const char* s, std::size_t size) const {
    std::size_t at = 0;
    const run* r = &runs_[f.first_run];
    for (std::size_t k = 0;;) {
      if (size - at < r->size || !detail::same_bytes(r->text, s + at, r->size)) return false;
      at += r->size;
      if (++k == f.runs) return at == size;
      ++r;
      const std::size_t gap = at;
      if (f.numbers) {
        while (at < size && s[at] >= '0' && s[at] <= '9') ++at;
        if (at == gap || (at < size && s[at] != '.')) {
          while (at < size && s[at] != '.') ++at;
          if (!detail::is_number(s + gap, at - gap)) return false;  // digits beyond ASCII
        }
      } else {
        while (at < size && s[at] != '.') ++at;
      }
    }
  }
  void add(std::size_t i) {
    const rule& r = rules_[i];
    form f;
    f.rule = static_cast<std::uint16_t>(i);
    f.segments = r.pattern.count;
    f.numbers = r.matching == dialect::hugging_face;
    const bool known_texts = r.pattern.count != 0 && !r.deep && (!f.numbers || gaps_are_starred(r.pattern));
    if (known_texts && detail::written_out(r.pattern) <= detail::most_written_out) {
      detail::segments path = r.pattern;
      return add_forms(f, path, 0);
    }
    const detail::segment* last = r.pattern.count == 0 ? nullptr : &r.pattern.at[r.pattern.count - 1];
    f.any_end = last == nullptr || last->kind != detail::segment::literal;
    if (!f.any_end) f.key = last->key;
    forms_.push(f);
  }
  // A number in a name is starred unless it is the first segment or follows one that is.
  static bool gaps_are_starred(const detail::segments& pattern) {
    bool before = true;
    for (std::size_t i = 0; i < pattern.count; ++i) {
      const detail::segment& s = pattern.at[i];
      const bool star = s.kind == detail::segment::star;
      if ((star && before) || detail::is_number(s.text, s.size())) return false;
      before = star;
    }
    return true;
  }
  // Writes out the choices from segment `i` on.
  void add_forms(const form& like, detail::segments& path, std::size_t i) {
    while (i < path.count && path.at[i].kind != detail::segment::choice) ++i;
    if (i < path.count) {
      const detail::segment choice = path.at[i];
      detail::each_choice(choice, [&](const detail::segment& chosen) {
        path.at[i] = chosen;
        add_forms(like, path, i + 1);
      });
      path.at[i] = choice;
      return;
    }
    form f = like;
    f.first_run = static_cast<std::uint32_t>(runs_.size());
    char text[max_segments * (max_segment_bytes + 1)];
    std::size_t n = 0;
    const auto close = [&] {
      const std::string_view kept = texts_.keep({text, n});
      runs_.push({kept.data(), kept.size()});
      ++f.runs;
      n = 0;
    };
    for (std::size_t k = 0; k < path.count; ++k) {
      if (k != 0) text[n++] = '.';
      if (path.at[k].kind == detail::segment::star) {
        close();
      } else {
        for (const char c : path.at[k].view()) text[n++] = c;
      }
    }
    close();
    const detail::segment& last = path.at[path.count - 1];
    f.any_end = last.kind == detail::segment::star;
    f.key = last.key;
    if (!is_known(f)) forms_.push(f);
  }
  // A choice may say one text twice; a rule that matched twice would tie with itself.
  bool is_known(const form& f) const {
    for (std::size_t i = forms_.size(); i-- > 0 && forms_[i].rule == f.rule;) {
      bool same = forms_[i].runs == f.runs;
      for (std::size_t k = 0; same && k < f.runs; ++k) {
        const run &a = runs_[forms_[i].first_run + k], &b = runs_[f.first_run + k];
        same = a.size == b.size && detail::same_bytes(a.text, b.text, a.size);
      }
      if (same) return true;
    }
    return false;
  }

  std::size_t row_for(std::uint32_t key) {
    slot& s = slots_[place_of(key)];
    if (s.row == 0) {
      s = {key, static_cast<std::uint32_t>(bits_.size())};
      bits_.resize(bits_.size() + words_);
    }
    return s.row;
  }
  std::size_t place_of(std::uint32_t key) const {
    const std::size_t mask = slots_.size() - 1;
    std::size_t at = (key * 0x9E3779B1u >> 8) & mask;
    while (slots_[at].row != 0 && slots_[at].key != key) at = (at + 1) & mask;
    return at;
  }
  // The bits of the forms that end in a segment with this key.
  const std::uint64_t* row(std::uint32_t key) const { return bits_.data() + slots_[place_of(key)].row; }

  plan_view rules_;
  std::size_t words_ = 1;
  detail::text_store texts_;
  detail::list<run> runs_;
  detail::list<form> forms_;
  detail::list<std::uint64_t> bits_;  // rows of a bit for each form: none, those with any end, then those of each slot
  detail::list<slot> slots_;
};

}  // namespace v0
}  // namespace shardwise

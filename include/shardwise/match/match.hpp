// SPDX-License-Identifier: Apache-2.0
// The one matcher: the same functions in a static_assert, on the names of a checkpoint, in the loader and in the saver.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shardwise/plan/plan.hpp"

namespace shardwise {
inline namespace v0 {

/// On which level a rule speaks of a parameter: of it by name, or of the module that owns it.
enum class match_level : std::uint8_t { none, module, parameter };

namespace detail {

// `a{b,c}d` against one segment.
constexpr bool is_chosen(const segment& p, const segment& s) {
  const char* t = p.text;
  const std::size_t n = p.size(), m = s.size();
  std::size_t open = 0;
  while (t[open] != '{') {
    if (open >= m || t[open] != s.text[open]) return false;
    ++open;
  }
  std::size_t close = open;
  while (t[close] != '}') ++close;
  const std::size_t tail = n - close - 1;
  if (m < open + tail || !same_bytes(t + close + 1, s.text + m - tail, tail)) return false;
  const std::size_t middle = m - open - tail;
  for (std::size_t begin = open + 1, i = begin; i <= close; ++i) {
    if (i != close && t[i] != ',') continue;
    if (i - begin == middle && same_bytes(t + begin, s.text + open, middle)) return true;
    begin = i + 1;
  }
  return false;
}

constexpr bool segment_matches(const segment& p, const segment& s) {
  switch (p.kind) {
    case segment::literal: return same(p, s);
    case segment::choice: return is_chosen(p, s);
    default: return true;
  }
}

// From the back: the last segment tells most.
constexpr bool matches_flat(const segment* p, const segment* s, std::size_t n) {
  while (n-- > 0) {
    if (!segment_matches(p[n], s[n])) return false;
  }
  return true;
}

// Goes back to the last `**` only: no recursion, no exponential case.
constexpr bool matches_deep(const segment* p, std::size_t np, const segment* s, std::size_t ns) {
  constexpr std::size_t nowhere = ~std::size_t{};
  std::size_t i = 0, k = 0, star = nowhere, mark = 0;
  while (k < ns) {
    if (i < np && p[i].kind == segment::deep) {
      star = i++;
      mark = k;
    } else if (i < np && segment_matches(p[i], s[k])) {
      ++i;
      ++k;
    } else if (star != nowhere) {
      i = star + 1;
      k = ++mark;
    } else {
      return false;
    }
  }
  while (i < np && p[i].kind == segment::deep) ++i;
  return i == np;
}

// Hugging Face: the name with its numbers starred is the pattern, to the letter.
constexpr bool matches_starred(const segment* p, const segment* s, std::size_t n) {
  while (n-- > 0) {
    if (s[n].number ? p[n].kind != segment::star : !same(p[n], s[n])) return false;
  }
  return true;
}

constexpr bool matches_exactly(const rule& r, const segment* s, std::size_t n) {
  if (r.deep) return matches_deep(r.pattern.at, r.pattern.count, s, n);
  if (r.pattern.count != n) return false;
  return r.matching == dialect::hugging_face ? matches_starred(r.pattern.at, s, n) : matches_flat(r.pattern.at, s, n);
}

/// On which level `r` speaks of the parameter at `path`. A pattern that ends in `**` speaks of a subtree: of modules.
constexpr match_level matches_parameter(const rule& r, const segments& path) {
  const std::size_t np = r.pattern.count, ns = path.count;
  if (r.deep) {
    if (r.pattern.at[np - 1].kind == segment::deep) {
      return matches_deep(r.pattern.at, np, path.at, ns) ? match_level::module : match_level::none;
    }
  } else if (np != ns && np + 1 != ns) {
    return match_level::none;
  }
  if (matches_exactly(r, path.at, ns)) return match_level::parameter;
  return ns > 1 && matches_exactly(r, path.at, ns - 1) ? match_level::module : match_level::none;
}

constexpr bool matches_module(const rule& r, const segments& path) { return matches_exactly(r, path.at, path.count); }

// Later overrides beat earlier ones and the plan; a parameter's own rule beats its module's; then the more literal
// wins.
constexpr int score_of(const rule& r, match_level at) {
  return r.overrides * 4096 + (at == match_level::parameter ? 1024 : 0) + r.literals;
}

}  // namespace detail

inline constexpr std::uint16_t no_rule = 0xffff;

/// Which rule owns a parameter (or a module), and another that is as specific: a tie.
struct owner {
  std::uint16_t rule = no_rule, tied_with = no_rule;
  friend constexpr bool operator==(const owner&, const owner&) = default;
};

namespace detail {
struct best_rule {
  owner who;
  int score = -1;
  constexpr void offer(std::uint16_t i, int s) {
    if (s > score) {
      who = {i, no_rule};
      score = s;
    } else if (s == score) {
      who.tied_with = i;
    }
  }
};

// A style without a parameter half may match, but never owns; in Hugging Face's dialect, where it names the parameter
// itself, it hides the module's rule: the parameter is then nobody's.
struct best_parameter_rule {
  best_rule best{};
  int hides = -1;
  // Of a rule that matches, in the order of the plan. `seen(i)` is told of it.
  template <class Seen>
  constexpr void offer(const rule& r, std::uint16_t i, match_level at, Seen&& seen) {
    seen(i);
    const int score = score_of(r, at);
    if (r.how.has_parameter_half()) {
      best.offer(i, score);
    } else if (r.matching == dialect::hugging_face && at == match_level::parameter && score > hides) {
      hides = score;
    }
  }
  constexpr owner who() const { return hides > best.score ? owner{} : best.who; }
};

template <class Rules, class Seen>
constexpr owner find_parameter_rule(const Rules& rules, const segments& path, Seen&& seen) {
  best_parameter_rule best;
  std::uint16_t i = 0;
  for (const rule& r : rules) {
    if (const match_level at = matches_parameter(r, path); at != match_level::none) best.offer(r, i, at, seen);
    ++i;
  }
  return best.who();
}

// Any rule owns a module, since a rule that changes nothing overrides one that does.
template <class Rules>
constexpr owner find_module_rule(const Rules& rules, const segments& path) {
  best_rule best;
  std::uint16_t i = 0;
  for (const rule& r : rules) {
    if (matches_module(r, path)) best.offer(i, score_of(r, match_level::module));
    ++i;
  }
  return best.who;
}
}  // namespace detail

/// The rule that says how the parameter called `name` is cut, or `no_rule`.
constexpr owner find_parameter_rule(plan_view rules, std::string_view name) {
  return detail::find_parameter_rule(rules, detail::split_name(name), [](std::uint16_t) {});
}
/// The rule that says what the module called `name` takes and gives, or `no_rule`.
constexpr owner find_module_rule(plan_view rules, std::string_view name) {
  return detail::find_module_rule(rules, detail::split_name(name));
}

/// Does a pattern of our own dialect match this name, whole? For lists such as `allow_missing`, and `only`.
constexpr bool name_matches(std::string_view pattern, std::string_view name) {
  const rule r(pattern, style{}, dialect::shardwise);
  return detail::matches_module(r, detail::split_name(name));
}

namespace detail {
/// Is `patterns`, a list separated by blanks, empty, or does one of them match?
constexpr bool any_pattern_matches(std::string_view patterns, std::string_view name) {
  bool any = false;
  while (!patterns.empty()) {
    const std::size_t blank = patterns.find(' ');
    const std::string_view pattern = patterns.substr(0, blank);
    patterns.remove_prefix(blank == std::string_view::npos ? patterns.size() : blank + 1);
    if (pattern.empty()) continue;
    if (name_matches(pattern, name)) return true;
    any = true;
  }
  return !any;
}
}  // namespace detail

}  // namespace v0
}  // namespace shardwise

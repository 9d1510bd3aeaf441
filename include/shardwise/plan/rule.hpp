// SPDX-License-Identifier: Apache-2.0
// A rule: a pattern and the style of what it names.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shardwise/plan/path.hpp"
#include "shardwise/plan/style.hpp"

namespace shardwise {
inline namespace v0 {

/// Whose rules of matching a pattern follows.
enum class dialect : std::uint8_t {
  shardwise,     ///< `*` one segment, `**` any number, `{a,b}` one of; the most literal pattern wins
  hugging_face,  ///< `*` stands for a number between dots, and nothing else is special
};

namespace detail {

[[noreturn]] inline void a_pattern_has_an_empty_segment(std::string_view pattern) {
  raise(plan_error("the pattern '", pattern, "' has an empty segment: names are joined by single dots"));
}
[[noreturn]] inline void a_pattern_has_a_brace_that_is_not_closed(std::string_view pattern) {
  raise(plan_error("the pattern '", pattern,
                   "' has a brace that is not closed in its segment: write {a,b}, without dots inside"));
}
[[noreturn]] inline void a_pattern_has_braces_within_braces_or_twice(std::string_view pattern) {
  raise(
      plan_error("the pattern '", pattern, "' has more than one pair of braces in a segment, which is not understood"));
}
[[noreturn]] inline void a_pattern_has_an_empty_choice(std::string_view pattern) {
  raise(plan_error("the pattern '", pattern, "' has an empty choice in braces"));
}
[[noreturn]] inline void a_star_stands_alone_in_its_segment(std::string_view pattern) {
  raise(plan_error("the pattern '", pattern,
                   "' has a star beside other characters: '*' is a whole segment, '**' any number of segments"));
}
[[noreturn]] inline void a_pattern_is_empty(std::string_view pattern) {
  raise(plan_error("the pattern '", pattern, "' is empty: name a module or a parameter, or write ** for all"));
}

constexpr void check_segment(segment& p, std::string_view pattern) {
  if (p.size() == 0) a_pattern_has_an_empty_segment(pattern);
  if (p.is_star()) {
    p.kind = segment::star;
    return;
  }
  if (p.size() == 2 && p.text[0] == '*' && p.text[1] == '*') {
    p.kind = segment::deep;
    return;
  }
  bool open = false;
  bool closed = false;
  char before = 0;
  for (char c : p.view()) {
    if (c == '*') a_star_stands_alone_in_its_segment(pattern);
    if (c == '{') {
      if (open || closed) a_pattern_has_braces_within_braces_or_twice(pattern);
      open = true;
      p.kind = segment::choice;
    } else if (c == '}') {
      if (!open) a_pattern_has_a_brace_that_is_not_closed(pattern);
      if (before == '{' || before == ',') a_pattern_has_an_empty_choice(pattern);
      open = false;
      closed = true;
    } else if (c == ',' && open && (before == '{' || before == ',')) {
      a_pattern_has_an_empty_choice(pattern);
    }
    before = c;
  }
  if (open) a_pattern_has_a_brace_that_is_not_closed(pattern);
}

/// The segments of a pattern of our own dialect; refuses a malformed one.
constexpr segments split_pattern(std::string_view pattern) {
  segments out;
  if (pattern.empty()) a_pattern_is_empty(pattern);
  split(pattern, out);
  for (std::size_t i = 0; i < out.count; ++i) check_segment(out.at[i], pattern);
  return out;
}

/// f(segment) for each of the texts that `a{b,c}d` stands for; the text lives during the call only.
template <class F>
void each_choice(const segment& choice, F f) {
  const std::string_view text = choice.view();
  const std::size_t open = text.find('{'), close = text.find('}');
  for (std::size_t begin = open + 1; begin <= close;) {
    const std::size_t comma = text.find(',', begin);
    const std::size_t end = comma < close ? comma : close;
    char joined[max_segment_bytes];
    std::size_t n = 0;
    for (const std::string_view part :
         {text.substr(0, open), text.substr(begin, end - begin), text.substr(close + 1)}) {
      for (const char c : part) joined[n++] = c;
    }
    f(segment(joined, n));
    begin = end + 1;
  }
}

/// How many texts the braces of a pattern stand for, at most `most_written_out` + 1: a pattern of twelve segments may
/// stand for more than can be written out.
inline constexpr std::size_t most_written_out = 256;
constexpr std::size_t written_out(const segments& pattern) {
  std::size_t all = 1;
  for (std::size_t i = 0; i < pattern.count; ++i) {
    if (pattern.at[i].kind != segment::choice) continue;
    std::size_t choices = 1;
    for (const char c : pattern.at[i].view().substr(pattern.at[i].view().find('{'))) {
      if (c == '}') break;
      choices += c == ',' ? 1 : 0;
    }
    all *= choices;
    if (all > most_written_out) return most_written_out + 1;
  }
  return all;
}

}  // namespace detail

/// A pattern and a style. The pattern is kept split, so that a prefix can be put in front without joining strings; its
/// segments point into the literal (or into whatever text the rule was made of, which must outlive it).
struct rule {
  detail::segments pattern{};
  style how{};
  const char* text = "";       ///< as written, for compilers to print; not always the whole of a pattern under a prefix
  std::uint8_t literals = 0;   ///< segments that are no star: what makes a pattern more specific
  std::uint8_t overrides = 0;  ///< how many times it was given by `with`: a later override wins
  bool deep = false;           ///< has a `**`
  bool optional = false;       ///< may match nothing in a model of the family
  dialect matching = dialect::shardwise;
  parallelism over = parallelism::tensor;  ///< over which group of ranks it cuts

  constexpr rule() = default;
  constexpr rule(const char* as_written, style s)
      : pattern(detail::split_pattern(as_written)), how(s), text(as_written) {
    count();
  }
  /// A rule made at run time: `pattern` outlives it. In Hugging Face's dialect any text is a pattern, "" the root.
  constexpr rule(std::string_view run_time_pattern, style s, dialect d) : how(s), matching(d) {
    if (d == dialect::shardwise) {
      pattern = detail::split_pattern(run_time_pattern);
    } else {
      detail::split(run_time_pattern, pattern);
      optional = true;
      how.divided = division::chunk;
      for (std::size_t i = 0; i < pattern.count; ++i) {
        if (pattern.at[i].is_star()) pattern.at[i].kind = detail::segment::star;
      }
    }
    count();
  }

  /// Puts a prefix, split and checked, in front of the pattern.
  constexpr void put_under(const detail::segments& prefix) {
    const detail::segments tail = pattern;
    pattern = prefix;
    pattern.push_all(tail, text);
    count();
  }

  constexpr void count() {
    literals = 0;
    deep = false;
    for (std::size_t i = 0; i < pattern.count; ++i) {
      const auto kind = pattern.at[i].kind;
      deep |= kind == detail::segment::deep;
      literals += kind == detail::segment::literal || kind == detail::segment::choice;
    }
  }
  constexpr bool same_pattern(const rule& o) const {
    if (pattern.count != o.pattern.count) return false;
    for (std::size_t i = pattern.count; i-- > 0;) {
      if (!detail::same(pattern.at[i], o.pattern.at[i])) return false;
    }
    return true;
  }
};

}  // namespace v0
}  // namespace shardwise

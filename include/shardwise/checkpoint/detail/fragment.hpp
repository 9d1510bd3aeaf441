// SPDX-License-Identifier: Apache-2.0
// A fragment of a name, found anywhere in it and replaced; the words are those of `checkpoint::conversion`.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/checkpoint/detail/text.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

class fragment {
 public:
  static constexpr std::size_t max_number = 999'999'999;

  /// Where it is, and what its stars and braces stand for, each kind in order.
  struct found {
    std::size_t begin = 0, end = 0;
    std::vector<std::size_t> numbers;
    std::vector<std::string_view> texts, choices;
  };

  explicit fragment(std::string_view text) : text_(text) {
    for (std::string_view rest = text; !rest.empty();) add(next_token(rest));
    word_ = !tokens_.empty() && (tokens_.back().kind == token::literal || tokens_.back().kind == token::choice);
    for (const token& t : tokens_) {
      if (t.kind == token::literal && t.text.size() > rarest_.size()) rarest_ = t.text;
    }
  }

  std::string_view text() const { return text_; }
  /// How many `*`, `**` and `{}` it has.
  std::size_t numbers() const { return count(token::number); }
  std::size_t texts() const { return count(token::any); }
  std::size_t choices() const { return count(token::choice); }

  /// The first place in `name` that it has.
  std::optional<found> find(std::string_view name) const {
    if (name.find(rarest_) == std::string_view::npos) return std::nullopt;
    found f;
    for (std::size_t begin = 0; begin <= name.size(); ++begin) {
      if (!tokens_.empty() && tokens_[0].kind == token::literal) begin = name.find(tokens_[0].text, begin);
      if (begin == std::string_view::npos) break;
      if (match(name, begin, 0, f)) {
        f.begin = begin;
        return f;
      }
      if (!tokens_.empty() && tokens_[0].kind == token::start) break;
    }
    return std::nullopt;
  }

  /// The text with what was found by another fragment in the place of its stars and braces. It has no more of any kind
  /// than that one.
  std::string with(const found& f) const {
    std::string out;
    std::size_t numbers = 0, texts = 0, choices = 0;
    for (const token& t : tokens_) {
      switch (t.kind) {
        case token::literal: out += t.text; break;
        case token::number: out += std::to_string(f.numbers[numbers++] + t.more); break;
        case token::any: out += f.texts[texts++]; break;
        case token::choice: out += f.choices[choices++]; break;
        default: break;
      }
    }
    return out;
  }
  /// Refuses what has no meaning in a name that is made: `^`, `!{}`, and braces that say more than `{}`.
  void check_made() const {
    for (const token& t : tokens_) {
      if (t.kind == token::start || t.kind == token::none_of ||
          (t.kind == token::choice && (t.options.size() != 1 || !t.options[0].empty()))) {
        refuse("is a name that is made: '^', '!{}' and braces with anything in them have no meaning there");
      }
    }
  }

 private:
  struct token {
    enum kind_t { literal, start, number, any, choice, none_of } kind = literal;
    std::string_view text;
    std::vector<std::string_view> options;
    std::size_t more = 0;  // of a number: what is written is more by this
  };

  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  static bool is_word(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

  // Takes one token off the front of `rest`.
  token next_token(std::string_view& rest) const {
    token t;
    const auto take = [&](std::size_t n) {
      t.text = rest.substr(0, n);
      rest.remove_prefix(n);
    };
    if (rest[0] == '^') {
      t.kind = token::start;
      take(1);
    } else if (rest.starts_with("**")) {
      t.kind = token::any;
      take(2);
    } else if (rest[0] == '*') {
      t.kind = token::number;
      take(1);
      if (rest.starts_with('+')) {
        rest.remove_prefix(1);
        if (rest.empty() || !is_digit(rest[0])) refuse("has '*+' without a digit after it");
        t.more = static_cast<std::size_t>(rest[0] - '0');
        rest.remove_prefix(1);
      }
    } else if (rest[0] == '{' || rest.starts_with("!{")) {
      t.kind = rest[0] == '!' ? token::none_of : token::choice;
      const std::size_t close = rest.find('}');
      if (close == std::string_view::npos) refuse("has an open brace");
      take(close + 1);
      std::string_view inside = t.text.substr(t.text.find('{') + 1);
      inside.remove_suffix(1);
      for (bool more = true; more;) {
        const std::size_t comma = inside.find(',');
        more = comma != std::string_view::npos;
        t.options.push_back(inside.substr(0, comma));
        if (more) inside.remove_prefix(comma + 1);
      }
      for (const std::string_view o : t.options) {
        if (o.find_first_of("{!*") != std::string_view::npos || o.find('^', 1) != std::string_view::npos) {
          refuse("may have only literal texts in its braces, and '^' before one");
        }
      }
    } else {
      const std::size_t end = rest.find_first_of("^*{!}", 1);
      if (rest[0] == '}' || rest[0] == '!') refuse("has a brace that was not opened, or a '!' before none");
      take(end == std::string_view::npos ? rest.size() : end);
    }
    return t;
  }
  void add(token t) {
    if (t.kind == token::start && !tokens_.empty()) refuse("has '^' after its start");
    tokens_.push_back(std::move(t));
  }

  std::size_t count(token::kind_t kind) const {
    std::size_t n = 0;
    for (const token& t : tokens_) n += t.kind == kind ? 1 : 0;
    return n;
  }

  // Tokens from the `t`-th on at `at`; what was captured by one that then failed is taken back.
  bool match(std::string_view name, std::size_t at, std::size_t t, found& f) const {
    if (t == tokens_.size()) {
      f.end = at;
      const bool in_word = word_ && at != 0 && is_word(name[at - 1]) && name[at - 1] != '_';
      return !in_word || at == name.size() || !is_word(name[at]);
    }
    const token& now = tokens_[t];
    const std::string_view rest = name.substr(at);
    switch (now.kind) {
      case token::literal: return rest.starts_with(now.text) && match(name, at + now.text.size(), t + 1, f);
      case token::start: return at == 0 && match(name, at, t + 1, f);
      case token::none_of:
        for (const std::string_view o : now.options) {
          if (t == 0 ? name.substr(0, at).ends_with(o) : rest.starts_with(o)) return false;
        }
        return match(name, at, t + 1, f);
      case token::choice:
        for (const std::string_view o : now.options) {
          const bool first = o.starts_with('^');
          const std::string_view text = o.substr(first ? 1 : 0);
          if ((first && at != 0) || !rest.starts_with(text)) continue;
          f.choices.push_back(text);
          if (match(name, at + text.size(), t + 1, f)) return true;
          f.choices.pop_back();
        }
        return false;
      case token::any:
        for (std::size_t n = rest.size(); n > 0; --n) {
          f.texts.push_back(rest.substr(0, n));
          if (match(name, at + n, t + 1, f)) return true;
          f.texts.pop_back();
        }
        return false;
      case token::number: break;
    }
    // A number is as long as it goes; one of more than nine digits, or with a zero before it, is none.
    std::size_t n = 0, value = 0;
    while (n < rest.size() && is_digit(rest[n]) && n < 10)
      value = 10 * value + static_cast<std::size_t>(rest[n++] - '0');
    const bool inside = at != 0 && is_digit(name[at - 1]);
    if (n == 0 || inside || value > max_number || (n > 1 && rest[0] == '0') || value < now.more) return false;
    f.numbers.push_back(value - now.more);
    if (match(name, at + n, t + 1, f)) return true;
    f.numbers.pop_back();
    return false;
  }

  [[noreturn]] void refuse(std::string_view why) const {
    raise(plan_error("the name ", in_quotes(text_), " of a conversion ", why));
  }

  std::string_view text_, rarest_;
  std::vector<token> tokens_;
  bool word_ = false;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise

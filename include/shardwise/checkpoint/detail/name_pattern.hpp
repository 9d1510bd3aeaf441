// SPDX-License-Identifier: Apache-2.0
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

/// A name of a conversion: `**` first, for any prefix; one `*`, for a number; the rest literal.
class name_pattern {
 public:
  struct match {
    std::string_view prefix;  ///< what `**` stands for, with its dot
    std::size_t number = 0;   ///< what `*` stands for
  };

  static constexpr std::size_t max_number = 999'999'999;

  explicit name_pattern(std::string_view text) : text_(text) {
    if (text.starts_with("**.")) {
      deep_ = true;
      text.remove_prefix(3);
    }
    for (bool more = true; more;) {
      const std::size_t dot = text.find('.');
      more = dot != std::string_view::npos;
      const std::string_view segment = text.substr(0, dot);
      if (segment == "*") {
        if (counts_) refuse("has two '*'");
        counts_ = true;
      } else if (segment.empty()) {
        refuse("has an empty segment");
      } else if (segment.find_first_of("*{}") != std::string_view::npos) {
        refuse("may have '**' only as its first segment, '*' only as a whole one, and no braces");
      }
      segments_.emplace_back(segment);
      if (more) text.remove_prefix(dot + 1);
    }
  }

  bool deep() const { return deep_; }
  /// Has it a `*`?
  bool counts() const { return counts_; }

  std::optional<match> find(std::string_view name) const {
    match m;
    std::string_view rest = name;
    for (std::size_t i = segments_.size(); i-- > 0;) {
      const std::size_t dot = rest.rfind('.');
      const bool last = dot == std::string_view::npos;
      const std::string_view segment = last ? rest : rest.substr(dot + 1);
      if (segments_[i] == "*" ? !parse_number(segment, m.number) : segments_[i] != segment) return std::nullopt;
      m.prefix = last ? std::string_view() : name.substr(0, dot + 1);
      rest = rest.substr(0, last ? 0 : dot);
    }
    if (!deep_ && !m.prefix.empty()) return std::nullopt;
    return m;
  }

  /// The name that `m` was found in.
  std::string name_of(const match& m) const {
    std::string name(m.prefix);
    for (std::size_t i = 0; i < segments_.size(); ++i) {
      if (i != 0) name += '.';
      name += segments_[i] == "*" ? std::to_string(m.number) : segments_[i];
    }
    return name;
  }

 private:
  static bool parse_number(std::string_view text, std::size_t& out) {
    if (text.empty() || (text.size() > 1 && text[0] == '0')) return false;
    std::size_t n = 0;
    for (char c : text) {
      if (c < '0' || c > '9') return false;
      n = 10 * n + static_cast<std::size_t>(c - '0');
      if (n > max_number) return false;
    }
    out = n;
    return true;
  }
  [[noreturn]] void refuse(std::string_view why) const {
    raise(plan_error("the name ", in_quotes(text_), " of a conversion ", why));
  }

  std::string text_;
  std::vector<std::string> segments_;
  bool deep_ = false, counts_ = false;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise

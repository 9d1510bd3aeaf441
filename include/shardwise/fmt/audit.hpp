// SPDX-License-Identifier: Apache-2.0
// `fmt::print("{}", audit(plan, model, 8))`: what `text_of` writes.
#pragma once
#include <fmt/format.h>

#include <string>
#include <string_view>

#include "shardwise/audit/report.hpp"

/// A line, as of `text_of`. Takes what a text takes between the braces: width, fill, precision.
template <>
struct fmt::formatter<shardwise::finding> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const shardwise::finding& f, Context& context) const {
    const std::string text = text_of(f);
    return fmt::formatter<std::string_view>::format(text, context);
  }
};

/// A line for each finding, and one that sums up.
template <>
struct fmt::formatter<shardwise::audit_report> : fmt::formatter<std::string_view> {
  template <class Context>
  auto format(const shardwise::audit_report& r, Context& context) const {
    const std::string text = text_of(r);
    return fmt::formatter<std::string_view>::format(text, context);
  }
};

// SPDX-License-Identifier: Apache-2.0
// Catch2 for all tests: 2.13 (Debian 12) and 3 under one spelling, that of version 3.
#pragma once
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
namespace Catch::Matchers {
template <class T>
using MatcherBase = Catch::MatcherBase<T>;
inline auto ContainsSubstring(const std::string& text) { return Contains(text); }
}  // namespace Catch::Matchers
#endif

#include <exception>
#include <string>
#include <utility>

/// Matches an exception whose what() holds `text`; with the type checked too:
/// `CHECK_THROWS_MATCHES(f(), shardwise::plan_error, says("lm_head"))`.
class says : public Catch::Matchers::MatcherBase<std::exception> {
 public:
  explicit says(std::string text) : text_(std::move(text)) {}
  bool match(const std::exception& e) const override { return std::string(e.what()).find(text_) != std::string::npos; }
  std::string describe() const override { return "says \"" + text_ + '"'; }

 private:
  std::string text_;
};

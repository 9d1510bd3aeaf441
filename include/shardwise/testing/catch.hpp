// SPDX-License-Identifier: Apache-2.0
// Catch2's matchers under one spelling: 2.13 (Debian 12) and 3.
#pragma once

#if __has_include(<catch2/matchers/catch_matchers.hpp>)
#include <catch2/matchers/catch_matchers.hpp>
#include <catch2/matchers/catch_matchers_templated.hpp>
namespace shardwise {
inline namespace v0 {
namespace testing::detail {
template <class T>
using matcher_base = Catch::Matchers::MatcherBase<T>;
using any_matcher_base = Catch::Matchers::MatcherGenericBase;  // of arguments of any type
}  // namespace testing::detail
}  // namespace v0
}  // namespace shardwise
#else
#include <catch2/catch.hpp>
namespace shardwise {
inline namespace v0 {
namespace testing::detail {
template <class T>
using matcher_base = Catch::MatcherBase<T>;
using any_matcher_base = Catch::Matchers::Impl::MatcherUntypedBase;  // of arguments of any type
}  // namespace testing::detail
}  // namespace v0
}  // namespace shardwise
#endif

// SPDX-License-Identifier: Apache-2.0
// Sugar over describe.hpp, in a header of its own because it is a macro.
#pragma once
#include "shardwise/model/describe.hpp"

/// `SHARDWISE_MEMBERS(linear, weight_, bias_)` inside the class `linear` describes these members under their own names.
#define SHARDWISE_MEMBERS(Type, ...)                                                                  \
  static consteval auto shardwise_members() {                                                         \
    return ::shardwise::members<SHARDWISE_DETAIL_EXPAND(SHARDWISE_DETAIL_EACH(Type, __VA_ARGS__))>{}; \
  }

// Rescans often enough for 256 members.
#define SHARDWISE_DETAIL_PARENTHESES ()
#define SHARDWISE_DETAIL_EXPAND(...) \
  SHARDWISE_DETAIL_EXPAND_3(         \
      SHARDWISE_DETAIL_EXPAND_3(SHARDWISE_DETAIL_EXPAND_3(SHARDWISE_DETAIL_EXPAND_3(__VA_ARGS__))))
#define SHARDWISE_DETAIL_EXPAND_3(...) \
  SHARDWISE_DETAIL_EXPAND_2(           \
      SHARDWISE_DETAIL_EXPAND_2(SHARDWISE_DETAIL_EXPAND_2(SHARDWISE_DETAIL_EXPAND_2(__VA_ARGS__))))
#define SHARDWISE_DETAIL_EXPAND_2(...) \
  SHARDWISE_DETAIL_EXPAND_1(           \
      SHARDWISE_DETAIL_EXPAND_1(SHARDWISE_DETAIL_EXPAND_1(SHARDWISE_DETAIL_EXPAND_1(__VA_ARGS__))))
#define SHARDWISE_DETAIL_EXPAND_1(...) \
  SHARDWISE_DETAIL_EXPAND_0(           \
      SHARDWISE_DETAIL_EXPAND_0(SHARDWISE_DETAIL_EXPAND_0(SHARDWISE_DETAIL_EXPAND_0(__VA_ARGS__))))
#define SHARDWISE_DETAIL_EXPAND_0(...) __VA_ARGS__
#define SHARDWISE_DETAIL_EACH(Type, member, ...) \
  ::shardwise::field<&Type::member> __VA_OPT__(, SHARDWISE_DETAIL_AGAIN SHARDWISE_DETAIL_PARENTHESES(Type, __VA_ARGS__))
#define SHARDWISE_DETAIL_AGAIN() SHARDWISE_DETAIL_EACH

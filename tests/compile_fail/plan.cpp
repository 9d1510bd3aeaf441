// SPDX-License-Identifier: Apache-2.0
// A plan that cannot be meant is refused where it is built. The name of the refused call is the sentence.
//! error[DUPLICATE]: the_same_pattern_has_two_styles
//! error[DUPLICATE] clang: in call to 'same_pattern_needs_same_style\(&"layers\.\*\.up"
//! error[DUPLICATE_IN_A_SUM]: the_same_pattern_has_two_styles
//! error[DUPLICATE_IN_A_SUM] clang: in call to 'same_pattern_needs_same_style\(&"layers\.\*\.up"
//! error[DUPLICATE_OVERRIDE]: the_same_pattern_has_two_styles
//! error[MISSPELT] gcc: error: 'colwize' is not a member of 'sw'
//! error[MISSPELT] clang: error: no member named 'colwize' in namespace 'shardwise'; did you mean 'colwise'
//! error[NO_PATTERN]: a_pattern_is_empty
//! error[EMPTY_SEGMENT]: a_pattern_has_an_empty_segment
//! error[TRAILING_DOT]: a_pattern_has_an_empty_segment
//! error[EMPTY_PREFIX]: a_pattern_is_empty
//! error[STAR]: a_star_stands_alone_in_its_segment
//! error[STAR_IN_BRACES]: a_star_stands_alone_in_its_segment
//! error[OPEN_BRACE]: a_pattern_has_a_brace_that_is_not_closed
//! error[CLOSED_BRACE]: a_pattern_has_a_brace_that_is_not_closed
//! error[DOT_IN_BRACES]: a_pattern_has_a_brace_that_is_not_closed
//! error[NESTED_BRACES]: a_pattern_has_braces_within_braces_or_twice
//! error[BRACES_TWICE]: a_pattern_has_braces_within_braces_or_twice
//! error[EMPTY_CHOICE]: a_pattern_has_an_empty_choice
//! error[TRAILING_COMMA]: a_pattern_has_an_empty_choice
//! error[SEGMENTS]: a_path_has_more_than_12_segments
//! error[SEGMENTS_UNDER]: a_path_has_more_than_12_segments
//! error[LONG_SEGMENT]: a_segment_is_longer_than_255_bytes
//! error[NO_GROUPS]: a_packed_dim_has_1_to_8_groups
//! error[NINE_GROUPS]: a_packed_dim_has_1_to_8_groups
//! error[GROUPS_OF_AN_EMBEDDING]: this_style_has_no_groups
//! error[UNITS_OF_A_WHOLE]: this_style_has_no_units
//! error[OVERRIDDEN_AND_ADDED]: the_same_pattern_has_two_styles
#include "shardwise/plan.hpp"

namespace sw = shardwise;

#define TEN "xxxxxxxxxx"
#define FIFTY TEN TEN TEN TEN TEN

constexpr auto layers = sw::plan({{"layers.*.up", sw::colwise}, {"layers.*.down", sw::rowwise}});
#if defined(DUPLICATE)
constexpr auto plan = sw::plan({{"layers.*.up", sw::colwise}, {"layers.*.up", sw::rowwise}});
#elif defined(DUPLICATE_IN_A_SUM)
constexpr auto other = sw::plan({{"layers.*.up", sw::rowwise}});
constexpr auto plan = layers + other;
#elif defined(DUPLICATE_OVERRIDE)
constexpr auto plan = layers.with({{"layers.*.up", sw::rowwise}, {"layers.*.up", sw::replicate}});
#elif defined(MISSPELT)
constexpr auto plan = sw::plan({{"layers.*.up", sw::colwize}});
#elif defined(NO_PATTERN)
constexpr auto plan = sw::plan({{"", sw::colwise}});
#elif defined(EMPTY_SEGMENT)
constexpr auto plan = sw::plan({{"layers..up", sw::colwise}});
#elif defined(TRAILING_DOT)
constexpr auto plan = sw::plan({{"layers.*.up.", sw::colwise}});
#elif defined(EMPTY_PREFIX)
constexpr auto plan = layers.under("");
#elif defined(STAR)
constexpr auto plan = sw::plan({{"layers.*_proj", sw::colwise}});
#elif defined(STAR_IN_BRACES)
constexpr auto plan = sw::plan({{"layers.{*,up}", sw::colwise}});
#elif defined(OPEN_BRACE)
constexpr auto plan = sw::plan({{"layers.*.{up,down", sw::colwise}});
#elif defined(CLOSED_BRACE)
constexpr auto plan = sw::plan({{"layers.*.up}", sw::colwise}});
#elif defined(DOT_IN_BRACES)
constexpr auto plan = sw::plan({{"layers.*.{mlp.up,down}", sw::colwise}});
#elif defined(NESTED_BRACES)
constexpr auto plan = sw::plan({{"layers.*.{up,{down,gate}}", sw::colwise}});
#elif defined(BRACES_TWICE)
constexpr auto plan = sw::plan({{"layers.*.{q,k}_{a,b}", sw::colwise}});
#elif defined(EMPTY_CHOICE)
constexpr auto plan = sw::plan({{"layers.*.up{}", sw::colwise}});
#elif defined(TRAILING_COMMA)
constexpr auto plan = sw::plan({{"layers.*.{up,}", sw::colwise}});
#elif defined(SEGMENTS)
constexpr auto plan = sw::plan({{"1.2.3.4.5.6.7.8.9.10.11.12.13", sw::colwise}});
#elif defined(SEGMENTS_UNDER)
constexpr auto plan = layers.under("1.2.3.4.5.6.7.8.9.10");
#elif defined(LONG_SEGMENT)
constexpr auto plan = sw::plan({{FIFTY FIFTY FIFTY FIFTY FIFTY "xxxxxx", sw::colwise}});
#elif defined(NO_GROUPS)
constexpr auto plan = sw::plan({{"up", sw::colwise.groups(0)}});
#elif defined(GROUPS_OF_AN_EMBEDDING)
constexpr auto plan = sw::plan({{"up", sw::embedding_rowwise.groups(2)}});
#elif defined(UNITS_OF_A_WHOLE)
constexpr auto plan = sw::plan({{"up", sw::replicate.units("heads")}});
#elif defined(OVERRIDDEN_AND_ADDED)
constexpr auto plan = layers.with({{"layers.*.up", sw::rowwise}}) + sw::plan({{"layers.*.up", sw::colwise}});
#elif defined(NINE_GROUPS)
constexpr auto plan = sw::plan({{"up", sw::packed_colwise<9>}});
#else
constexpr auto plan = layers.under("1.2.3.4.5.6.7.8.9") + layers.with({{"layers.*.up", sw::rowwise}}) +
                      sw::plan({{"layers.*.{q,k}_proj", sw::colwise},
                                {"{a}.{b,c}.**", sw::colwise.groups(8)},
                                {FIFTY FIFTY FIFTY FIFTY FIFTY "xxxxx", sw::packed_colwise<1>}});
#endif
static_assert(plan.size() != 0);

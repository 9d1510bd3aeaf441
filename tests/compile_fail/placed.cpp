// SPDX-License-Identifier: Apache-2.0
// A wrong order has no spelling: what is placed otherwise than a step needs does not compile.
// clang-format off
//! error[ACTIVATION_OF_A_PARTIAL_SUM]: shardwise: partial_must_be_reduced_first<partial<...>>: a nonlinearity of a partial
//! error[ACTIVATION_OF_A_PARTIAL_SUM]: partial_must_be_reduced_first<shardwise::(v0::)?partial<
//! error[GATE_OF_ANOTHER_PLACEMENT]: wrong_placement<shardwise::(v0::)?sharded<-1>, shardwise::(v0::)?replicated>
//! error[BIAS_ON_A_PARTIAL_SUM]: shardwise: sum_of_different_placements<A, B>: reduce the partial one first, then add
//! error[BIAS_ON_A_PARTIAL_SUM]: sum_of_different_placements<shardwise::(v0::)?partial<[^>]*>, shardwise::(v0::)?replicated>
//! error[PARTIAL_BIAS]: shardwise: wrong_placement<Expected, Actual>: the operator needs its input placed as Expected
//! error[PARTIAL_BIAS]: wrong_placement<shardwise::(v0::)?replicated, shardwise::(v0::)?partial<
//! error[WHOLE_BIAS_OF_A_PARTIAL_OUTPUT]: wrong_placement<shardwise::(v0::)?partial<[^>]*>, shardwise::(v0::)?replicated>
//! error[WHOLE_BIAS_OF_CUT_COLUMNS]: wrong_placement<shardwise::(v0::)?sharded<-1>, shardwise::(v0::)?replicated>
//! error[ROWWISE_OF_A_WHOLE_INPUT]: shardwise: wrong_placement<Expected, Actual>: the operator needs its input placed as Expected
//! error[ROWWISE_OF_A_WHOLE_INPUT]: wrong_placement<shardwise::(v0::)?sharded<-1>, shardwise::(v0::)?replicated>
//! error[COLWISE_OF_A_CUT_INPUT]: wrong_placement<shardwise::(v0::)?replicated, shardwise::(v0::)?sharded<-1>
//! error[REDUCED_TWICE]: shardwise: wrong_placement<Expected, Actual>: the operator needs its input placed as Expected
//! error[REDUCED_TWICE]: wrong_placement<shardwise::(v0::)?partial<[^>]*>, shardwise::(v0::)?replicated>
//! error[GATHERED_TWICE]: wrong_placement<shardwise::(v0::)?sharded<-1>, shardwise::(v0::)?replicated>
//! error[NEVER_REDUCED]: wrong_placement<shardwise::(v0::)?sharded<-1>, shardwise::(v0::)?partial<
//! error[RESIDUAL_ON_OTHER_TOKENS]: sum_of_different_placements<shardwise::(v0::)?replicated, shardwise::(v0::)?sharded<0>
//! error[BLOCK_OF_A_TOKEN_SHARD]: wrong_placement<shardwise::(v0::)?replicated, shardwise::(v0::)?sharded<0>
//! error[TOKENS_OF_A_PARTIAL_SUM]: wrong_placement<shardwise::(v0::)?sharded<0>, shardwise::(v0::)?partial<
//! error[SCATTERED_TWICE]: wrong_placement<shardwise::(v0::)?partial<[^>]*>, shardwise::(v0::)?sharded<0>
//! error[SCATTERED_COLUMNS]: shardwise: this style sums nothing over the ranks
//! error[CONSTRUCTOR] gcc: is private within this context
//! error[CONSTRUCTOR] clang: calling a private constructor of class 'shardwise::placed<
//! error[RUN_TIME_CONSTRUCTOR] gcc: is private within this context
//! error[RUN_TIME_CONSTRUCTOR] clang: calling a private constructor of class 'shardwise::placed<
//! error[NO_ALL_REDUCE]: shardwise: this communicator has no all_reduce, and the step needs one
//! error[SUM_OF_MAXIMA]: shardwise: sum_of_different_placements<partial<max>, ...>: the maximum of sums is not the sum of maxima
// clang-format on
#include "shardwise/run.hpp"

#include "shardwise/plan/style.hpp"

namespace sw = shardwise;

struct ranks {
  using stream_type = sw::host_stream;
  int rank() const;
  int size() const;
  void barrier(sw::host_stream);
#if !defined(NO_ALL_REDUCE)
  void all_reduce(const void*, void*, std::size_t, sw::dtype, sw::reduction, sw::host_stream);
#endif
  void reduce_scatter(const void*, void*, std::size_t, sw::dtype, sw::reduction, sw::host_stream);
  void all_gather(const void*, void*, std::size_t, sw::dtype, sw::host_stream);
  void gather_last_dim(const void*, std::size_t, void*, std::size_t, std::size_t, std::span<const std::size_t>,
                       sw::dtype, sw::host_stream);
};
struct tensor {
  friend tensor operator+(tensor, tensor);
};
template <>
struct sw::tensor_traits<tensor> {
  static tensor_view view(tensor&);
  static tensor empty_like(const tensor&, const tensor_shape&);
  static tensor columns(const tensor&, std::size_t, std::size_t);
  static tensor rows(const tensor&, std::size_t, std::size_t, host_stream);
  static void add_to_rows(tensor&, const tensor&, host_stream);
};

tensor times_weight(const tensor&);
tensor silu(tensor);
tensor multiply(tensor, tensor);

void forward(ranks& comm, tensor t) {
  const sw::host_stream stream;
  const auto x = sw::assume_placed<sw::replicated>(t);
  const auto cut = sw::run<sw::colwise>(comm, stream, x, times_weight);
  const auto whole = sw::run<sw::rowwise>(comm, stream, cut, times_weight);
  const auto sum = sw::assume_placed<sw::partial<>>(t);
  const auto bias = sw::assume_placed<sw::replicated>(t);
  const auto cut_bias = sw::assume_placed<sw::sharded<-1>>(t);
  (void)(sum + sum);
  (void)sw::elementwise(multiply, sw::elementwise(silu, cut), cut);
  (void)sw::run<sw::rowwise>(comm, stream, sum, bias);
  (void)sw::run<sw::all_reduce>(comm, stream, sw::run<sw::rowwise_partial_output>(comm, stream, sum) + sum);
  (void)sw::run<sw::colwise_gather_output>(comm, stream, cut, cut_bias);
  (void)sw::run<sw::rowwise_split_input>(comm, stream, whole, times_weight);
  const sw::token_shards tokens(5, 2);
  const auto mine = sw::run_to_tokens<sw::rowwise>(comm, stream, sum, tokens);
  const auto all = sw::gather_tokens(
      "block", comm, stream, sw::elementwise(silu, mine + sw::own_tokens("block", comm, stream, x, tokens)), tokens);
  (void)sw::run<sw::colwise>(comm, stream, all, times_weight);
#if defined(ACTIVATION_OF_A_PARTIAL_SUM)
  (void)sw::elementwise(silu, sum);
#elif defined(GATE_OF_ANOTHER_PLACEMENT)
  (void)sw::elementwise(multiply, cut, x);
#elif defined(BIAS_ON_A_PARTIAL_SUM)
  (void)(sum + bias);
#elif defined(SUM_OF_MAXIMA)
  (void)(sw::assume_placed<sw::partial<sw::max>>(t) + sw::assume_placed<sw::partial<sw::max>>(t));
#elif defined(PARTIAL_BIAS)
  (void)sw::run<sw::rowwise>(comm, stream, sum, sum);
#elif defined(WHOLE_BIAS_OF_A_PARTIAL_OUTPUT)
  (void)sw::run<sw::rowwise_partial_output>(comm, stream, sum, bias);
#elif defined(WHOLE_BIAS_OF_CUT_COLUMNS)
  (void)sw::run<sw::colwise_gather_output>(comm, stream, cut, bias);
#elif defined(ROWWISE_OF_A_WHOLE_INPUT)
  (void)sw::run<sw::rowwise>(comm, stream, x, times_weight);
#elif defined(COLWISE_OF_A_CUT_INPUT)
  (void)sw::run<sw::colwise>(comm, stream, cut, times_weight);
#elif defined(REDUCED_TWICE)
  (void)sw::run<sw::all_reduce>(comm, stream, whole);
#elif defined(GATHERED_TWICE)
  (void)sw::run<sw::colwise_gather_output>(comm, stream, sw::run<sw::colwise_gather_output>(comm, stream, cut));
#elif defined(NEVER_REDUCED)
  (void)sw::run<sw::rowwise>(comm, stream, sw::assume_placed<sw::partial<>>(t), times_weight);
#elif defined(RESIDUAL_ON_OTHER_TOKENS)
  (void)(x + mine);
#elif defined(BLOCK_OF_A_TOKEN_SHARD)
  (void)sw::run<sw::colwise>(comm, stream, mine, times_weight);
#elif defined(TOKENS_OF_A_PARTIAL_SUM)
  (void)sw::gather_tokens("block", comm, stream, sum, tokens);
#elif defined(SCATTERED_TWICE)
  (void)sw::run_to_tokens<sw::rowwise>(comm, stream, mine, tokens);
#elif defined(SCATTERED_COLUMNS)
  (void)sw::run_to_tokens<sw::colwise>(comm, stream, cut, tokens);
#elif defined(CONSTRUCTOR)
  (void)sw::placed<tensor, sw::replicated>(t);
#elif defined(RUN_TIME_CONSTRUCTOR)
  (void)sw::placed<tensor>(sw::replicated{}, t);
#endif
}

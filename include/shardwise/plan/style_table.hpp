// SPDX-License-Identifier: Apache-2.0
// The table of styles: what each cuts, takes and gives, and by which collective. One row says all of it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "shardwise/placement.hpp"

namespace shardwise {
inline namespace v0 {

/// Named as Hugging Face names them, so that a plan can be taken along.
enum class style_kind : std::uint8_t {
  replicate,
  replicated_with_grad_allreduce,
  mla_kv_a_proj,
  colwise,
  colwise_gather_output,
  rowwise,
  rowwise_split_input,
  embedding_rowwise,
  embedding_colwise,
  moe_tp_experts,
  local_params,
  all_reduce,
  sequence_parallel,
  moe_identity_expert,
  grouped_gemm,
  ep_dispatch_experts,
  rowwise_partial_output,
  partial_output,
};

/// Over which ranks a rule cuts: Hugging Face has two plans for a class, and one group of ranks for each.
enum class parallelism : std::uint8_t {
  tensor,  ///< the ranks share every layer
  expert,  ///< the ranks share the experts: each has some of them whole
};
/// As the two are written: `tp` and `ep`.
constexpr std::string_view name_of(parallelism p) { return p == parallelism::tensor ? "tp" : "ep"; }

/// Which dim of a parameter is cut.
enum class cut_of : std::uint8_t {
  whole,    ///< none
  no_half,  ///< none, and the style says nothing of parameters: it covers none
  out,      ///< the output features: dim n-2 of a parameter with n dims, dim 0 of a vector
  in,       ///< the input features: the last dim; a vector named `bias` is whole, any other vector is cut
  first,    ///< dim 0: the rows of an embedding
  second,   ///< dim 1: the columns of an embedding; a vector has none, which is an error
  experts,  ///< dim 0: whole experts, which divide exactly, in Hugging Face's plans too
};

/// What makes the output of the module's own arithmetic the output that the style promises.
enum class collective : std::uint8_t { none, all_reduce, gather_last_dim };
/// As the communicator's function is called.
constexpr std::string_view name_of(collective c) {
  constexpr std::string_view names[] = {"none", "all_reduce", "gather_last_dim"};
  return names[static_cast<std::size_t>(c)];
}

/// How a size is divided over the ranks.
enum class division : std::uint8_t {
  exact,   ///< equal pieces, or an error that names the legal sizes
  chunk,   ///< torch.chunk's arithmetic: ceil(n / ranks) each, the last ones shorter or empty
  uneven,  ///< whole units, of which the first ranks have one more; each rank has one at least
};

/// Units that go together: query heads read key/value heads, each the same number of query heads one key/value head.
/// Where there are no more ranks than key/value heads, these are dealt, each with its query heads; where there are
/// more, query heads are dealt, and a rank holds the key/value heads that its query heads read.
enum class pairing : std::uint8_t {
  none,
  reads,    ///< query heads; value heads of a GatedDeltaNet
  read_by,  ///< key/value heads; key heads of a GatedDeltaNet: copied where ranks share one
};
/// As it is written.
constexpr std::string_view name_of(pairing p) {
  constexpr std::string_view names[] = {"alone", "reading", "read by"};
  return names[static_cast<std::size_t>(p)];
}

/// One row of the table of styles.
struct style_facts {
  style_kind kind;
  std::string_view name;
  cut_of cut;           ///< how a parameter is cut
  placement input;      ///< what the module's input must be
  placement local;      ///< what the module's own arithmetic yields on each rank
  placement output;     ///< what the module's output becomes
  collective then;      ///< how it gets from `local` to `output`
  bool splits_input;    ///< each rank first takes its chunk of the last dim of the input
  bool changes_module;  ///< false: the style speaks of parameters only
  bool runs = true;     ///< false: a plan may hold it and `shard` cuts by it, but `run` does not do its module half
};

inline constexpr style_facts style_table[] = {
    // kind, name, cut, input, local, output, collective, splits input, changes module, runs
    {style_kind::replicate, "replicate", cut_of::whole, replicated{}, replicated{}, replicated{}, collective::none,
     false, false},
    {style_kind::replicated_with_grad_allreduce, "replicated_with_grad_allreduce", cut_of::whole, replicated{},
     replicated{}, replicated{}, collective::none, false, false},
    {style_kind::mla_kv_a_proj, "mla_kv_a_proj", cut_of::whole, replicated{}, replicated{}, replicated{},
     collective::none, false, false},
    {style_kind::colwise, "colwise", cut_of::out, replicated{}, sharded<-1>{}, sharded<-1>{}, collective::none, false,
     true},
    {style_kind::colwise_gather_output, "colwise_gather_output", cut_of::out, replicated{}, sharded<-1>{}, replicated{},
     collective::gather_last_dim, false, true},
    {style_kind::rowwise, "rowwise", cut_of::in, sharded<-1>{}, partial<>{}, replicated{}, collective::all_reduce,
     false, true},
    {style_kind::rowwise_split_input, "rowwise_split_input", cut_of::in, replicated{}, partial<>{}, replicated{},
     collective::all_reduce, true, true},
    {style_kind::embedding_rowwise, "embedding_rowwise", cut_of::first, replicated{}, partial<>{}, replicated{},
     collective::all_reduce, false, true},
    {style_kind::embedding_colwise, "embedding_colwise", cut_of::second, replicated{}, sharded<-1>{}, replicated{},
     collective::gather_last_dim, false, true},
    {style_kind::moe_tp_experts, "moe_tp_experts", cut_of::no_half, replicated{}, partial<>{}, replicated{},
     collective::all_reduce, false, true},
    {style_kind::local_params, "local_params", cut_of::no_half, replicated{}, replicated{}, replicated{},
     collective::none, false, false},
    {style_kind::all_reduce, "all_reduce", cut_of::no_half, replicated{}, partial<>{}, replicated{},
     collective::all_reduce, false, true},
    {style_kind::sequence_parallel, "sequence_parallel", cut_of::whole, sharded<1>{}, sharded<1>{}, sharded<1>{},
     collective::none, false, true, false},
    {style_kind::moe_identity_expert, "moe_identity_expert", cut_of::no_half, replicated{}, partial<>{}, partial<>{},
     collective::none, false, true},
    {style_kind::grouped_gemm, "grouped_gemm", cut_of::experts, replicated{}, replicated{}, replicated{},
     collective::none, false, false},
    {style_kind::ep_dispatch_experts, "ep_dispatch_experts", cut_of::no_half, replicated{}, partial<>{}, replicated{},
     collective::all_reduce, false, true},
    {style_kind::rowwise_partial_output, "rowwise_partial_output", cut_of::in, sharded<-1>{}, partial<>{}, partial<>{},
     collective::none, false, true},
    {style_kind::partial_output, "partial_output", cut_of::no_half, replicated{}, partial<>{}, partial<>{},
     collective::none, false, true},
};

}  // namespace v0
}  // namespace shardwise

// SPDX-License-Identifier: Apache-2.0
// The one table of styles, against what Hugging Face says of each (its layer classes' input and output layouts).
#include "shardwise/plan/style.hpp"

#include <string_view>

#include "catch.hpp"

namespace sw = shardwise;

namespace {

constexpr sw::placement whole = sw::replicated{}, cut = sw::sharded<-1>{}, sum = sw::partial<>{},
                        rows = sw::sharded<1>{};

struct flow {
  sw::style how;
  sw::placement input, local, output;
  sw::collective then;
  bool parameter_half, module_half;
};
constexpr flow flows[] = {
    {sw::replicate, whole, whole, whole, sw::collective::none, true, false},
    {sw::replicated_with_grad_allreduce, whole, whole, whole, sw::collective::none, true, false},
    {sw::mla_kv_a_proj, whole, whole, whole, sw::collective::none, true, false},
    {sw::colwise, whole, cut, cut, sw::collective::none, true, true},
    {sw::packed_colwise<2>, whole, cut, cut, sw::collective::none, true, true},
    {sw::colwise_gather_output, whole, cut, whole, sw::collective::gather_last_dim, true, true},
    {sw::rowwise, cut, sum, whole, sw::collective::all_reduce, true, true},
    {sw::packed_rowwise<2>, cut, sum, whole, sw::collective::all_reduce, true, true},
    {sw::rowwise_split_input, whole, sum, whole, sw::collective::all_reduce, true, true},
    {sw::embedding_rowwise, whole, sum, whole, sw::collective::all_reduce, true, true},
    {sw::embedding_colwise, whole, cut, whole, sw::collective::gather_last_dim, true, true},
    {sw::moe_tp_experts, whole, sum, whole, sw::collective::all_reduce, false, true},
    {sw::local_params, whole, whole, whole, sw::collective::none, false, false},
    {sw::all_reduce, whole, sum, whole, sw::collective::all_reduce, false, true},
    {sw::sequence_parallel, rows, rows, rows, sw::collective::none, true, true},
    {sw::moe_identity_expert, whole, sum, sum, sw::collective::none, false, true},
    {sw::grouped_gemm, whole, whole, whole, sw::collective::none, true, false},
    {sw::ep_dispatch_experts, whole, sum, whole, sw::collective::all_reduce, false, true},
    {sw::rowwise_partial_output, cut, sum, sum, sw::collective::none, true, true},
    {sw::partial_output, whole, sum, sum, sw::collective::none, false, true},
};
static_assert(std::size(flows) == std::size(sw::style_table) + 2);  // packed ones share a row

// The table is in the order of the enum, or facts() would read another row.
constexpr bool in_order() {
  for (std::size_t i = 0; i < std::size(sw::style_table); ++i) {
    if (static_cast<std::size_t>(sw::style_table[i].kind) != i) return false;
  }
  return true;
}
static_assert(in_order());
static_assert(sw::style(sw::packed_colwise<2>).name() == "packed_colwise");
static_assert(sw::style(sw::packed_rowwise<2>).name() == "packed_rowwise");
static_assert(sw::style(sw::packed_colwise<1>).name() == "colwise");
static_assert(sw::style{}.kind == sw::style_kind::replicate);

}  // namespace

TEST_CASE("the table says of every style what it takes, yields and gives, and by which collective", "[plan]") {
  for (const flow& f : flows) {
    INFO(f.how.name());
    const sw::style_facts& facts = f.how.facts();
    CHECK(facts.input == f.input);
    CHECK(facts.local == f.local);
    CHECK(facts.output == f.output);
    CHECK(facts.then == f.then);
    CHECK(facts.splits_input == (f.how.kind == sw::style_kind::rowwise_split_input));
    CHECK(f.how.has_parameter_half() == f.parameter_half);
    CHECK(f.how.has_module_half() == f.module_half);
    // A collective is what makes `output` of `local`, and is there exactly where the two differ.
    CHECK((facts.then == sw::collective::none) == (facts.local == facts.output));
  }
}

TEST_CASE("Hugging Face's packed_rowwise speaks of the parameter only", "[plan]") {
  sw::style imported = sw::packed_rowwise<2>;
  imported.divided = sw::division::chunk;
  CHECK_FALSE(imported.has_module_half());
  imported.group_count = 1;
  CHECK(imported.has_module_half());
}

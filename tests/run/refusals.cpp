// SPDX-License-Identifier: Apache-2.0
// What is placed otherwise than a step needs is refused, in words, before any collective.
#include <cstddef>
#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/run/run.hpp"
#include "shardwise/shard/shard.hpp"
#include "support.hpp"

namespace sw = shardwise;
using support::claimed_rank;
using support::refusal;
using support::tensor;

namespace {

constexpr sw::host_stream stream;

/// A model of one module "m" [10, 10] with a style, and a module "whole" that no rule cuts.
sw::sharding sharding_of(const sw::style& how, int tp) {
  sw::tree t;
  t.add("m.weight", sw::dtype::f32, {10, 10}).add("whole.weight", sw::dtype::f32, {10, 10});
  const sw::rule rules[] = {{"m", how}, {"whole", sw::replicate}};
  return sw::shard({rules, 2}, t, {.tp = tp});
}

/// The sentence with which a step refuses `x`: before its collective, which it runs otherwise.
std::string refused(const sw::sharding& s, const char* module, sw::placement where, std::size_t columns) {
  claimed_rank comm{.rank_ = 0, .size_ = s.tp()};
  const std::string text = refusal<sw::placement_error>([&] {
    (void)sw::run(s.step(module), comm, stream, sw::assume_placed(where, tensor({2, columns})));
  });
  CHECK(comm.collectives == (text.empty() ? 1 : 0));
  return text;
}
std::string refused_bias(const sw::sharding& s, sw::placement where, std::size_t columns, sw::placement bias_where,
                         std::size_t bias) {
  claimed_rank comm{.rank_ = 0, .size_ = s.tp()};
  return refusal<sw::placement_error>([&] {
    (void)sw::run(s.step("m"), comm, stream, sw::assume_placed(where, tensor({2, columns})),
                  sw::assume_placed(bias_where, tensor({bias})));
  });
}

constexpr sw::placement whole = sw::replicated{}, cut = sw::sharded<-1>{}, sum = sw::partial<>{};

}  // namespace

TEST_CASE("a result that is not what the style takes it to be is refused", "[run]") {
  const sw::sharding rowwise = sharding_of(sw::rowwise, 2);
  CHECK(refused(rowwise, "m", whole, 10) ==
        "'m' is rowwise, which takes its own output to be a partial sum, but it is replicated: its parameters are not "
        "cut as the style needs");
  CHECK(refused(rowwise, "m", sw::partial<sw::max>{}, 10) != "");
  CHECK(refused(rowwise, "m", sum, 10) == "");
  CHECK(refused(sharding_of(sw::colwise, 2), "m", sum, 5) ==
        "'m' is colwise, which takes its own output to be sharded on its last dim, but it is a partial sum: its "
        "parameters are not cut as the style needs");
}

TEST_CASE("what no row of the plan makes whole is refused, with the style to give it", "[run]") {
  const sw::sharding s = sharding_of(sw::rowwise, 2);
  CHECK(refused(s, "whole", sum, 10) ==
        "'whole' yields a partial sum, and no row of the plan makes it whole: give it rowwise, moe_tp_experts or "
        "all_reduce");
  CHECK(refused(s, "whole", cut, 10) ==
        "'whole' yields a tensor that is sharded on its last dim, and no row of the plan makes it whole: give it "
        "colwise_gather_output, or name the module in its rule");
  const auto logits = sw::assume_placed(cut, tensor({2, 5}));
  CHECK(refusal<sw::placement_error>([&] { (void)sw::expect_replicated(logits, "lm_head"); }) ==
        "'lm_head' yields a tensor that is sharded on its last dim, and no row of the plan makes it whole: give it "
        "colwise_gather_output, or name the module in its rule");
  CHECK(refusal<sw::placement_error>([&] { (void)sw::expect_replicated(logits, ""); }).find("'the model' yields") == 0);
  const auto right = sw::assume_placed(whole, tensor({2, 10}));
  CHECK(&sw::expect_replicated(right, "lm_head") == &right);
  // Of a temporary it is a value: a reference would outlive it.
  static_assert(std::same_as<decltype(sw::expect_replicated(sw::assume_placed(whole, tensor({2, 10})), "lm_head")),
                             sw::placed<tensor>>);
}

TEST_CASE("an input that is not placed as the style needs is refused", "[run]") {
  const sw::sharding s = sharding_of(sw::rowwise, 2);
  const claimed_rank comm{.rank_ = 0, .size_ = 2};
  const auto input = [&](const sw::sharding& of, sw::placement where, std::size_t columns) {
    return refusal<sw::placement_error>([&] {
      (void)sw::input(of.step("m"), comm, sw::assume_placed(where, tensor({2, columns})));
    });
  };
  CHECK(input(s, whole, 10) ==
        "'m' is rowwise and needs its input sharded on its last dim, but it is replicated: change the style of this "
        "module or of the one before it");
  CHECK(input(s, cut, 5) == "");
  CHECK(input(sharding_of(sw::colwise, 2), cut, 5).find("needs its input replicated, but it is sharded") !=
        std::string::npos);
  CHECK(input(sharding_of(sw::rowwise_split_input, 2), whole, 8) ==
        "'m' splits an input of 10 columns, and was given 8");
}

TEST_CASE("a split input is the rank's chunk, and one that is not split is handed on", "[run]") {
  const tensor x = support::numbers({2, 10}, 1);
  const auto chunk = [&](const sw::style& how, int tp, int rank) {
    const claimed_rank comm{.rank_ = rank, .size_ = tp};
    sw::style imported = how;
    imported.divided = sw::division::chunk;
    return sw::input(sharding_of(imported, tp).step("m"), comm, sw::assume_placed(whole, x));
  };
  const auto last = chunk(sw::rowwise_split_input, 4, 3);
  CHECK(last.where() == cut);
  CHECK(last.local().shape == sw::tensor_shape{2, 1});
  CHECK(last.local().data == std::vector<float>{x.at(0, 9), x.at(1, 9)});
  CHECK(chunk(sw::rowwise_split_input, 8, 7).local().shape == sw::tensor_shape{2, 0});
  CHECK(chunk(sw::colwise, 4, 3).local() == x);
}

TEST_CASE("a bias that is not placed like the output of its weight, or not as long, is refused", "[run]") {
  CHECK(refused_bias(sharding_of(sw::colwise, 2), cut, 5, whole, 10) ==
        "the bias of 'm' is replicated, and must be sharded on its last dim: cut it like the output of its weight");
  CHECK(refused_bias(sharding_of(sw::rowwise, 2), sum, 10, cut, 5) ==
        "the bias of 'm' is sharded on its last dim, and must be replicated: cut it like the output of its weight");
  CHECK(refused_bias(sharding_of(sw::rowwise, 2), sum, 10, sum, 10) ==
        "the bias of 'm' is a partial sum, and must be replicated: cut it like the output of its weight");
  CHECK(refused_bias(sharding_of(sw::colwise, 2), cut, 5, cut, 4) ==
        "the bias of 'm' has 4 elements, and the rows of its output have 5: give the bias that is cut like the output");
  CHECK(refused_bias(sharding_of(sw::colwise, 2), cut, 5, cut, 5) == "");
}

TEST_CASE("columns that are not the plan's are refused before they are gathered", "[run]") {
  const sw::sharding s = sharding_of(sw::colwise_gather_output, 2);
  CHECK(refused(s, "m", cut, 4) == "'m' yields 4 columns on rank 0, and the plan gives it 5 of 10");
}

TEST_CASE("a sharding is for as many ranks as the communicator has", "[run]") {
  const sw::sharding s = sharding_of(sw::rowwise, 2);
  claimed_rank comm{.rank_ = 0, .size_ = 3};
  CHECK(refusal<sw::comm_error>([&] {
          (void)sw::run(s.step("m"), comm, stream, sw::assume_placed(sum, tensor({2, 10})));
        }) ==
        "the step of 'm' is of a sharding for 2 ranks, and the communicator has 3: shard for its size, {.tp = "
        "comm.size()}");
}

TEST_CASE("a collective needs a dense tensor", "[run]") {
  float data[20] = {};
  sw::tensor_view view(data, sw::dtype::f32, {2, 5});
  view.strides[0] = 10;
  claimed_rank comm{.rank_ = 0, .size_ = 2};
  const sw::sharding s = sharding_of(sw::rowwise, 2);
  CHECK(refusal<sw::placement_error>([&] {
          (void)sw::run<sw::all_reduce>(comm, stream, sw::assume_placed<sw::partial<>>(view));
        }) == "'all_reduce': a collective needs a dense row-major tensor; copy the view first");
}

TEST_CASE("a style that a plan may hold but that this version does not run is refused where it would run", "[run]") {
  sw::tree t;
  t.add("norm.weight", sw::dtype::f32, {4});
  const sw::rule rules[] = {{"norm", sw::sequence_parallel}};
  const sw::sharding s = sw::shard({rules, 1}, t, {.tp = 2});
  claimed_rank comm{.rank_ = 0, .size_ = 2};
  const auto x = sw::assume_placed(whole, tensor({2, 2})), bias = sw::assume_placed(whole, tensor({2}));
  const std::string text = refusal<sw::plan_error>([&] { (void)sw::input(s.step("norm"), comm, x); });
  CHECK(text ==
        "'norm' is sequence_parallel: a plan may hold it and its parameters are cut by it, but this version does "
        "not run it; leave the module's row out, and do it in the engine");
  CHECK(refusal<sw::plan_error>([&] { (void)sw::run(s.step("norm"), comm, stream, x); }) == text);
  CHECK(refusal<sw::plan_error>([&] { (void)sw::run(s.step("norm"), comm, stream, x, bias); }) == text);
  CHECK(comm.collectives == 0);
}

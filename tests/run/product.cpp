// SPDX-License-Identifier: Apache-2.0
#include "shardwise/run/product.hpp"

#include <optional>
#include <string>

#include "catch.hpp"
#include "shardwise/shard/shard.hpp"

namespace sw = shardwise;

namespace {

const sw::placement whole = sw::replicated{}, cut = sw::sharded<-1>{}, sum = sw::partial<>{};

sw::sharded_parameter weight_of(const sw::style& how, const sw::tensor_shape& shape = {4, 8}) {
  sw::sharded_parameter p;
  p.name = "m.weight";
  p.shape = shape;
  p.how = sw::cut_by(how, shape.dims(), false).how;
  return p;
}

/// The placement of a product, or none and the sentence.
struct answer {
  std::optional<sw::placement> where;
  std::string refusal;
};
answer times(const sw::placement& x, const sw::sharded_parameter& weight,
             sw::weight_axes axes = sw::weight_axes::out_in) {
  try {
    return {sw::product(x, weight, axes), ""};
  } catch (const sw::placement_error& e) {
    return {std::nullopt, e.what()};
  }
}

}  // namespace

TEST_CASE("the placement of a product follows from those of its operands", "[run]") {
  for (const sw::tensor_shape& shape : {sw::tensor_shape{4, 8}, sw::tensor_shape{3, 4, 8}}) {
    const auto replicated = weight_of(sw::replicate, shape), out = weight_of(sw::colwise, shape),
               in = weight_of(sw::rowwise, shape);
    CHECK(times(whole, replicated).where == whole);
    CHECK(times(sum, replicated).where == sum);
    CHECK(times(whole, out).where == cut);
    CHECK(times(cut, in).where == sum);
    // Stored the other way round.
    CHECK(times(whole, replicated, sw::weight_axes::in_out).where == whole);
    CHECK(times(whole, in, sw::weight_axes::in_out).where == cut);
    CHECK(times(cut, out, sw::weight_axes::in_out).where == sum);
    CHECK_THAT(times(whole, out, sw::weight_axes::in_out).refusal,
               Catch::Matchers::StartsWith("'m.weight' is cut on its input features, and its input is replicated"));
  }
}

TEST_CASE("a product that no rank could compute is refused, with the way out", "[run]") {
  const auto replicated = weight_of(sw::replicate), out = weight_of(sw::colwise), in = weight_of(sw::rowwise);
  CHECK(times(cut, replicated).refusal ==
        "'m.weight' is whole, and its input is sharded on its last dim: give it rowwise, or gather the input "
        "(colwise_gather_output)");
  CHECK(times(cut, out).refusal ==
        "'m.weight' is cut on its output features, and its input is sharded on its last dim: give it rowwise, or "
        "gather the input (colwise_gather_output)");
  CHECK(times(whole, in).refusal ==
        "'m.weight' is cut on its input features, and its input is replicated: cut the module that makes the input by "
        "colwise, or use rowwise_split_input");
  CHECK(times(sum, out).refusal ==
        "'m.weight' is sharded on dim 0, and its input is a partial sum: no row of the plan reduces that sum before "
        "this product");
  CHECK(times(sum, in).refusal ==
        "'m.weight' is sharded on its last dim, and its input is a partial sum: no row of the plan reduces that sum "
        "before this product");
}

TEST_CASE("a tensor that is cut on another dim than its last is the input of no product", "[run]") {
  const sw::placement rows = sw::sharded<0>{};
  for (const sw::style& how : {sw::style(sw::replicate), sw::style(sw::colwise), sw::style(sw::rowwise)}) {
    CHECK_FALSE(times(rows, weight_of(how)).where);
  }
  // Experts cut on their own dim: neither in nor out.
  CHECK_FALSE(times(whole, weight_of(sw::embedding_rowwise, {3, 4, 8})).where);
}

TEST_CASE("the placement of looked-up rows follows from the table's", "[run]") {
  CHECK(sw::lookup(weight_of(sw::replicate)) == whole);
  CHECK(sw::lookup(weight_of(sw::embedding_rowwise)) == sum);
  CHECK(sw::lookup(weight_of(sw::embedding_colwise)) == cut);
}

TEST_CASE("a parameter that the engine needs whole is refused where it is cut, by name", "[run]") {
  const auto norm = weight_of(sw::replicate, {4}), cut_norm = weight_of(sw::colwise, {4});
  CHECK(&sw::whole(norm) == &norm);
  CHECK_THROWS_MATCHES(sw::whole(cut_norm), sw::placement_error,
                       says("the engine needs 'm.weight' whole, and the plan cuts it on dim 0: replicate it"));
}

// SPDX-License-Identifier: Apache-2.0
#include "shardwise/shard/slice.hpp"

#include <initializer_list>

#include "catch.hpp"

namespace sw = shardwise;

namespace {

constexpr bool is(const sw::intervals& have, std::initializer_list<sw::interval> want) {
  sw::intervals w;
  for (const sw::interval& i : want) w.push(i);
  return have == w;
}
constexpr sw::cut exact(int dim, std::uint8_t groups = 1, std::size_t units = 0) {
  return {dim, groups, sw::division::exact, units};
}
constexpr sw::cut chunks(int dim, std::uint8_t groups = 1) { return {dim, groups, sw::division::chunk, 0}; }
constexpr sw::style hugging_face(sw::style s) {
  s.divided = sw::division::chunk;
  return s;
}
constexpr int dim_of(const sw::style& s, std::size_t dims, bool is_bias = false) {
  const sw::cut_choice c = sw::cut_by(s, dims, is_bias);
  return c.possible ? c.how.dim : -2;
}

// torch.chunk: ceil(n / ranks) each, then a short one, then none.
static_assert(sw::chunk(10, 3, 0) == sw::interval{0, 4} && sw::chunk(10, 3, 2) == sw::interval{8, 10});
static_assert(sw::chunk(8, 5, 3) == sw::interval{6, 8} && sw::chunk(8, 5, 4) == sw::interval{8, 8});
static_assert(sw::chunk(0, 2, 1) == sw::interval{0, 0} && sw::chunk(1, 4, 3) == sw::interval{1, 1});
static_assert(sw::chunk(~std::size_t{}, 2, 1) == sw::interval{std::size_t{1} << 63, ~std::size_t{}});

static_assert(is(sw::pieces_of(chunks(0), 10, 4, 3), {{9, 10}}));
static_assert(is(sw::pieces_of(chunks(0), 10, 8, 5), {}));
static_assert(is(sw::pieces_of(exact(0), 12, 3, 1), {{4, 8}}));
static_assert(is(sw::pieces_of(exact(0, 2), 12, 3, 1), {{2, 4}, {8, 10}}));
static_assert(is(sw::pieces_of(exact(0, 3), 12, 2, 1), {{2, 4}, {6, 8}, {10, 12}}));
static_assert(is(sw::pieces_of(sw::cut{}, 12, 3, 1), {{0, 12}}));

// A fault is the first of: groups, units, ranks.
static_assert(sw::fault_of(exact(0, 2), 7, 2) == sw::cut_fault::groups);
static_assert(sw::fault_of(exact(0, 1, 3), 8, 1) == sw::cut_fault::units);
static_assert(sw::fault_of(exact(0, 1, 3), 12, 2) == sw::cut_fault::ranks);
static_assert(sw::fault_of(exact(0), 12, 5) == sw::cut_fault::ranks);
static_assert(sw::fault_of(exact(0, 2), 12, 4) == sw::cut_fault::ranks);
static_assert(sw::fault_of(exact(0, 1, 3), 12, 3) == sw::cut_fault::none);
static_assert(sw::fault_of(chunks(0), 1, 8) == sw::cut_fault::none);
static_assert(sw::fault_of(chunks(0, 2), 12, 4) == sw::cut_fault::empty_group);
static_assert(sw::fault_of(chunks(0, 2), 12, 3) == sw::cut_fault::none);
static_assert(sw::fault_of(chunks(0, 2), 7, 4) == sw::cut_fault::none);  // a piece of the longer group is something
static_assert(sw::fault_of(sw::cut{0, 1, sw::division::chunk, 2}, 10, 4) == sw::cut_fault::ranks);  // units are exact
static_assert(sw::fault_of(sw::cut{}, 7, 2) == sw::cut_fault::none);

// [out, in], [experts, out, in], a vector of the output, a bias, an embedding.
static_assert(dim_of(sw::colwise, 2) == 0 && dim_of(sw::colwise, 3) == 1 && dim_of(sw::colwise, 1, true) == 0);
static_assert(dim_of(sw::rowwise, 2) == 1 && dim_of(sw::rowwise, 3) == 2);
static_assert(dim_of(sw::rowwise, 1, true) == -1 && dim_of(sw::rowwise, 1, false) == 0);
static_assert(dim_of(sw::embedding_rowwise, 2) == 0 && dim_of(sw::embedding_colwise, 2) == 1);
static_assert(dim_of(sw::embedding_colwise, 1) == -2);
static_assert(dim_of(sw::colwise, 0) == -1 && dim_of(sw::rowwise, 0) == -1 && dim_of(sw::embedding_rowwise, 0) == -1);
static_assert(dim_of(sw::replicate, 2) == -1 && dim_of(sw::moe_tp_experts, 2) == -1);

// A packed vector: its groups in a plan of ours; Hugging Face cuts it unpacked, or leaves it whole.
static_assert(sw::cut_by(sw::packed_colwise<2>, 1, true).how.groups == 2);
static_assert(sw::cut_by(hugging_face(sw::packed_colwise<2>), 1, true).how.groups == 1);
static_assert(sw::cut_by(hugging_face(sw::packed_rowwise<2>), 1, false).how.whole());
static_assert(!sw::cut_by(sw::packed_rowwise<2>, 1, false).how.whole());

constexpr auto box_list = sw::slices_of(exact(1, 2), {3, 8, 5}, 2, 1);
static_assert(box_list.count == 2);
static_assert(box_list.at[0] == sw::box{{0, 2, 0}, {3, 2, 5}} && box_list.at[1] == sw::box{{0, 6, 0}, {3, 2, 5}});
static_assert(sw::local_shape_of(exact(1, 2), {3, 8, 5}, 2, 1) == sw::tensor_shape{3, 4, 5});
static_assert(sw::slices_of(chunks(0), {2, 3}, 4, 3).count == 0);
static_assert(sw::local_shape_of(chunks(0), {2, 3}, 4, 3) == sw::tensor_shape{0, 3});
static_assert(sw::slices_of(sw::cut{}, {}, 4, 3).at[0] == sw::box::whole({}));

}  // namespace

TEST_CASE("the same slicer runs at run time, and the pieces of all ranks make up the dim", "[shard]") {
  for (std::size_t n = 0; n <= 40; ++n) {
    for (int ranks = 1; ranks <= 9; ++ranks) {
      std::size_t at = 0;
      for (int r = 0; r < ranks; ++r) {
        const sw::intervals mine = sw::pieces_of(chunks(0), n, ranks, r);
        REQUIRE(mine.count <= 1);
        if (mine.count == 0) continue;
        CHECK(mine.at[0].begin == at);
        at = mine.at[0].end;
      }
      CHECK(at == n);
    }
  }
}

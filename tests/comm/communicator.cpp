// SPDX-License-Identifier: Apache-2.0
#include "shardwise/comm/communicator.hpp"

#include "catch.hpp"
#include "shardwise/comm/operation.hpp"

namespace sw = shardwise;

namespace {

// All capabilities but one: as when an engine wraps a library that lacks it.
template <sw::operation Missing>
struct lacks {
  using stream_type = sw::host_stream;
  int rank() const { return 0; }
  int size() const { return 1; }
  void barrier(stream_type) requires(Missing != sw::operation::barrier) {}
  void all_reduce(const void*, void*, std::size_t, sw::dtype, sw::reduction,
                  stream_type) requires(Missing != sw::operation::all_reduce) {}
  void all_gather(const void*, void*, std::size_t, sw::dtype,
                  stream_type) requires(Missing != sw::operation::all_gather) {}
  void gather_last_dim(const void*, std::size_t, void*, std::size_t, std::size_t, std::span<const std::size_t>,
                       sw::dtype, stream_type) requires(Missing != sw::operation::gather_last_dim) {}
  void reduce_scatter(const void*, void*, std::size_t, sw::dtype, sw::reduction,
                      stream_type) requires(Missing != sw::operation::reduce_scatter) {}
  void broadcast(void*, std::size_t, sw::dtype, int, stream_type) requires(Missing != sw::operation::broadcast) {}
  void all_to_all(const void*, std::span<const std::size_t>, void*, std::span<const std::size_t>, sw::dtype,
                  stream_type) requires(Missing != sw::operation::all_to_all) {}
  lacks split(int, int) requires(Missing != sw::operation::split) { return {}; }
};
constexpr auto nothing = static_cast<sw::operation>(255);

template <class C>
constexpr unsigned capabilities = unsigned(sw::can_all_reduce<C>) + unsigned(sw::can_all_gather<C>) +
                                  unsigned(sw::can_gather_last_dim<C>) + unsigned(sw::can_reduce_scatter<C>) +
                                  unsigned(sw::can_broadcast<C>) + unsigned(sw::can_all_to_all<C>) +
                                  unsigned(sw::can_split<C>);

static_assert(sw::full_communicator<lacks<nothing>> && capabilities<lacks<nothing>> == 7);
static_assert(!sw::communicator<lacks<sw::operation::barrier>>);
static_assert(capabilities<lacks<sw::operation::barrier>> == 0, "what is no communicator has no capability");

// Without one capability: that one is missing, the six others are there, and it is still a communicator.
template <class C>
constexpr bool lacks_one = sw::communicator<C> && !sw::full_communicator<C> && capabilities<C> == 6;
static_assert(lacks_one<lacks<sw::operation::all_reduce>> && !sw::can_all_reduce<lacks<sw::operation::all_reduce>>);
static_assert(lacks_one<lacks<sw::operation::all_gather>> && !sw::can_all_gather<lacks<sw::operation::all_gather>>);
static_assert(lacks_one<lacks<sw::operation::gather_last_dim>> &&
              !sw::can_gather_last_dim<lacks<sw::operation::gather_last_dim>>);
static_assert(lacks_one<lacks<sw::operation::reduce_scatter>> &&
              !sw::can_reduce_scatter<lacks<sw::operation::reduce_scatter>>);
static_assert(lacks_one<lacks<sw::operation::broadcast>> && !sw::can_broadcast<lacks<sw::operation::broadcast>>);
static_assert(lacks_one<lacks<sw::operation::all_to_all>> && !sw::can_all_to_all<lacks<sw::operation::all_to_all>>);
static_assert(lacks_one<lacks<sw::operation::split>> && !sw::can_split<lacks<sw::operation::split>>);

// Near misses.
struct wide_rank : lacks<nothing> {
  long rank() const { return 0; }
};
static_assert(!sw::communicator<wide_rank>, "a rank is an int");
struct no_stream {
  int rank() const { return 0; }
  int size() const { return 1; }
  void barrier(sw::host_stream) {}
};
static_assert(!sw::communicator<no_stream>, "a communicator says what its stream is");
struct writes_its_input : lacks<nothing> {
  void all_reduce(void*, void*, std::size_t, sw::dtype, sw::reduction, stream_type) {}
};
static_assert(!sw::can_all_reduce<writes_its_input>, "what is sent is not written");
struct splits_into_nothing : lacks<nothing> {
  void split(int, int) {}
};
static_assert(!sw::can_split<splits_into_nothing>, "a split is a communicator");

}  // namespace

TEST_CASE("operations have the names of the member functions") {
  CHECK(sw::name_of(sw::operation::barrier) == "barrier");
  CHECK(sw::name_of(sw::operation::all_reduce) == "all_reduce");
  CHECK(sw::name_of(sw::operation::all_gather) == "all_gather");
  CHECK(sw::name_of(sw::operation::gather_last_dim) == "gather_last_dim");
  CHECK(sw::name_of(sw::operation::reduce_scatter) == "reduce_scatter");
  CHECK(sw::name_of(sw::operation::broadcast) == "broadcast");
  CHECK(sw::name_of(sw::operation::all_to_all) == "all_to_all");
  CHECK(sw::name_of(sw::operation::split) == "split");
}

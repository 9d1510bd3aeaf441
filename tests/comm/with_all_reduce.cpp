// SPDX-License-Identifier: Apache-2.0
#include "shardwise/comm/with_all_reduce.hpp"

#include <concepts>
#include <string>
#include <vector>

#include "catch.hpp"
#include "recorder.hpp"
#include "support.hpp"

using namespace comm_test;

namespace {

// What an engine has: a barrier, and an all-reduce of its own that is no member.
struct bare {
  using stream_type = sw::host_stream;
  int rank() const { return 1; }
  int size() const { return 2; }
  void barrier(stream_type) {}
};
struct of_an_engine {
  void operator()(const void*, void*, std::size_t, sw::dtype, sw::reduction, sw::host_stream) const {}
};
using helped = sw::with_all_reduce<bare, of_an_engine>;
static_assert(!sw::can_all_reduce<bare> && sw::can_all_reduce<helped>);
static_assert(!sw::can_all_gather<helped> && !sw::can_gather_last_dim<helped> && !sw::can_reduce_scatter<helped> &&
                  !sw::can_broadcast<helped> && !sw::can_all_to_all<helped> && !sw::can_split<helped>,
              "no more than what the communicator has");
static_assert(sw::full_communicator<sw::with_all_reduce<sw::in_process_communicator, of_an_engine>>);

}  // namespace

TEST_CASE("all_reduce is the engine's own, and all else is the communicator's") {
  std::vector<std::string> direct, forwarded, own;
  recorder to_direct{direct}, base{forwarded};
  auto fast =
      sw::with_all_reduce(base, [&](const void* send, void* recv, std::size_t n, sw::dtype t, sw::reduction op,
                                    fake_stream s) { own.push_back(line("all_reduce", send, recv, n, t, op, s)); });
  const auto stream = reinterpret_cast<fake_stream>(send_memory);
  call_all(to_direct, stream);
  call_all(fast, stream);
  CHECK(own == std::vector<std::string>{direct[1]});
  direct.erase(direct.begin() + 1);
  CHECK(forwarded == direct);
  CHECK(fast.rank() == 2);
  CHECK(fast.size() == 5);
  // The engine's all-reduce is of all ranks: a split does not have it.
  const auto part = fast.split(3, 1);
  static_assert(std::same_as<decltype(part), const recorder>);
  CHECK(part.size() == 3);
}

TEST_CASE("an engine's all-reduce may be made of the communicator's other operations") {
  const auto sums = sw::in_process(3, [](sw::in_process_communicator& c) {
    int calls = 0;
    auto own = sw::with_all_reduce(
        c, [&](const void* send, void* recv, std::size_t n, sw::dtype t, sw::reduction, sw::host_stream) {
          ++calls;
          std::vector<float> all(n * as_size(c.size()));
          c.all_gather(send, all.data(), n, t);
          auto* to = static_cast<float*>(recv);
          for (std::size_t i = 0; i < n; ++i) {
            to[i] = 0;
            for (std::size_t r = 0; r < as_size(c.size()); ++r) to[i] += all[r * n + i];
          }
        });
    sw::any_communicator any = own;  // and it is a communicator like any other
    float x[2] = {static_cast<float>(c.rank()), 1};
    any.all_reduce(x, x, 2, sw::dtype::f32, sw::reduction::sum);
    any.barrier();
    return std::vector<float>{x[0], x[1], static_cast<float>(calls)};
  });
  for (const auto& x : sums) CHECK(x == std::vector<float>{3, 3, 1});
}

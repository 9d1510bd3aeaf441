// SPDX-License-Identifier: Apache-2.0
// The one test suite of the communicator concept. A case is a function of (backend, comm, stream) that every rank
// calls, and that returns the number of wrong elements on the rank; expected values come from what each rank is known
// to hold. Runners bring the ranks: threads in process, processes under MPI, GPUs under NCCL.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "cases.hpp"
#include "logits_case.hpp"

namespace comm_test {

/// A case by name. Every rank calls `run`, in the same order of cases.
template <backend B, sw::full_communicator C>
struct named_case {
  using stream_type = typename C::stream_type;
  std::string name;
  std::size_t (*body)(B&, C&, stream_type, sw::dtype, std::span<const std::size_t> sizes);
  sw::dtype type;
  std::span<const std::size_t> sizes;

  std::size_t run(B& backend, C& comm, stream_type stream) const { return body(backend, comm, stream, type, sizes); }
};

inline constexpr std::size_t large_sizes[] = {sanitized ? 10007 : 100003}, small_sizes[] = {5};

/// The suite. The cases are the same, in the same order, on every rank.
template <backend B, sw::full_communicator C>
std::vector<named_case<B, C>> suite() {
  using stream_type = typename C::stream_type;
  std::vector<named_case<B, C>> cases;
  const auto add = [&]<class Case>(Case, std::span<const sw::dtype> types, std::span<const std::size_t> of_sizes) {
    const auto body = [](B& b, C& c, stream_type stream, sw::dtype type, std::span<const std::size_t> counts) {
      place<B, C> p(b, c, stream);
      std::size_t n = 0;
      const std::size_t shift = B::any_alignment ? 1 : sw::size_of(type);
      for (const std::size_t count : counts) {
        n += Case()(p, trial{type, count, 0, shift});
        n += Case()(p, trial{type, count, shift, 0});
      }
      return n;
    };
    for (const sw::dtype type : types) {
      cases.push_back({std::string(Case::name) + " (" + std::string(sw::name_of(type)) + ")", body, type, of_sizes});
    }
  };
  static constexpr sw::dtype large_types[] = {sw::dtype::f32, sw::dtype::bf16}, ints[] = {sw::dtype::i32},
                             floats[] = {sw::dtype::f32}, logits_types[] = {sw::dtype::f32, sw::dtype::bf16};
  const auto add_all = [&](std::span<const sw::dtype> reduced_types, std::span<const sw::dtype> moved_types,
                           std::span<const std::size_t> counts) {
    add(all_reduce_case{}, reduced_types, counts);
    add(reduce_scatter_case{}, reduced_types, counts);
    add(all_gather_case{}, moved_types, counts);
    add(broadcast_case{}, moved_types, counts);
    add(all_to_all_case{}, moved_types, counts);
  };
  add_all(reducible, every_type, sizes);
  add_all(large_types, floats, large_sizes);
  add(gather_case<true>{}, every_type, sizes);
  add(gather_case<false>{}, every_type, sizes);
  if (B::in_place_on_some_ranks) add(mixed_all_reduce_case{}, large_types, sizes);
  add(dispatch_case{}, floats, small_sizes);
  add(split_case{}, ints, small_sizes);
  add(independent_parts_case{}, floats, small_sizes);
  add(empty_case{}, floats, small_sizes);
  add(logits_case{}, logits_types, small_sizes);
  if constexpr (requires(B & b) { b.board(); }) {
    cases.push_back({barrier_case::name,
                     [](B& b, C& c, stream_type stream, sw::dtype, std::span<const std::size_t>) {
                       place<B, C> p(b, c, stream);
                       return barrier_case()(p, b.board());
                     },
                     sw::dtype::u8,
                     {}});
  }
  return cases;
}

}  // namespace comm_test

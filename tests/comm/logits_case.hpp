// SPDX-License-Identifier: Apache-2.0
// The case of suite.hpp for policies of logits: what every communicator is asked in the same way.
#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "backend.hpp"
#include "run/logits.hpp"
#include "shardwise/comm/any_communicator.hpp"
#include "shardwise/run/logits.hpp"
#include "shardwise/shard/shard.hpp"

namespace comm_test {

struct logits_case {
  static constexpr const char* name = "policies of logits give what the gathered logits give";
  static constexpr std::size_t rows = 2, vocabulary = 300, padded = 305;  // no two ranks share a block's end

  std::size_t operator()(auto& p, const trial& t) const {
    sw::tree tree;
    tree.add("lm_head.weight", sw::dtype::f32, {padded, 8});
    const sw::rule rule("lm_head", sw::colwise_gather_output.uneven());
    const sw::sharding sharding = sw::shard({&rule, 1}, tree, {.tp = p.c.size()});
    const sw::step step = sharding.step("lm_head");
    const sw::intervals pieces = step.pieces(p.rank());
    const sw::interval mine = pieces.count == 0 ? sw::interval{padded, padded} : pieces.at[0];
    // Whole numbers of which some are equal; what pads is the largest.
    const auto logit = [](std::size_t row, std::size_t v) {
      return v < vocabulary ? static_cast<double>((v * 37 + row * 11) % 23) - 11 : 50;
    };
    const std::size_t stride = mine.size() + 2;
    auto local = p.holding(t.type, rows * stride, t.shift, [&](std::size_t i) {
      return i % stride < mine.size() ? logit(i / stride, mine.begin + i % stride) : 99;
    });
    sw::tensor_view view(local.address(), t.type, {rows, mine.size()});
    view.strides[0] = stride;
    std::vector<gathered_logits::row> whole(rows);
    for (std::size_t i = 0; i < rows * vocabulary; ++i)
      whole[i / vocabulary].push_back(logit(i / vocabulary, i % vocabulary));

    typename std::remove_cvref_t<decltype(p)>::logits_memory memory;
    const std::uint64_t positions[rows] = {3, 4};
    const sw::logits_options options{vocabulary, positions};
    const std::int64_t ids[rows] = {17, 299};
    const sw::sampling all{0.9, 0, 1, 5}, nucleus{8, 0, 0.95, 6};
    std::size_t n = 0;
    const auto check = [&](auto& comm, auto stream) {
      const auto ask = [&](const sw::logits_policy& wanted) -> const sw::logits_answer& {
        return sw::run(step, comm, stream, sw::assume_placed<sw::sharded<-1>>(view), wanted, memory, options);
      };
      const auto expect = [&](const sw::logits_answer& a, std::size_t row, std::size_t i, std::size_t id) {
        n += a.ids[row * a.width + i] != static_cast<std::int64_t>(id);
      };
      const auto& best = ask(sw::logits::top_k(5));
      for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t i = 0; i < 5; ++i) expect(best, r, i, gathered_logits::ranked(whole[r])[i]);
      }
      const auto& likely = ask(sw::logits::log_softmax(ids));
      for (std::size_t r = 0; r < rows; ++r)
        n += likely.values[r] != gathered_logits::log_softmax(whole[r], static_cast<std::size_t>(ids[r]));
      for (const sw::sampling& how : {all, nucleus}) {
        const auto& drawn = ask(sw::logits::sample(how));
        for (std::size_t r = 0; r < rows; ++r)
          expect(drawn, r, 0, gathered_logits::sample(whole[r], how, positions[r]));
      }
    };
    check(p.c, p.stream);
    sw::any_communicator any(p.c);
    check(any, sw::any_stream(p.stream));
    n += sw::run(step, p.c, p.stream, sw::assume_placed<sw::sharded<-1>>(view), sw::logits::gather, memory)
             .whole.tensor()
             .shape != sw::tensor_shape{rows, padded};
    p.fetch(local);
    return n;
  }
};

}  // namespace comm_test

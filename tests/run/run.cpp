// SPDX-License-Identifier: Apache-2.0
// Over ranks, every style's step gives what the unsharded computation gives.
#include "shardwise/run/run.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "shardwise/comm/in_process.hpp"
#include "shardwise/comm/tally.hpp"
#include "shardwise/run/host.hpp"
#include "shardwise/run/product.hpp"
#include "shardwise/shard/shard.hpp"
#include "support.hpp"

namespace sw = shardwise;
using support::columns_of;
using support::local_of;
using support::numbers;
using support::tensor;
using support::times;

namespace {

constexpr sw::host_stream stream;

/// A linear module "m" [out, in] with a bias, cut by one style.
struct linear {
  std::size_t out, in;
  sw::style how;
  tensor x = numbers({3, in}, 1), weight = numbers({out, in}, 2), bias = numbers({out}, 3);

  sw::sharding sharding(int tp) const {
    sw::tree t;
    t.add("m.weight", sw::dtype::f32, weight.shape).add("m.bias", sw::dtype::f32, bias.shape);
    const sw::rule rule("m", how);
    return sw::shard({&rule, 1}, t, {.tp = tp});
  }
  tensor unsharded(bool biased) const {
    tensor y = times(x, weight);
    if (biased) sw::tensor_traits<tensor>::add_to_rows(y, bias, stream);
    return y;
  }
};

struct outcome {
  tensor y;
  sw::placement where;
  std::size_t reduces = 0, gathers = 0, collectives = 0;
};

/// What an engine does with any style: the input that the step asks for, its own product, the step.
outcome engine(const linear& m, const sw::sharding& s, sw::in_process_communicator& ranks, bool biased) {
  sw::tally counts;
  sw::counted comm(ranks, counts);
  const int rank = comm.rank();
  const sw::step step = s.step("m");
  const sw::sharded_parameter& weight = s[s.find("m.weight")];
  // The module before has left the input as this one needs it.
  const auto given = step.input().kind == sw::placement::sharded
                         ? sw::assume_placed(step.input(), columns_of(m.x, step.pieces(rank)))
                         : sw::assume_placed(step.input(), m.x);
  const auto in = sw::input(step, comm, given);
  auto local =
      sw::assume_placed(sw::product(in.where(), weight), times(in.local(), local_of(s, "m.weight", rank, m.weight)));
  const auto bias = sw::assume_placed(s[s.find("m.bias")].where(), local_of(s, "m.bias", rank, m.bias));
  const auto y =
      biased ? sw::run(step, comm, stream, std::move(local), bias) : sw::run(step, comm, stream, std::move(local));
  return {y.local(), y.where(), counts[sw::operation::all_reduce].calls, counts[sw::operation::gather_last_dim].calls,
          counts.total().calls};
}

sw::style hugging_face(sw::style s) {
  s.divided = sw::division::chunk;
  return s;
}

}  // namespace

TEST_CASE("every style of a linear module gives the unsharded output, its bias added once", "[run]") {
  struct row {
    const char* name;
    sw::style how;
    std::size_t reduces, gathers;
  };
  const row rows[] = {{"replicate", sw::replicate, 0, 0},
                      {"colwise", sw::colwise, 0, 0},
                      {"packed_colwise<2>", sw::packed_colwise<2>, 0, 0},
                      {"colwise_gather_output", sw::colwise_gather_output, 0, 1},
                      {"colwise_gather_output of 3 groups", sw::colwise_gather_output.groups(3), 0, 3},
                      {"rowwise", sw::rowwise, 1, 0},
                      {"packed_rowwise<2>", sw::packed_rowwise<2>, 1, 0},
                      {"rowwise_split_input", sw::rowwise_split_input, 1, 0}};
  for (const row& r : rows) {
    for (const int tp : {1, 2, 3, 4, 8}) {
      for (const bool biased : {false, true}) {
        INFO(r.name << ", tp " << tp << ", biased " << biased);
        const linear m{144, 48, r.how};
        const sw::sharding s = m.sharding(tp);
        const auto results = sw::in_process(tp, [&](auto& comm) { return engine(m, s, comm, biased); });
        for (int rank = 0; rank < tp; ++rank) {
          const outcome& o = results[static_cast<std::size_t>(rank)];
          const bool local = r.how.kind == sw::style_kind::colwise;
          CHECK(o.where == (local ? sw::placement{sw::sharded<-1>{}} : sw::placement{sw::replicated{}}));
          const tensor whole = m.unsharded(biased);
          CHECK(o.y == (local ? columns_of(whole, s.step("m").pieces(rank)) : whole));
          CHECK(o.reduces == r.reduces);
          CHECK(o.gathers == r.gathers);
          CHECK(o.collectives == r.reduces + r.gathers);
        }
      }
    }
  }
}

TEST_CASE("pieces of torch.chunk, short and empty ones too, give the unsharded output", "[run]") {
  const sw::style styles[] = {sw::colwise_gather_output, sw::colwise_gather_output.groups(2), sw::rowwise,
                              sw::rowwise_split_input};
  for (const sw::style& how : styles) {
    for (const std::size_t n : std::vector<std::size_t>{10, 8, 7, 3, 1}) {
      for (const int tp : {1, 2, 3, 4, 5, 8}) {
        INFO(how.name() << " of " << int(how.group_count) << " groups, " << n << " over " << tp);
        const linear m{n, n, hugging_face(how)};
        if (sw::fault_of({0, how.group_count, sw::division::chunk, 0}, n, tp) != sw::cut_fault::none) continue;
        const sw::sharding s = m.sharding(tp);
        for (const outcome& o : sw::in_process(tp, [&](auto& comm) { return engine(m, s, comm, false); })) {
          CHECK(o.y == m.unsharded(false));
          CHECK(o.where == sw::placement{sw::replicated{}});
        }
      }
    }
  }
}

TEST_CASE("a bias is cut with torch.chunk's pieces of its columns", "[run]") {
  for (const int tp : {3, 4, 8}) {
    const linear m{10, 6, hugging_face(sw::colwise_gather_output)};
    const sw::sharding s = m.sharding(tp);
    for (const outcome& o : sw::in_process(tp, [&](auto& comm) { return engine(m, s, comm, true); })) {
      CHECK(o.y == m.unsharded(true));
    }
  }
}

TEST_CASE("an embedding cut by rows masks what other ranks hold, and cut by columns gathers", "[run]") {
  const std::vector<std::int64_t> ids = {0, 9, 4, 4, 7, 2, 1};
  const tensor table = numbers({10, 6}, 5);
  tensor expected({ids.size(), 6});
  for (std::size_t t = 0; t < ids.size(); ++t) {
    for (std::size_t c = 0; c < 6; ++c) expected.at(t, c) = table.at(static_cast<std::size_t>(ids[t]), c);
  }
  sw::tree model;
  model.add("embed.weight", sw::dtype::f32, table.shape);
  for (const sw::style& how :
       {sw::style(sw::embedding_rowwise), sw::style(sw::embedding_colwise), sw::style(sw::replicate)}) {
    const sw::rule rule("embed", hugging_face(how));
    for (const int tp : {1, 2, 3, 4, 8}) {
      INFO(how.name() << ", tp " << tp);
      const sw::sharding s = sw::shard({&rule, 1}, model, {.tp = tp});
      const auto results = sw::in_process(tp, [&](auto& comm) {
        const sw::step step = s.step("embed");
        const tensor local = local_of(s, "embed.weight", comm.rank(), table);
        tensor rows({ids.size(), local.columns()});
        sw::masked_lookup(ids, step.rows(comm.rank()), 10, local.view(), rows.view());
        return sw::run(step, comm, stream, sw::assume_placed(sw::lookup(s[0]), rows)).local();
      });
      for (const tensor& y : results) CHECK(y == expected);
    }
  }
}

TEST_CASE("the experts' sum is reduced once, where their weights are cut", "[run]") {
  // Three experts, each down(gate(x) * up(x)): gate|up stacked as [3, 2 * width, hidden], down as [3, hidden, width].
  const std::size_t experts = 3, width = 16, hidden = 4;
  const tensor x = numbers({2, hidden}, 1), gate_up = numbers({experts, 2 * width, hidden}, 2),
               down = numbers({experts, hidden, width}, 3);
  const auto forward = [&](const tensor& gu, const tensor& d) {
    const std::size_t w = d.shape[2];
    tensor y({2, hidden});
    for (std::size_t e = 0; e < experts; ++e) {
      tensor first({2 * w, hidden}), second({hidden, w});
      std::copy_n(gu.data.begin() + static_cast<std::ptrdiff_t>(e * first.data.size()), first.data.size(),
                  first.data.begin());
      std::copy_n(d.data.begin() + static_cast<std::ptrdiff_t>(e * second.data.size()), second.data.size(),
                  second.data.begin());
      const tensor both = times(x, first);
      tensor h({2, w});
      for (std::size_t r = 0; r < 2; ++r) {
        for (std::size_t c = 0; c < w; ++c) h.at(r, c) = both.at(r, c) * both.at(r, w + c);
      }
      y = y + times(h, second);
    }
    return y;
  };
  sw::tree model;
  model.add("experts.gate_up_proj", sw::dtype::f32, gate_up.shape).add("experts.down_proj", sw::dtype::f32, down.shape);
  const auto plan = sw::plan({{"experts.gate_up_proj", sw::packed_colwise<2>},
                              {"experts.down_proj", sw::rowwise},
                              {"experts", sw::moe_tp_experts}});
  for (const int tp : {1, 2, 4, 8}) {
    INFO("tp " << tp);
    const sw::sharding s = sw::shard(plan, model, {.tp = tp});
    const auto results = sw::in_process(tp, [&](auto& comm) {
      const auto p = [&](const char* name) -> const sw::sharded_parameter& { return s[s.find(name)]; };
      const int r = comm.rank();
      const auto placed = sw::product(sw::product(sw::replicated{}, p("experts.gate_up_proj")), p("experts.down_proj"));
      const tensor local =
          forward(local_of(s, "experts.gate_up_proj", r, gate_up), local_of(s, "experts.down_proj", r, down));
      return sw::run(s.step("experts"), comm, stream, sw::assume_placed(placed, local)).local();
    });
    for (const tensor& y : results) CHECK(y == forward(gate_up, down));
  }
}

TEST_CASE("two partial sums are added and reduced once, and a whole bias of either is refused", "[run]") {
  // down(x) + down2(x), as routed experts and a shared one.
  const tensor x = numbers({2, 24}, 1), first = numbers({5, 24}, 2), second = numbers({5, 24}, 3);
  sw::tree model;
  model.add("mlp.experts.down_proj", sw::dtype::f32, first.shape);
  model.add("mlp.shared_expert.down_proj.weight", sw::dtype::f32, second.shape);
  constexpr auto plan = sw::plan({{"mlp.experts.down_proj", sw::rowwise},
                                  {"mlp.experts", sw::partial_output},
                                  {"mlp.shared_expert.down_proj", sw::rowwise_partial_output},
                                  {"mlp", sw::all_reduce}});
  for (const int tp : {1, 2, 3, 4, 8}) {
    const sw::sharding s = sw::shard(plan, model, {.tp = tp});
    const auto results = sw::in_process(tp, [&](auto& ranks) {
      sw::tally counts;
      sw::counted comm(ranks, counts);
      const int rank = comm.rank();
      const auto of = [&](const char* module, const char* name, const tensor& weight) {
        const sw::sharded_parameter& p = s[s.find(name)];
        const sw::interval mine = sw::pieces_of(p.how, 24, tp, rank).at[0];
        sw::intervals columns;
        columns.push(mine);
        const auto in = sw::assume_placed(sw::placement(sw::sharded<-1>{}), columns_of(x, columns));
        return sw::run(
            s.step(module), comm, stream,
            sw::assume_placed(sw::product(in.where(), p), times(in.local(), local_of(s, name, rank, weight))));
      };
      const auto routed = of("mlp.experts", "mlp.experts.down_proj", first);
      const auto shared = of("mlp.shared_expert.down_proj", "mlp.shared_expert.down_proj.weight", second);
      const std::string refused = support::refusal<sw::placement_error>([&] {
        (void)sw::run(s.step("mlp.shared_expert.down_proj"), comm, stream, shared,
                      sw::assume_placed(sw::placement(sw::replicated{}), numbers({5}, 4)));
      });
      const auto y = sw::run(s.step("mlp"), comm, stream, routed + shared);
      return std::tuple(y.local(), counts.total().calls, refused);
    });
    for (const auto& [y, calls, refused] : results) {
      CHECK(y == times(x, first) + times(x, second));
      CHECK(calls == 1);
      CHECK(refused.starts_with("the bias of 'mlp.shared_expert.down_proj' is "));
    }
  }
}

TEST_CASE("all_reduce and local_params do what their names say, and an unruled module nothing", "[run]") {
  sw::tree model;
  model.add("sum.inner.weight", sw::dtype::f32, {4, 4}).add("local.weight", sw::dtype::f32, {4, 4});
  const auto plan = sw::plan({{"**", sw::replicate}, {"sum", sw::all_reduce}, {"local", sw::local_params}});
  for (const int tp : {1, 2, 3, 4, 8}) {
    const sw::sharding s = sw::shard(plan, model, {.tp = tp});
    tensor sum({2, 3});
    for (int r = 0; r < tp; ++r) sum = sum + numbers({2, 3}, static_cast<unsigned>(r));
    const auto results = sw::in_process(tp, [&](auto& comm) {
      const tensor mine = numbers({2, 3}, static_cast<unsigned>(comm.rank()));
      sw::tally counts;
      sw::counted counting(comm, counts);
      const auto reduced = sw::run(s.step("sum"), counting, stream, sw::assume_placed(sw::partial<>{}, mine));
      const auto local = sw::run(s.step("local"), counting, stream, sw::assume_placed(sw::replicated{}, mine));
      const auto same = sw::run(s.step("sum.inner"), counting, stream, sw::assume_placed(sw::replicated{}, mine));
      return std::pair(reduced.local(), counts.total().calls == 1 && local.local() == mine && same.local() == mine);
    });
    for (const auto& [y, rest] : results) {
      CHECK(y == sum);
      CHECK(rest);
    }
  }
}

namespace {
template <auto Style>
void check_style_of_compile_time() {
  for (const int tp : {1, 2, 4, 8}) {
    const linear m{144, 48, Style};
    const sw::sharding s = m.sharding(tp);
    INFO(s.step("m").how.name() << " of " << int(s.step("m").how.group_count) << " groups, tp " << tp);
    const auto results = sw::in_process(tp, [&](auto& comm) {
      using traits = decltype(sw::detail::traits_of(Style));
      const sw::step step = s.step("m");
      const int rank = comm.rank();
      const tensor weight = local_of(s, "m.weight", rank, m.weight), bias = local_of(s, "m.bias", rank, m.bias);
      const tensor given =
          std::is_same_v<typename traits::input, sw::sharded<-1>> ? columns_of(m.x, step.pieces(rank)) : m.x;
      const auto product = [&](const tensor& in) { return times(in, weight); };
      const auto plain = sw::run<Style>(comm, stream, sw::assume_placed<typename traits::input>(given), product);
      static_assert(std::is_same_v<std::remove_cvref_t<decltype(plain)>, sw::placed<tensor, typename traits::output>>);
      static_assert(sizeof(plain) == sizeof(tensor));
      const tensor in = step.splits_input() ? columns_of(m.x, step.pieces(rank)) : given;
      const auto biased = sw::run<Style>(comm, stream, sw::assume_placed<typename traits::local>(product(in)),
                                         sw::assume_placed<typename traits::bias>(bias));
      return std::pair(plain.local(), biased.local());
    });
    for (const bool biased : {false, true}) {
      const auto expected = sw::in_process(tp, [&](auto& comm) { return engine(m, s, comm, biased).y; });
      for (std::size_t r = 0; r < results.size(); ++r) {
        CHECK((biased ? results[r].second : results[r].first) == expected[r]);
      }
    }
  }
}
}  // namespace

TEST_CASE("a style known at compile time gives what its step gives", "[run]") {
  check_style_of_compile_time<sw::replicate>();
  check_style_of_compile_time<sw::colwise>();
  check_style_of_compile_time<sw::packed_colwise<2>>();
  check_style_of_compile_time<sw::colwise_gather_output>();
  check_style_of_compile_time<sw::rowwise>();
  check_style_of_compile_time<sw::packed_rowwise<2>>();
  check_style_of_compile_time<sw::rowwise_split_input>();
}

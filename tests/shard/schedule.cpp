// SPDX-License-Identifier: Apache-2.0
#include "shardwise/shard/schedule.hpp"

#include <string>
#include <vector>

#include "catch.hpp"
#include "shardwise/shard/manifest.hpp"
#include "shardwise/shard/shard.hpp"

namespace sw = shardwise;

namespace {

using lines = std::vector<std::string>;

template <class... Parts>
std::string text(const Parts&... parts) {
  return sw::error(std::string_view(), parts...).what();
}

lines lines_of(const sw::schedule& s) {
  lines all;
  for (const sw::schedule_entry& e : s) {
    all.push_back(text(sw::name_of(e.op), ' ', e.count, ' ', sw::name_of(e.type), ' ', e.module));
  }
  return all;
}

lines lines_of(const sw::manifest& m) {
  lines all;
  for (std::size_t i = 0; i < m.size(); ++i) {
    sw::error line;
    m.append_line(i, line);
    all.push_back(line.what());
  }
  return all;
}

/// A decoder of one layer, vocabulary 96, hidden 16, with an MLP of width 24 and experts of width 12.
sw::tree decoder() {
  sw::tree t;
  t.add("embed.weight", sw::dtype::bf16, {96, 16});
  t.add("layers.0.attn.qkv.weight", sw::dtype::bf16, {48, 16});
  t.add("layers.0.attn.out.weight", sw::dtype::bf16, {16, 20}).add("layers.0.attn.out.bias", sw::dtype::bf16, {16});
  t.add("layers.0.moe.experts.gate_up", sw::dtype::bf16, {4, 24, 16});
  t.add("layers.0.moe.experts.down", sw::dtype::f16, {4, 16, 12});
  t.add("layers.0.moe.shared.up.weight", sw::dtype::bf16, {8, 16});
  t.add("layers.0.moe.shared.down.weight", sw::dtype::f16, {16, 8});
  t.add("norm.weight", sw::dtype::bf16, {16});
  t.add("head.weight", sw::dtype::f8_e4m3, {96, 16});
  return t;
}

}  // namespace

TEST_CASE("the schedule has each module's collective, its elements for a token and its dtype", "[shard]") {
  static constexpr auto plan = sw::plan({{"embed", sw::embedding_rowwise},
                                         {"layers.*.attn.qkv", sw::packed_colwise<3>},
                                         {"layers.*.attn.out", sw::rowwise},
                                         {"layers.*.moe.experts", sw::moe_tp_experts},
                                         {"layers.*.moe.experts.gate_up", sw::packed_colwise<2>},
                                         {"layers.*.moe.experts.down", sw::rowwise},
                                         {"layers.*.moe.shared.up", sw::colwise},
                                         {"layers.*.moe.shared.down", sw::rowwise},
                                         {"norm", sw::replicate},
                                         {"head", sw::colwise_gather_output}});
  const sw::sharding s = sw::shard(plan, decoder(), {.tp = 4});
  const sw::schedule c = sw::schedule_of(s);
  CHECK(lines_of(c) == lines{"all_reduce 16 BF16 embed", "all_reduce 16 BF16 layers.0.attn.out",
                             "all_reduce 16 F16 layers.0.moe.experts", "all_reduce 16 F16 layers.0.moe.shared.down",
                             "gather_last_dim 96 F8_E4M3 head"});
  CHECK(lines_of(sw::schedule_of(s, sw::dtype::f32)) ==
        lines{"all_reduce 16 F32 embed", "all_reduce 16 F32 layers.0.attn.out",
              "all_reduce 16 F32 layers.0.moe.experts", "all_reduce 16 F32 layers.0.moe.shared.down",
              "gather_last_dim 96 F32 head"});
  // A stage has only its own.
  const sw::sharding stage = sw::shard(plan, decoder(), {.tp = 4, .only = "layers.** norm.**"});
  CHECK(sw::schedule_of(stage).size() == 3);
  // What is whole needs none.
  CHECK(sw::schedule_of(sw::shard(sw::plan({{"**.*", sw::replicate}}), decoder(), {.tp = 4})).size() == 0);
}

TEST_CASE("one reduce for a whole block counts the sums below it that nobody else reduces", "[shard]") {
  static constexpr auto plan = sw::plan({{"embed", sw::embedding_colwise},
                                         {"layers.*.attn.qkv", sw::colwise_gather_output.groups(3)},
                                         {"layers.*.attn.out", sw::rowwise_split_input},
                                         {"layers.*.moe", sw::all_reduce},
                                         {"layers.*.moe.experts.gate_up", sw::packed_colwise<2>},
                                         {"layers.*.moe.experts.down", sw::rowwise},
                                         {"layers.*.moe.shared.up", sw::colwise},
                                         {"layers.*.moe.shared.down.weight", sw::rowwise},
                                         {"norm", sw::replicate},
                                         {"head", sw::replicate}});
  // The block comes after all that is in it, and groups are gathered one by one.
  CHECK(lines_of(sw::schedule_of(sw::shard(plan, decoder(), {.tp = 4}))) ==
        lines{"gather_last_dim 16 BF16 embed", "gather_last_dim 16 BF16 layers.0.attn.qkv",
              "gather_last_dim 16 BF16 layers.0.attn.qkv", "gather_last_dim 16 BF16 layers.0.attn.qkv",
              "all_reduce 16 BF16 layers.0.attn.out", "all_reduce 16 F16 layers.0.moe"});
  // Sums of different sizes below one reduce: the plan does not say which it is.
  sw::tree t;
  t.add("block.a.weight", sw::dtype::f32, {16, 8}).add("block.b.weight", sw::dtype::f32, {12, 8});
  const auto two = sw::plan({{"block", sw::all_reduce}, {"block.*.weight", sw::rowwise}});
  CHECK(lines_of(sw::schedule_of(sw::shard(two, t, {.tp = 4}))) == lines{"all_reduce 0 F32 block"});
  // One that its own module reduces is no matter of the block's.
  const auto one = sw::plan({{"block", sw::all_reduce}, {"block.a", sw::rowwise}, {"block.b.weight", sw::rowwise}});
  CHECK(lines_of(sw::schedule_of(sw::shard(one, t, {.tp = 4}))) ==
        lines{"all_reduce 16 F32 block.a", "all_reduce 12 F32 block"});
}

TEST_CASE("a norm over features that the ranks share sums one number, and biases beside experts sum none", "[shard]") {
  static constexpr auto plan = sw::plan({{"attn.q_norm", sw::all_reduce},
                                         {"attn.q_norm.weight", sw::colwise},
                                         {"attn.out", sw::rowwise},
                                         {"mlp", sw::all_reduce},
                                         {"mlp.experts", sw::partial_output},
                                         {"mlp.experts.{gate_up,gate_up_bias}", sw::rowwise.tiles(2)},
                                         {"mlp.experts.down", sw::colwise},
                                         {"mlp.experts.down_bias", sw::rowwise}});
  sw::tree t;
  t.add("attn.q_norm.weight", sw::dtype::f32, {24}).add("attn.out.weight", sw::dtype::f32, {16, 24});
  t.add("mlp.experts.gate_up", sw::dtype::f32, {4, 16, 24}).add("mlp.experts.gate_up_bias", sw::dtype::f32, {4, 24});
  t.add("mlp.experts.down", sw::dtype::f32, {4, 12, 16}).add("mlp.experts.down_bias", sw::dtype::f32, {4, 16});
  CHECK(lines_of(sw::schedule_of(sw::shard(plan, t, {.tp = 4}))) ==
        lines{"all_reduce 1 F32 attn.q_norm", "all_reduce 16 F32 attn.out", "all_reduce 16 F32 mlp"});
}

TEST_CASE("a tied head is gathered under its own name, uneven columns included", "[shard]") {
  sw::tree t;
  t.add("embed.weight", sw::dtype::f32, {95, 16}).tie("embed.weight", "head.weight");
  sw::rule rows[] = {sw::rule("embed", sw::embedding_rowwise, sw::dialect::hugging_face),
                     sw::rule("head", sw::colwise_gather_output, sw::dialect::hugging_face)};
  CHECK(lines_of(sw::schedule_of(sw::shard({rows, 2}, t, {.tp = 4}))) ==
        lines{"all_reduce 16 F32 embed", "gather_last_dim 95 F32 head"});
}

TEST_CASE("the fingerprint is FNV-1a of 128 bits", "[shard]") {
  const auto of = [](std::string_view text) {
    sw::fingerprint f;
    f.append(text);
    return f;
  };
  // The offset basis, and published values.
  static_assert(sw::fingerprint().high() == 0x6c62272e07bb0142 && sw::fingerprint().low() == 0x62b821756295c58d);
  CHECK(of("a").high() == 0xd228cb696f1a8caf);
  CHECK(of("a").low() == 0x78912b704e4a8964);
  CHECK(of("foobar").high() == 0x343e1662793c64bf);
  CHECK(of("foobar").low() == 0x6f0d3597ba446f18);
  CHECK(of("\xff").low() == of(std::string(1, static_cast<char>(255))).low());
  sw::fingerprint number;
  number.append(18446744073709551615u);
  number.append(0u);
  CHECK(number == of("184467440737095516150"));
}

TEST_CASE("a manifest is the version, the ranks, the rules, the parameters and the schedule, a line each", "[shard]") {
  sw::tree t;
  t.add("up.weight", sw::dtype::f32, {12, 4}).add("up.bias", sw::dtype::f32, {12});
  t.add("down.weight", sw::dtype::bf16, {4, 12}).config("", "heads", 6);
  static constexpr auto plan = sw::plan({{"up", sw::colwise.groups(2)}}).with({{"down", sw::rowwise.units("heads")}});
  const sw::sharding s = sw::shard(plan, t, {.tp = 2});
  const sw::schedule c = sw::schedule_of(s);
  const sw::manifest m(s, c, {{1, 2, 30}});
  const lines expected{"shardwise 1.2.30",
                       "tp 2",
                       "rule 0: 'up' packed_colwise of 2 groups",
                       "rule 1: 'down' rowwise in units of heads, override 1",
                       "parameter 0: 'up.weight' F32 [12, 4], cut on dim 0 in 2 groups",
                       "parameter 1: 'up.bias' F32 [12], cut on dim 0 in 2 groups",
                       "parameter 2: 'down.weight' BF16 [4, 12], cut on dim 1 of 6 units",
                       "entry 0: all_reduce of 4 BF16 after 'down'"};
  CHECK(lines_of(m) == expected);
  sw::fingerprint whole, line;
  for (const std::string& l : expected) whole.append(l + "\n");
  line.append(expected[3]);
  CHECK(m.of_all() == whole);
  CHECK(m.of_line(3) == line);

  sw::tree uneven;
  uneven.add("up.weight", sw::dtype::f32, {7, 4}).add("norm.weight", sw::dtype::f32, {4});
  sw::rule row("up", sw::colwise, sw::dialect::hugging_face);
  const sw::sharding imported = sw::shard({&row, 1}, uneven, {.tp = 2});
  const sw::schedule none = sw::schedule_of(imported);
  const lines theirs = lines_of(sw::manifest(imported, none));
  CHECK(theirs[2] == "rule 0: 'up' colwise, as torch.chunk deals, as Hugging Face matches");
  CHECK(theirs[3] == "parameter 0: 'up.weight' F32 [7, 4], cut on dim 0, as torch.chunk deals");
  CHECK(theirs[4] == "parameter 1: 'norm.weight' F32 [4], whole");
}

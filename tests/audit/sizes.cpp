// SPDX-License-Identifier: Apache-2.0
#include "shardwise/audit/sizes.hpp"

#include <simdjson.h>

#include <string>

#include "audit/small_model.hpp"
#include "catch.hpp"
#include "shardwise/plan/import.hpp"
#include "shardwise/shard/schedule.hpp"
#include "shardwise/shard/shard.hpp"

namespace sw = shardwise;

TEST_CASE("the table of sizes has the bytes and collectives that one reckons by hand", "[audit]") {
  const sw::tree t = small_model();
  const sw::size_table table = sw::sizes(small_plan, t, {.context = 10, .batch = 3});
  REQUIRE(table.rows.size() == 64);
  CHECK(table.model_bytes == 2 * 1240);

  const sw::size_row& one = table.rows[0];
  CHECK(one.legal);
  CHECK(one.weights == 2 * 1240);
  CHECK(one.cache == (4 + 4) * 2 * 10 * 3 * 2);  // features, layers, tokens, sequences, bytes
  CHECK(one.logits == 16 * 3 * 4);
  CHECK(one.collectives == 0);
  CHECK(one.sent == 0);

  const sw::size_row& two = table.rows[1];
  CHECK(two.legal);
  CHECK(two.weights == 2 * (1216 / 2 + 24));
  CHECK(two.cache == one.cache / 2);
  CHECK(two.logits == one.logits);
  CHECK(two.collectives == 6);  // the embedding, o_proj and down_proj of two layers, the head
  CHECK(two.payload == 2 * (5 * 8 + 16));
  CHECK(two.sent == 2 * (5 * 8) + 2 * 16 / 2);  // an all-reduce of two sends half of it twice
  CHECK(two.total() == two.weights + two.cache + two.logits);
}

TEST_CASE("the table of sizes says of what shard refuses what shard says, and of nothing else", "[audit]") {
  const sw::tree t = small_model();
  const sw::size_table table = sw::sizes(small_plan, t);
  for (const sw::size_row& r : table.rows) {
    CAPTURE(r.tp, r.reason);
    std::string refused;
    try {
      const sw::sharding s = sw::shard(small_plan, t, {.tp = r.tp});
      CHECK(s.bytes(0) == r.weights);
      std::size_t elements = 0;
      for (const sw::schedule_entry& e : sw::schedule_of(s)) elements += e.count;
      CHECK((r.tp == 1 || r.payload == 2 * elements));
    } catch (const sw::shard_error& e) {
      refused = e.what();
    }
    CHECK(r.legal == refused.empty());
    CHECK(refused.find(r.reason.substr(0, r.reason.find('('))) != std::string::npos);
  }
  CHECK(table.rows[3].reason ==
        "2 key/value heads over 4 ranks (num_key_value_heads, layers.*.self_attn.k_proj.weight)");
  CHECK(table.rows[2].reason == "16 elements over 3 ranks (embed_tokens.weight)");
}

TEST_CASE("a plan that is refused whatever the number of ranks is legal at no size", "[audit]") {
  const sw::tree t = small_model();
  struct row {
    const char *pattern, *reason;
    sw::style how;
  };
  const row rows[] = {
      {"{norm,lm_head}", "two rules are equally specific for 'norm.weight'", sw::replicate},
      {"lm_head.weight", "'lm_head.weight' is cut unlike its module", sw::rowwise},
      {"norm.weight", "'norm.weight' has 1 dim, and embedding_colwise cuts dim 1", sw::embedding_colwise},
      {"lm_head.weight", "no number of that name", sw::colwise.units("words")}};
  for (const row& r : rows) {
    auto plan = small_plan + sw::plan({{r.pattern, r.how}});
    const sw::size_table table = sw::sizes(plan, t);
    for (const sw::size_row& size : table.rows) {
      CHECK(!size.legal);
      CHECK_THAT(size.reason, Catch::Contains(r.reason));
    }
  }
  sw::tree tied;
  tied.add("embed.weight", sw::dtype::f32, {4, 2}).tie("embed.weight", "lm_head.weight");
  const auto unlike = sw::plan({{"embed", sw::embedding_colwise}, {"lm_head", sw::colwise_gather_output}});
  CHECK_THAT(sw::sizes(unlike, tied).rows[0].reason, Catch::Contains("tied"));
}

TEST_CASE("torch.chunk's uneven pieces are legal, and the table gives the largest rank's bytes", "[audit]") {
  sw::imported_plan plan;
  plan.add("lm_head", "colwise");
  const sw::tree t = small_model();
  const sw::size_row r = sw::sizes(plan, t).rows[2];
  CHECK(r.legal);
  CHECK(r.uneven);
  CHECK(r.weights == 2 * (1240 - 128 + 6 * 8));  // of 16 rows 6, 6 and 4
  CHECK(r.logits == 6 * 4);                      // nobody gathers them
  CHECK(r.collectives == 0);
}

TEST_CASE("heads that a plan does not speak of are not cut in two", "[audit]") {
  sw::imported_plan plan;
  plan.add("layers.*.self_attn.q_proj", "colwise").add("layers.*.self_attn.k_proj", "colwise");
  const sw::tree t = small_model();
  const sw::size_table table = sw::sizes(plan, t);
  CHECK(table.rows[1].legal);
  CHECK(table.rows[2].reason == "4 heads over 3 ranks (num_attention_heads, layers.*.self_attn.q_proj.weight)");
  CHECK(table.rows[3].reason ==
        "2 key/value heads over 4 ranks (num_key_value_heads, layers.*.self_attn.k_proj.weight)");
  sw::imported_plan gathered;  // the engine sees whole heads again
  gathered.add("layers.*.self_attn.k_proj", "colwise_gather_output");
  CHECK(sw::sizes(gathered, t).rows[2].legal);
}

TEST_CASE("what is kept between tokens follows the projections, the windows and the config", "[audit]") {
  const sw::dtype b = sw::dtype::bf16;
  const auto cache = [](const sw::tree& t, sw::plan_view plan, int tp, std::vector<std::string> types = {}) {
    return sw::sizes(plan, t, {.context = 100, .batch = 1, .layer_types = types})
        .rows[static_cast<std::size_t>(tp - 1)]
        .cache;
  };
  const auto none = sw::plan({{"**", sw::replicate}});

  sw::tree latent;  // 4 + 2 features of a latent, whole on every rank
  latent.add("layers.0.self_attn.kv_a_proj_with_mqa.weight", b, {6, 8});
  latent.add("layers.0.self_attn.kv_b_proj.weight", b, {64, 4});
  const auto mla = sw::plan({{"**.kv_a_proj_with_mqa", sw::mla_kv_a_proj}, {"**.kv_b_proj", sw::colwise}});
  CHECK(cache(latent, mla, 1) == 6 * 100 * 2);
  CHECK(cache(latent, mla, 8) == 6 * 100 * 2);

  sw::tree fused;  // 4 heads of 2; 2 of keys and values
  fused.add("h.0.attn.qkv_proj.weight", b, {16, 8}).config("", "num_attention_heads", 4);
  fused.config("", "num_key_value_heads", 2).config("", "hidden_size", 8);
  const auto cut = sw::plan({{"**.qkv_proj", sw::colwise}}),
             gathered = sw::plan({{"**.qkv_proj", sw::colwise_gather_output}});
  CHECK(cache(fused, cut, 1) == 2 * 2 * 2 * 100 * 2);
  CHECK(cache(fused, cut, 2) == 2 * 2 * 2 * 100 * 2 / 2);
  CHECK(cache(fused, gathered, 2) == 2 * 2 * 2 * 100 * 2);

  sw::tree sliding = small_model();
  sliding.config("", "sliding_window", 7);
  CHECK(cache(sliding, small_plan, 1) == 8 * (100 + 100) * 2);
  CHECK(cache(sliding, small_plan, 2, {"sliding_attention", "full_attention"}) == 4 * (7 + 100) * 2);

  sw::tree linear;  // 6 heads with a state of 3 x 5, F32; a convolution over 10 channels and 4 tokens
  linear.add("layers.0.linear_attn.A_log", b, {6}).add("layers.0.linear_attn.conv1d.weight", b, {10, 1, 4});
  linear.config("", "linear_key_head_dim", 3).config("", "linear_value_head_dim", 5);
  CHECK(cache(linear, none, 2) == 6 * 3 * 5 * 4 + 10 * 4 * 2);

  sw::tree tower;
  tower.add("vision_tower.layers.0.self_attn.k_proj.weight", b, {4, 4});
  CHECK(cache(tower, none, 1) == 0);
}

TEST_CASE("layers are folded only where rule and shape are the same", "[audit]") {
  sw::tree t;
  t.add("layers.0.down.weight", sw::dtype::f32, {6, 4}).add("layers.1.down.weight", sw::dtype::f32, {6, 4});
  const auto one_layer = sw::plan({{"layers.0.down", sw::rowwise}, {"layers.1.down", sw::replicate}});
  CHECK(sw::sizes(one_layer, t).rows[1].weights == 4 * (12 + 24));
  CHECK(sw::sizes(one_layer, t).rows[1].collectives == 1);
  t.add("layers.2.down.weight", sw::dtype::f32, {6, 8});
  const auto all = sw::plan({{"layers.*.down", sw::rowwise}});
  CHECK(sw::sizes(all, t).rows[1].weights == 4 * (12 + 12 + 24));
  CHECK(sw::sizes(all, t).rows[1].payload == 2 * 3 * 6);
}

TEST_CASE("the table of sizes is printed for a reader and for a program", "[audit]") {
  const sw::size_table table = sw::sizes(small_plan, small_model(), {.context = 10, .batch = 3, .up_to = 4});
  const std::string text = text_of(table);
  CAPTURE(text);
  CHECK_THAT(text, Catch::StartsWith("context 10, batch 3, 2.48 kB of weights; bytes of the rank that holds most\n"
                                     "tp  weights  cache  logits  per rank  collectives  sent per token\n"
                                     " 1  2.48 kB  960 B   192 B   3.63 kB            0             0 B\n"
                                     " 2  1.26 kB  480 B   192 B   1.94 kB            6            96 B\n"
                                     "not at 3: 16 elements (embed_tokens.weight)\n"
                                     "not at 4: 2 key/value heads (num_key_value_heads, "
                                     "layers.*.self_attn.k_proj.weight)\n"));
  sw::imported_plan uneven;
  uneven.add("layers.*.mlp.down_proj", "rowwise");  // 12 over 8
  CHECK_THAT(text_of(sw::sizes(uneven, small_model(), {.up_to = 8})),
             Catch::Contains("  uneven\nuneven 5, 7, 8: legal, and some ranks get less than others\n"));
  simdjson::dom::parser parser;
  const std::string json = to_json(table);
  const simdjson::dom::element e = parser.parse(json);
  CHECK(std::uint64_t(e["batch"]) == 3);
  CHECK(std::uint64_t(e["sizes"].at(1)["weights"]) == 1264);
  CHECK(std::uint64_t(e["sizes"].at(1)["sent_bytes_per_token"]) == 96);
  CHECK(std::string_view(e["sizes"].at(3)["reason"]) == table.rows[3].reason);
  CHECK(json == to_json(sw::sizes(small_plan, small_model(), {.context = 10, .batch = 3, .up_to = 4})));
}

// SPDX-License-Identifier: Apache-2.0
// Tensor parallel groups beside pipeline stages and data parallel replicas: the same logits.
#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "json.hpp"
#include "opened.hpp"
#include "shardwise/comm.hpp"
#include "text_model.hpp"

namespace {
using namespace program;
namespace sw = shardwise;
using generate::pipeline_stage;
using generate::tensor;

/// The parameters of a stage, for `only`.
std::string parts_of(const generate::text_config& t, const pipeline_stage& stage) {
  std::string parts;
  if (stage.is_first()) parts += t.prefix + ".embed_tokens.** ";
  const sw::interval layers = stage.layers_of(t);
  for (std::size_t i = layers.begin; i < layers.end; ++i) parts += t.prefix + ".layers." + std::to_string(i) + ".** ";
  if (stage.is_last()) parts += t.prefix + ".norm.** lm_head.**";
  return parts;
}

/// Rows [begin, end) of the batch.
generate::prompt rows_of(const generate::prompt& p, const sw::interval& rows) {
  const auto part = [&](const auto& all) {
    const auto at = [&](std::size_t row) { return all.begin() + static_cast<std::ptrdiff_t>(row * p.tokens); };
    return std::vector<std::int64_t>(at(rows.begin), at(rows.end));
  };
  generate::prompt r;
  r.batch = rows.size();
  r.tokens = p.tokens;
  r.ids = part(p.ids);
  for (std::size_t axis = 0; axis < 3; ++axis) r.at.axis[axis] = part(p.at.axis[axis]);
  r.deltas.assign(p.deltas.begin() + static_cast<std::ptrdiff_t>(rows.begin),
                  p.deltas.begin() + static_cast<std::ptrdiff_t>(rows.end));
  return r;
}

/// What a rank held, and what it answered of the whole batch.
struct answer {
  std::size_t held = 0;
  std::vector<float> logits;         // of the prompt
  std::vector<std::int64_t> tokens;  // new ones of the first row
  sw::tally within_tp;
};

/// One rank of dp x pp x tp. Stages hand the hidden states on by broadcast, replicas take their part of the batch.
template <class Source>
class rank_of_groups {
 public:
  rank_of_groups(sw::in_process_communicator& world, const sw::group_sizes& sizes, const Source& source,
                 const generate::model_config& config, const sw::sharding& sharding)
      : groups_(sw::groups(world, sizes)),
        counted_(groups_.tp, counts_),
        comm_(counted_),
        text_(config.text),
        stage_{groups_.at.pp, sizes.pp},
        weights_(sharding, comm_.rank()),
        model_({sharding, comm_, weights_}, text_, stage_) {
    sw::communicator_rendezvous meeting(groups_.tp);
    sw::require_same_schedule(meeting, sharding);
    weights_.refuse_unused();
    weights_.load(source);
  }

  answer run(const generate::prompt& whole, std::size_t new_tokens) {
    const auto p = rows_of(whole, sw::chunk(whole.batch, groups_.dp.size(), groups_.dp.rank()));
    generate::memory past;
    past.batch = p.batch;
    past.capacity = p.tokens + new_tokens;
    answer a;
    a.held = weights_.bytes();
    tensor logits = forward(p.ids, p.at, past);
    // Every replica has as many rows.
    a.logits.resize(logits.elements() * static_cast<std::size_t>(groups_.dp.size()));
    groups_.dp.all_gather(logits.data(), a.logits.data(), logits.elements(), sw::dtype::f32, {});
    for (std::size_t i = 0; i < new_tokens; ++i) {
      const std::size_t rows_apart = logits.rows() / p.batch;
      std::vector<std::int64_t> next(p.batch);
      generate::positions at;
      for (std::size_t b = 0; b < p.batch; ++b) {
        const float* row = logits.row((b + 1) * rows_apart - 1);
        next[b] = std::max_element(row, row + logits.columns()) - row;
        const std::int64_t place = static_cast<std::int64_t>(past.length) + p.deltas[b];
        at.push(place, place, place);
      }
      a.tokens.push_back(next[0]);
      if (i + 1 < new_tokens) logits = forward(next, at, past);
    }
    a.within_tp = counts_;
    return a;
  }

 private:
  // From ids to logits, which every stage has in the end.
  tensor forward(std::span<const std::int64_t> ids, const generate::positions& at, generate::memory& past) {
    tensor x({ids.size(), text_.hidden}), logits({ids.size(), text_.vocabulary});
    for (int s = 0; s < stage_.count; ++s) {
      if (s == stage_.index) {
        const auto in = stage_.is_first() ? model_.embed(ids) : sw::assume_placed(sw::replicated{}, std::move(x));
        const auto out = model_.through_layers(in, at, past);
        if (stage_.is_last()) logits = model_.logits(out);
        x = sw::expect_replicated(out, "the stage").local();
      }
      hand_on(x, s);
    }
    hand_on(logits, stage_.count - 1);
    return logits;
  }
  void hand_on(const tensor& x, int from) { groups_.pp.broadcast(x.data(), x.elements(), sw::dtype::f32, from, {}); }

  sw::rank_groups<sw::in_process_communicator> groups_;
  sw::tally counts_;
  sw::counted<sw::in_process_communicator&> counted_;
  sw::any_communicator comm_;
  const generate::text_config& text_;
  pipeline_stage stage_;
  generate::weights weights_;
  generate::text_model model_;
};

void check(const std::string& folder, const sw::group_sizes& sizes, const char* inputs, std::size_t new_tokens) {
  INFO(folder << ", dp " << sizes.dp << " pp " << sizes.pp << " tp " << sizes.tp);
  const golden_model& g = golden_of(folder);
  const opened_golden model(folder);
  const generate::model_config& config = model.config;
  const auto plan = generate::choose_plan("auto", model.files.config());
  const auto prompt = model.prompt_of(golden(folder + "/" + inputs));

  std::vector<sw::sharding> stages;
  for (int i = 0; i < sizes.pp; ++i) {
    const std::string parts = parts_of(config.text, {i, sizes.pp});
    stages.push_back(
        sw::shard(plan.rules, model.tree, {.tp = sizes.tp, .only = parts, .layout = generate::engine_layout}));
  }
  const auto answers = sw::in_process(sizes.dp * sizes.pp * sizes.tp, [&](sw::in_process_communicator& world) {
    const int stage = sw::ranks_in_groups(sizes, world.rank()).pp;
    return rank_of_groups(world, sizes, model.source, config, stages[static_cast<std::size_t>(stage)])
        .run(prompt, new_tokens);
  });

  if (new_tokens == 0) {
    sw::tensor_shape shape;
    const auto expected = floats(golden(folder + "/expected.safetensors"), "logits", shape);
    for (const answer& a : answers) {
      REQUIRE(a.logits.size() == expected.size());
      float largest = 0;
      for (std::size_t i = 0; i < expected.size(); ++i) {
        const float d = std::abs(a.logits[i] - expected[i]);
        largest = d > largest || std::isnan(d) ? d : largest;
      }
      CHECK(static_cast<double>(largest) <= g.tolerance);
    }
  } else {
    for (const answer& a : answers) {
      std::string line;
      for (const std::int64_t id : a.tokens) line += (line.empty() ? "tokens: " : ",") + std::to_string(id);
      CHECK(line + "\n" == tokens_line(golden(folder + "/" + inputs)));
    }
  }

  // A rank holds its stage's part alone, and its collectives are those of the stage's schedule.
  for (std::size_t r = 0; r < answers.size(); ++r) {
    const auto at = sw::ranks_in_groups(sizes, static_cast<int>(r));
    const sw::sharding& stage = stages[static_cast<std::size_t>(at.pp)];
    std::size_t held = 0;
    for (std::size_t i = 0; i < stage.size(); ++i) held += stage.local_shape(i, at.tp).elements() * sizeof(float);
    CHECK(answers[r].held == held);
    const std::size_t steps = new_tokens == 0 ? 1 : new_tokens;  // the prompt, and each new token but the last
    CHECK(answers[r].within_tp.total().calls == steps * sw::schedule_of(stage).size());
  }
}

}  // namespace

TEST_CASE("tp 2 x pp 2 and tp 2 x dp 2, from groups and only, give llama's logits", "[examples]") {
  check("llama", {.pp = 2, .tp = 2}, "inputs.json", 0);
  check("llama", {.dp = 2, .tp = 2}, "inputs.json", 0);
  check("llama", {.dp = 2, .pp = 2, .tp = 2}, "inputs.json", 0);
  check("llama", {.pp = 3, .tp = 2}, "inputs.json", 0);
  check("llama", {.pp = 2, .tp = 1}, "inputs.json", 0);
}

TEST_CASE("stages whose last one holds a tied head, and stages of experts, give their models' logits", "[examples]") {
  check("llama_tied", {.pp = 2, .tp = 2}, "inputs.json", 0);
  check("qwen3_5_moe", {.pp = 2, .tp = 2}, "inputs.json", 0);
}

TEST_CASE("stages remember their own tokens: llama's greedy tokens", "[examples]") {
  const std::string line = tokens_line(golden("llama/greedy.json"));
  const auto tokens = static_cast<std::size_t>(std::count(line.begin(), line.end(), ',') + 1);
  check("llama", {.pp = 2, .tp = 2}, "greedy.json", tokens);
  check("llama", {.pp = 3, .tp = 1}, "greedy.json", tokens);
}

// SPDX-License-Identifier: Apache-2.0
// `--trace`: a row for each rank, a span for each of its collectives; and ranks that would not fit do not start.
#include "trace.hpp"

#include <filesystem>
#include <map>

#include "json.hpp"
#include "opened.hpp"
#include "ranks.hpp"

namespace {
using namespace program;
using Catch::Matchers::ContainsSubstring;
namespace sw = shardwise;

struct span_of_time {
  std::string name, phase, module;
  double begin = 0, end = 0;
  std::size_t bytes = 0;
};
using row = std::vector<span_of_time>;

/// The rows of a trace, by rank, which must be named so. Throws where something is missing or of another type.
std::vector<row> rows_of(const std::string& file) {
  simdjson::dom::parser parser;
  const simdjson::dom::element root = parser.load(file);
  std::vector<row> rows;
  std::vector<std::string> names;
  const simdjson::dom::array events = root["traceEvents"].get_array().value();
  for (const simdjson::dom::element e : events) {
    const auto tid = static_cast<std::size_t>(e["tid"].get_uint64().value());
    CHECK(e["pid"].get_uint64().value() == 0);
    const std::string phase(e["ph"].get_string().value()), name(e["name"].get_string().value());
    if (phase == "M") {
      if (name != "thread_name") continue;
      names.resize(std::max(names.size(), tid + 1));
      names[tid] = std::string(e["args"]["name"].get_string().value());
      continue;
    }
    CHECK(phase == "X");
    rows.resize(std::max(rows.size(), tid + 1));
    const double from = e["ts"].get_double().value();
    rows[tid].push_back(
        {name, std::string(e["cat"].get_string().value()), std::string(e["args"]["module"].get_string().value()), from,
         from + e["dur"].get_double().value(), static_cast<std::size_t>(e["args"]["bytes"].get_uint64().value())});
  }
  CHECK(names.size() == rows.size());
  for (std::size_t r = 0; r < names.size(); ++r) CHECK(names[r] == "rank " + std::to_string(r));
  return rows;
}

/// What --stats prints of the collectives of one phase.
std::string stats_of(const row& of_rank, const std::string& phase, std::size_t times) {
  std::map<std::string, std::pair<std::size_t, std::size_t>> by_name;  // all_reduce before gather_last_dim
  for (const span_of_time& s : of_rank) {
    if (s.phase != phase) continue;
    ++by_name[s.name].first;
    by_name[s.name].second += s.bytes;
  }
  std::string text;
  for (const auto& [name, n] : by_name) {
    text += (text.empty() ? "" : ", ") + std::to_string(n.first / times) + " " + name + " (" +
            std::to_string(n.second / times) + " bytes)";
  }
  return text;
}

void check_rows(const std::vector<row>& rows, std::size_t tp, const std::string& stats, std::size_t new_tokens) {
  REQUIRE(rows.size() == tp);
  for (const row& r : rows) {
    REQUIRE(r.size() == rows[0].size());
    CHECK_THAT(stats, ContainsSubstring("prefill: " + stats_of(r, "prefill", 1) + "\n"));
    CHECK_THAT(stats, ContainsSubstring("per token: " + stats_of(r, "decode", new_tokens - 1) + "\n"));
    for (std::size_t i = 0; i < r.size(); ++i) {
      CHECK(!r[i].module.empty());
      CHECK(r[i].bytes > 0);
      CHECK(r[i].begin <= r[i].end);
      if (i > 0) CHECK(r[i - 1].end <= r[i].begin);  // a rank is in one collective at a time
    }
  }
  // Nobody is through with a collective before everybody is in it, by one clock.
  for (std::size_t i = 0; i < rows[0].size(); ++i) {
    double all_in = rows[0][i].begin, first_out = rows[0][i].end;
    for (const row& r : rows) {
      CHECK(r[i].module == rows[0][i].module);
      all_in = std::max(all_in, r[i].begin);
      first_out = std::min(first_out, r[i].end);
    }
    CHECK(all_in <= first_out + 0.002);  // written in thousandths of a microsecond
  }
}

std::size_t files_in(const std::string& folder) {
  const auto all = std::filesystem::directory_iterator(folder);
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace

TEST_CASE("--trace writes a row for each rank, with the collectives that --stats counts", "[examples]") {
  const temporary_folder folder;
  for (const char* name : {"llama", "qwen3_5_moe"}) {
    const golden_model& g = golden_of(name);
    for (const std::size_t tp : {1u, 2u, 4u}) {
      INFO(name << ", tp " << tp);
      const std::string file = folder / "trace.json";
      const outcome r =
          run(g.at(g.greedy() + " --stats --new-tokens 4 --trace '" + file + "' --tp " + std::to_string(tp)));
      INFO(r.err);
      REQUIRE(r.exit == 0);
      check_rows(rows_of(file), tp, r.out, 4);
    }
  }
  CHECK(files_in(folder / "") == 1);
  // By name: what each layer of llama reduces, and the head gathers.
  const golden_model& g = golden_of("llama");
  run(g.at("--tokens 1 --tp 2 --trace '" + (folder / "trace.json") + "'"));
  std::vector<std::string> modules;
  const auto rows = rows_of(folder / "trace.json");
  for (const span_of_time& s : rows.at(1)) modules.push_back(s.name + " " + s.module);
  CHECK(modules == std::vector<std::string>{
                       "all_reduce model.embed_tokens", "all_reduce model.layers.0.self_attn.o_proj",
                       "all_reduce model.layers.0.mlp.down_proj", "all_reduce model.layers.1.self_attn.o_proj",
                       "all_reduce model.layers.1.mlp.down_proj", "all_reduce model.layers.2.self_attn.o_proj",
                       "all_reduce model.layers.2.mlp.down_proj", "gather_last_dim lm_head"});
}

TEST_CASE("a trace is there whole or not at all, and a place for it is found before the model runs", "[examples]") {
  const temporary_folder folder;
  const golden_model& g = golden_of("llama");
  const auto traced = [&](const std::string& file, const std::string& more = "") {
    return run(g.at("--tokens 1,2,3 --stats --trace '" + file + "' " + more));
  };
  for (const std::string& nowhere : {folder / "no/such/folder.json", folder / ""}) {
    const outcome r = traced(nowhere);
    CHECK(r.refused());  // with nothing printed, which --stats does before the model runs
    CHECK_THAT(r.err, ContainsSubstring("cannot be written"));
  }
  CHECK(files_in(folder / "") == 0);
  // What was there stays where the run is refused.
  const std::string before = folder.write("trace.json", "before");
  plan_rows rows = hugging_face_plan(golden("llama/plan.json"));
  for (auto& row : rows) {
    if (row.first == "lm_head") row.second = "colwise";
  }
  const std::string plan = folder.write("plan.json", plan_text(rows));
  CHECK(traced(before, "--tp 2 --plan '" + plan + "'").exit == 1);
  CHECK(text_of(before) == "before");
  CHECK(files_in(folder / "") == 2);
  CHECK(traced(before).exit == 0);
  CHECK(rows_of(before).size() == 1);
  CHECK(files_in(folder / "") == 2);
  CHECK_THAT(traced(before, "--tp 1,2").err, ContainsSubstring("one size at a time"));
}

TEST_CASE("a module of any name is written as JSON", "[examples]") {
  generate::trace t;
  const std::string name = "a\"b\\c\n\x01 \xc3\xa9";
  const auto collective = [&] {
    t.begin({sw::operation::all_reduce, name, 8, 0});
    t.end({sw::operation::all_reduce, name, 8, 0});
  };
  collective();  // before any phase
  t.in_phase("prefill");
  collective();
  const temporary_folder folder;
  const std::string lines[] = {t.lines()};
  const auto rows = rows_of(folder.write("trace.json", generate::trace_file(lines)));
  REQUIRE(rows.size() == 1);
  REQUIRE(rows[0].size() == 1);
  CHECK(rows[0][0].module == name);
}

TEST_CASE("ranks that were given different plans do not start", "[examples]") {
  const opened_golden model("llama");
  const auto prompt = model.prompt({1, 2, 3});
  static constexpr auto whole_head = sw::models::llama::for_causal_lm.with({{"lm_head", sw::replicate}});
  const sw::sharding one = sw::shard(sw::models::llama::for_causal_lm, model.tree, {.tp = 2}),
                     other = sw::shard(whole_head, model.tree, {.tp = 2});
  const std::size_t before = model.files.bytes_read();
  const auto told = sw::in_process(2, [&](sw::in_process_communicator& ranks) {
    try {
      generate::run_rank(ranks, ranks.rank() == 0 ? one : other, model.source, model.config, prompt, {});
    } catch (const sw::comm_error& e) {
      return std::string(e.what());
    }
    return std::string();
  });
  CHECK(model.files.bytes_read() == before);
  for (const std::string& t : told) {
    CHECK_THAT(t, ContainsSubstring("rank 1 would not run what rank 0 runs") && ContainsSubstring("'lm_head'"));
  }
}

#ifdef GENERATE_LAUNCH
TEST_CASE("processes write one trace, with a row for each", "[mpi]") {
  const temporary_folder folder;
  const std::string file = folder / "trace.json";
  const golden_model& g = golden_of("llama");
  const std::string arguments = g.at(g.greedy() + " --stats --new-tokens 4 --comm mpi --trace '");
  const outcome r = run_command(GENERATE_LAUNCH " 4 '" GENERATE_PROGRAM "' " + arguments + file + "'");
  INFO(r.err);
  REQUIRE(r.exit == 0);
  check_rows(rows_of(file), 4, r.out, 4);
  CHECK(files_in(folder / "") == 1);
  const outcome nowhere = run_command(GENERATE_LAUNCH " 2 '" GENERATE_PROGRAM "' " + arguments + (folder / "") + "'");
  CHECK(nowhere.refused());
}

TEST_CASE("processes that were given different plans do not start", "[mpi]") {
  const std::string program = " 1 '" GENERATE_PROGRAM "' " + golden_of("llama").at("--tokens 1 --comm mpi --plan ");
  const outcome r =
      run_command(GENERATE_LAUNCH + program + "auto : " +
                  std::string(GENERATE_LAUNCH).substr(std::string(GENERATE_LAUNCH).rfind(' ')) + program + "hf");
  INFO(r.err);
  CHECK(r.exit == 1);
  CHECK_THAT(r.err, ContainsSubstring("rank 1 would not run what rank 0 runs: rank 0 has rule"));
}
#endif

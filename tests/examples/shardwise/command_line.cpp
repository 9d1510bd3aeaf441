// SPDX-License-Identifier: Apache-2.0
// The program `shardwise`: what it prints where, and its exit codes.
#include <simdjson.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "command.hpp"

namespace {
using namespace program;
using Catch::Matchers::ContainsSubstring;

outcome run(const std::string& arguments) { return run_command("'" SHARDWISE_PROGRAM "' " + arguments); }

const std::string qwen = "'" EXAMPLES "/data/qwen3_5_35b_a3b.json'";
const std::string llama = "'" SHARDWISE_TEST_DATA "/goldens/llama'";

/// The error of an answer in JSON; "" if it is none.
std::string error_of(const std::string& json) {
  simdjson::dom::parser parser;
  std::string_view why;
  simdjson::dom::element root;
  if (parser.parse(json).get(root) != simdjson::SUCCESS || root["error"].get(why) != simdjson::SUCCESS) return {};
  return std::string(why);
}

}  // namespace

TEST_CASE("what is no model, no plan or no command is refused with exit code 2, in JSON too") {
  const temporary_folder folder;
  const std::string not_json = "hf:" + folder.write("a.json", "{");
  const std::string not_style = "hf:" + folder.write("b.json", R"({"lm_head":"colwize"})");
  const std::string not_text = "hf:" + folder.write("c.json", R"({"lm_head":1})");
  const std::string list = "hf:" + folder.write("d.json", R"([["lm_head","colwise"]])");
  const std::string empty = "hf:" + folder.write("e.json", "{}");
  const auto named = [&](const char* file, const std::string& name) {
    return folder.write(
        file, R"({"config":{"architectures":["LlamaForCausalLM"],"model_type":"llama"},"parameters":[{"name":")" +
                  name + R"(","shape":[8,8]}]})");
  };
  const std::string deep = named("deep.json", "a.b.c.d.e.f.g.h.i.j.k.l.weight");
  const std::string wide = named("wide.json", std::string(256, 'a') + ".weight");
  const std::string unknown = folder.write("model.json", R"({"config":{"model_type":"llame"},"parameters":[]})");
  const std::string none = folder.write(
      "none.json", R"({"config":{"architectures":["LlamaForCausalLM"],"model_type":"llama"},"parameters":[]})");
  const std::vector<std::pair<std::string, std::string>> all = {
      {"cuts /no/such/model --tp 2", "/no/such/model cannot be opened"},
      {"cuts " + unknown + " --tp 2", "no plan is known for"},
      {"cuts " + llama + " --tp 2 --plan best", "the plan 'best' is none of auto, by_head, hf and hf:FILE.json"},
      {"cuts " + llama + " --tp 2 --plan hf:/no/such/plan", "/no/such/plan cannot be opened"},
      {"cuts " + llama + " --tp 2 --plan " + not_json, "a.json is not valid JSON"},
      {"cuts " + llama + " --tp 2 --plan " + not_style, "b.json: unknown style 'colwize'; did you mean 'colwise'?"},
      {"cuts " + llama + " --tp 2 --plan " + not_text, "c.json: the style of 'lm_head' is no text"},
      {"cuts " + llama + " --tp 2 --plan " + list, "d.json is no plan: it must be an object"},
      {"cuts " + llama + " --tp 2 --plan " + empty, "the plan has no rules, and tp 2 was asked for"},
      {"cuts " + llama + " --ep 2 --plan " + empty, "the plan has no rules, and ep 2 was asked for"},
      {"cuts " + llama + " --ep 2 --tp 2", "excludes --"},
      {"cuts " + llama, "cuts: --tp N or --ep N is required; see --help"},
      {"cuts " + llama + " --tp 0", "not in range"},
      {"cuts --tp 2", "MODEL is required; see --help"},
      {"check " + llama + " --bandwidth fast", "--bandwidth"},
      {"check " + llama + " --bandwidth nan", "--bandwidth: it is no number"},
      {"check " + llama + " --context 1000000000 --batch 10000", "more than 2^40 tokens"},
      {"check " + none + " --tp 2", "has no parameters: there is nothing to check"},
      {"cuts " + llama + " --tp 2 --plan hf:", "the plan 'hf:' lacks its file"},
      {"check " + deep, "'a.b.c.d.e.f.g.h.i.j.k.l.weight' has more than 12 segments"},
      {"cuts " + deep + " --tp 2", "'a.b.c.d.e.f.g.h.i.j.k.l.weight' has more than 12 segments"},
      {"explain " + wide + " x --tp 2", ".weight' has a segment of more than 255 bytes"},
      {"cut " + llama, "see --help"},
      {"", "A subcommand is required; see --help"},
  };
  for (const auto& [arguments, why] : all) {
    INFO(arguments);
    const outcome r = run(arguments);
    CHECK(r.exit == 2);
    CHECK_THAT(r.err, ContainsSubstring(why));
    CHECK(r.err.rfind("error: ", 0) == 0);
    CHECK(r.out.empty());
  }
  const outcome in_json = run(all[0].first + " --json");
  CHECK(in_json.exit == 2);
  CHECK("error: " + error_of(in_json.out) + "\n" == in_json.err);
  CHECK(error_of(run("cuts --tp two --json").out) == "--tp: Value two not in range 1 to 65536; see --help");
}

TEST_CASE("help is on stdout, teaches plans and exit codes, and is no error") {
  const outcome all = run("--help");
  CHECK(all.exit == 0);
  CHECK(all.err.empty());
  for (const char* word :
       {"check", "plan", "cuts", "by_head where", "hf:FILE.json", "Exit code: 0 nothing found, 1 findings, 2 bad"}) {
    CHECK_THAT(all.out, ContainsSubstring(word));
  }
  CHECK_THAT(run("check --help").out, ContainsSubstring("shardwise check MODEL --tp 8"));
}

TEST_CASE("what is refused of a plan is told in its place, with exit code 1") {
  const temporary_folder folder;
  const std::string model =
      folder.write("model.json", R"({"config":{},"parameters":[{"name":"lm_head.0.weight","shape":[8,4]},
        {"name":"experts.up","shape":[7,4,2]},{"name":"a\"b.weight","shape":[5,2]},{"name":"norm.weight","shape":[4]}]})");
  const std::string tp = folder.write("tp.json", R"({"lm_head":"colwise_gather_output","a\"b":"colwise"})");
  const std::string ep =
      folder.write("ep.json", R"({"experts.up":"grouped_gemm","experts":"ep_dispatch_experts","norm":"colwise"})");

  const outcome cut = run("cuts " + model + " --tp 2 --json --plan hf:" + tp);
  CHECK(cut.exit == 1);
  CHECK(cut.out ==
        R"({"cuts":{"a\"b.weight":{"dim":0,"intervals":[[[0,3]],[[3,5]]]},"lm_head":{"error":"'lm_head' is a list of )"
        "modules, and colwise_gather_output cuts a linear layer: name the layers below it\"}}}\n");
  CHECK(run("cuts " + model + " --tp 8 --plan hf:" + tp).out ==
        "a\"b.weight  dim 0  0:1 | 1:2 | 2:3 | 3:4 | 4:5 | - | - | -\n"
        "error: 'lm_head' is a list of modules, and colwise_gather_output cuts a linear layer: name the layers below "
        "it\n");
  const outcome experts = run("cuts " + model + " --ep 2 --plan hf:" + ep);
  CHECK(experts.exit == 1);
  CHECK_THAT(experts.out, ContainsSubstring("error: 'experts.up': 7 experts over 2 ranks; legal sizes: 1, 7"));
  CHECK_THAT(experts.out, ContainsSubstring("norm.weight  dim 0  0:2 | 2:4"));
  CHECK(run("cuts " + llama + " --tp 2")
            .out.find("model.layers.*.self_attn.q_proj.weight  dim 0  0:32 | 32:64  (3 alike)") != std::string::npos);
  CHECK(run("cuts " + model + " --tp 1 --json --plan hf:" + tp).out == "{\"cuts\":{}}\n");
}

TEST_CASE("a plan that is printed in JSON cuts as the plan that was asked for, fed back as a file") {
  const temporary_folder folder;
  for (const std::string& model : {qwen, llama}) {
    const outcome rows = run("plan " + model + " --plan hf --json");
    REQUIRE(rows.exit == 0);
    CHECK(rows.err.empty());
    const std::string file = folder.write("plan.json", rows.out);
    const outcome own = run("cuts " + model + " --plan hf --tp 4 --json"),
                  fed = run("cuts " + model + " --tp 4 --json --plan hf:" + file);
    CHECK(own.exit == 0);
    CHECK(own.out == fed.out);
    CHECK_THAT(run("plan " + model + " --plan hf").out, ContainsSubstring("embed_tokens"));
  }
}

TEST_CASE(
    "check, explain and diff answer for people and in JSON, and say by the exit code whether there is something") {
  const temporary_folder folder;
  const std::string without_head = folder.write("plan.json", R"({"model.layers.*.mlp.up_proj":"colwise_rep",
    "model.layers.*.mlp.gate_proj":"colwise","model.layers.*.mlp.down_proj":"rowwise","lm_hed":"colwise_rep"})");

  const outcome clean = run("check " + llama + " --tp 2");
  CHECK(clean.exit == 0);
  CHECK_THAT(clean.out, ContainsSubstring("nothing is wrong"));
  const outcome found = run("check " + llama + " --tp 2 --plan hf:" + without_head);
  CHECK(found.exit == 1);
  for (const char* words : {"error: lm_head", "lm_hed", "colwise_rep"}) {
    CHECK_THAT(found.out, ContainsSubstring(words));
  }
  const outcome in_json = run("check " + llama + " --tp 2 --json --plan hf:" + without_head);
  CHECK(in_json.exit == 1);
  simdjson::dom::parser parser;
  const simdjson::dom::element report = parser.parse(in_json.out)["report"];
  CHECK(bool(report["clean"]) == false);
  CHECK(std::int64_t(report["tp"]) == 2);

  const outcome explained = run("explain " + qwen + " lm_head.weight --tp 8");
  CHECK(explained.exit == 0);
  CHECK_THAT(explained.out, ContainsSubstring("rank 7     [217280:248320, :], 127 MB"));
  const outcome unknown = run("explain " + qwen + " lm_hed --tp 8 --json");
  CHECK(unknown.exit == 2);
  CHECK(error_of(unknown.out) == "no parameter and no module is called 'lm_hed'; did you mean lm_head?");

  CHECK(run("diff " + llama + " --plan hf --plan hf --tp 2").exit == 0);
  const outcome differ = run("diff " + llama + " --plan hf --plan hf:" + without_head + " --tp 2");
  CHECK(differ.exit == 1);
  CHECK_THAT(differ.out, ContainsSubstring("lm_head.weight"));
  CHECK(run("diff " + llama + " --plan hf --tp 2").exit == 2);
}

TEST_CASE("the plan by_head cuts between heads where hf cuts them in pieces, and is what auto takes") {
  const std::string heads = "layers.*.self_attn.{k_proj,v_proj} have 2 key/value heads, 4 ranks: a head is cut";
  for (const std::string plan : {"auto", "by_head"}) {
    const outcome right = run("check " + qwen + " --tp 4 --plan " + plan);
    CHECK(right.exit == 0);
    CHECK_THAT(right.out, !ContainsSubstring(heads));
  }
  const outcome pieces = run("check " + qwen + " --tp 4 --plan hf");
  CHECK(pieces.exit == 1);
  CHECK_THAT(pieces.out, ContainsSubstring(heads));

  simdjson::dom::parser parser;
  const outcome cuts = run("cuts " + qwen + " --tp 4 --plan by_head --json");
  CHECK(cuts.exit == 0);
  simdjson::dom::element all = parser.parse(cuts.out)["cuts"];
  const std::string layers = "model.language_model.layers.";
  // 2 key/value heads of 256 rows: two ranks have each.
  CHECK(simdjson::minify(all[layers + "3.self_attn.k_proj.weight"]) ==
        R"({"dim":0,"intervals":[[[0,256]],[[0,256]],[[256,512]],[[256,512]]]})");
  // 16 key heads, as many of the queries before them, and 32 value heads behind, of 128 rows: a quarter of each.
  CHECK(simdjson::minify(all[layers + "0.linear_attn.in_proj_qkv.weight"]["intervals"].at(1)) ==
        "[[512,1024],[2560,3072],[5120,6144]]");

  // One in each mixer and each MoE block of 40 layers, in both halves of 27 vision blocks, in the merger and the
  // embedding, and the gather of the logits.
  const outcome differ = run("diff " + qwen + " --plan hf --plan by_head --tp 8 --json");
  CHECK(differ.exit == 1);
  const simdjson::dom::element by_head = parser.parse(differ.out)["b"];
  CHECK(std::int64_t(by_head["collectives"]) == 2 * 40 + 2 * 27 + 1 + 1 + 1);
}

TEST_CASE("a picture is written as SVG or as a page, by the name of the file") {
  const temporary_folder folder;
  const outcome svg = run("picture " + qwen + " --tp 8 -o " + (folder / "a.svg"));
  CHECK(svg.exit == 0);
  CHECK(text_of(folder / "a.svg").rfind("<svg", 0) == 0);
  CHECK(run("picture " + llama + " --tp 2 --plan hf -o " + (folder / "a.html")).exit == 0);
  CHECK_THAT(text_of(folder / "a.html"), ContainsSubstring("<title>llama, 2 ranks</title>"));
  CHECK(run("picture " + llama + " --tp 2 -o a.png").exit == 2);
  CHECK_THAT(run("picture " + llama + " --tp 2 -o /no/such/a.svg").err,
             ContainsSubstring("/no/such/a.svg cannot be written: No such"));
  // What cannot be written whole leaves no part, and an answer that is lost is no success.
  CHECK(!std::filesystem::exists(folder / "a.svg.part"));
  std::filesystem::create_symlink("/dev/full", folder / "full.svg");
  CHECK_THAT(run("picture " + llama + " --tp 2 -o " + (folder / "full.svg")).err,
             ContainsSubstring("cannot be written"));
  const outcome lost = run_command("( '" SHARDWISE_PROGRAM "' cuts " + llama + " --tp 16 --json > /dev/full )");
  CHECK(lost.exit == 2);
  CHECK_THAT(lost.err, ContainsSubstring("error: the answer cannot be written: No space left"));
  CHECK(run("picture " + llama + " --tp 1000 -o " + (folder / "b.svg")).exit == 2);
}

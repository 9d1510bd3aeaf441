// SPDX-License-Identifier: Apache-2.0
// The command line of `shardwise`.
#pragma once
#include <CLI/CLI.hpp>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/plan/style.hpp"

namespace tool {

/// What was asked for.
struct options {
  enum command_t { none, check, explain, plan_rows, diff, picture, cuts } command = none;
  std::string model, name, out;
  std::vector<std::string> plans;
  int tp = 0, ep = 0;  ///< 0: not given
  std::size_t context = 4096, batch = 1;
  double bandwidth = 3.35;  ///< of one GPU's memory, in TB/s
  bool expert = false, json = false;

  std::string plan() const { return plans.empty() ? "auto" : plans.front(); }
  shardwise::parallelism over() const {
    return expert || ep != 0 ? shardwise::parallelism::expert : shardwise::parallelism::tensor;
  }
};

/// Before the command line is parsed: an error in it is told in JSON too, where that is asked for.
inline bool asks_for_json(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    if (std::string_view(argv[i]) == "--json") return true;
  }
  return false;
}

namespace detail {

struct command_line {
  CLI::App& app;
  options& o;

  CLI::App* command(const char* name, options::command_t which, const char* what, const std::string& footer) {
    CLI::App* sub = app.add_subcommand(name, what);
    sub->footer(footer);
    sub->add_option("MODEL", o.model, "Folder with config.json and safetensors files, or a JSON file of shapes")
        ->required();
    sub->callback([this, which] { o.command = which; });
    return sub;
  }
  CLI::Option* ranks(CLI::App* sub, const char* name, int& to, const char* what) {
    return sub->add_option(name, to, what)->check(CLI::Range(1, 65536))->type_name("N");
  }
  CLI::Option* plan(CLI::App* sub, const char* what = "The plan: auto, by_head, hf, or a file of Hugging Face's form") {
    return sub->add_option("--plan", o.plans, what)
        ->type_name("auto|by_head|hf|hf:FILE.json")
        ->allow_extra_args(false)  // what follows a blank is the next argument
        ->expected(1);
  }
  void json(CLI::App* sub) { sub->add_flag("--json", o.json, "Answer in JSON"); }
};

}  // namespace detail

/// Parses the command line. Throws `CLI::ParseError`, of which `--help` is one.
inline options parse_options(CLI::App& app, int argc, char** argv) {
  options o;
  detail::command_line line{app, o};
  app.description(
      "Reads a model before it is loaded: what a tensor-parallel plan makes of it, without weights and without a GPU.");
  app.footer(
      "MODEL is a folder with config.json and safetensors files, of which only the headers are read, or a JSON file\n"
      "{\"config\": {...}, \"parameters\": [{\"name\", \"shape\", \"dtype\"}]} (dtype missing: BF16).\n\n"
      "Plans: auto is the best that shardwise has for the model, with all that it leaves whole said: by_head where "
      "there is one,\nwhich cuts between heads and copies those that ranks share, else Hugging Face's; hf is Hugging "
      "Face's, as it is;\nhf:FILE.json is {\"pattern\": \"style\"} as transformers takes it, matched and cut as "
      "there.\n\n"
      "Exit code: 0 nothing found, 1 findings, 2 bad input.\n\n"
      "Start with: shardwise check MODEL --tp 8");
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "The help of all commands");

  CLI::App* check =
      line.command("check", options::check, "What is wrong with a plan at N ranks, and at which sizes it can be used",
                   "Findings come worst first, each with what to do; notes are no findings. Then, for 1 to 64 ranks, "
                   "which sizes are "
                   "legal and what a rank needs there.\n\n"
                   "Examples:\n"
                   "  shardwise check MODEL --tp 8\n"
                   "  shardwise check MODEL --tp 8 --plan hf                   what transformers does with it\n"
                   "  shardwise check MODEL --tp 4 --plan hf:mine.json --context 131072 --batch 16");
  line.ranks(check, "--tp", o.tp, "Ranks; without it 2, where what does not depend on their number shows");
  line.plan(check);
  check->add_option("--context", o.context, "Tokens of each sequence, for the key/value cache")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 30))
      ->type_name("N")
      ->capture_default_str();
  check->add_option("--batch", o.batch, "Sequences at a time")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 24))
      ->type_name("N")
      ->capture_default_str();
  check->add_option("--bandwidth", o.bandwidth, "Bandwidth of one GPU's memory, for milliseconds per token")
      ->check(CLI::Range(1e-6, 1e6))
      ->type_name("TB/s")
      ->capture_default_str();
  line.json(check);

  CLI::App* explain = line.command("explain", options::explain,
                                   "Of a parameter or a module: its rule, each rank's slice, bytes, the collective",
                                   "NAME is a parameter, a module, or a pattern: ** is any number of segments.\n\n"
                                   "Examples:\n"
                                   "  shardwise explain MODEL lm_head.weight --tp 8\n"
                                   "  shardwise explain MODEL '**.k_proj' --tp 8               why not finer?");
  explain->add_option("NAME", o.name, "Parameter, module or pattern")->required();
  line.ranks(explain, "--tp", o.tp, "Ranks")->required();
  line.plan(explain);
  line.json(explain);

  CLI::App* plan =
      line.command("plan", options::plan_rows, "The rules of a plan, in Hugging Face's words",
                   "With --json {\"pattern\": \"style\"}, which --plan hf:FILE.json takes, and transformers too.\n"
                   "What these words cannot say is told on stderr.\n\n"
                   "Example: shardwise plan MODEL --json > mine.json");
  line.plan(plan);
  plan->add_flag("--ep", o.expert, "The expert-parallel plan");
  line.json(plan);

  CLI::App* diff = line.command("diff", options::diff, "What two plans make of a model that is not the same",
                                "Exit code: 0 the plans treat all alike, 1 they do not, 2 bad input.\n\n"
                                "Example: shardwise diff MODEL --plan hf --plan hf:mine.json --tp 8");
  line.plan(diff, "Two of them: the first is A, the second B")->expected(2)->required();
  line.ranks(diff, "--tp", o.tp, "Ranks")->required();
  line.json(diff);

  CLI::App* picture = line.command(
      "picture", options::picture, "Draw what each rank holds",
      "A column for each rank, as high as its bytes; what is whole goes through all of them, red where nobody said "
      "so.\n.svg is a picture, .html a page of its own with a table below.\n\n"
      "Example: shardwise picture MODEL --tp 8 -o plan.html");
  line.ranks(picture, "--tp", o.tp, "Ranks")->required();
  picture->add_option("-o,--out", o.out, "The file to write")
      ->required()
      ->type_name("FILE.svg|FILE.html")
      ->check(CLI::Validator(
          [](std::string& file) {
            const bool known = std::string_view(file).ends_with(".svg") || std::string_view(file).ends_with(".html");
            return known ? std::string() : file + " ends neither in .svg nor in .html";
          },
          ""));
  line.plan(picture);
  line.json(picture);

  CLI::App* cuts =
      line.command("cuts", options::cuts, "What each rank holds of each parameter",
                   "Parameters that are whole on every rank are left out. With --json\n"
                   "  {\"cuts\": {name: {\"dim\": d, \"intervals\": [[[begin, end], ...] for each rank]}}}\n"
                   "and {\"error\": why} in place of a cut that is refused. A file is cut as Hugging Face cuts, "
                   "whatever `check` says "
                   "of it.\nUnder --ep the plan is the expert-parallel one, and its cuts alone are listed.\n\n"
                   "Example: shardwise cuts MODEL --tp 4 --plan hf:mine.json --json");
  auto* tp = line.ranks(cuts, "--tp", o.tp, "Ranks of tensor parallelism");
  line.ranks(cuts, "--ep", o.ep, "Ranks of expert parallelism")->excludes(tp);
  line.plan(cuts);
  line.json(cuts);

  app.parse(argc, argv);
  if (!(o.bandwidth > 0)) throw CLI::ValidationError("--bandwidth", "it is no number");
  if (o.context > (std::size_t{1} << 40) / o.batch) {
    throw CLI::ValidationError("--context times --batch", "more than 2^40 tokens");
  }
  if (o.command == options::cuts && o.tp == 0 && o.ep == 0) throw CLI::RequiredError("cuts: --tp N or --ep N");
  return o;
}

}  // namespace tool

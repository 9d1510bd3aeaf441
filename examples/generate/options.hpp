// SPDX-License-Identifier: Apache-2.0
// The command line.
#pragma once
#include <CLI/CLI.hpp>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace generate {

/// A tensor in a .safetensors file, written FILE or FILE:NAME.
struct tensor_in_file {
  std::filesystem::path file;
  std::string name;
};

struct options {
  std::filesystem::path model;
  std::string comm = "in-process";
  std::vector<int> tp;  ///< empty: not said
  bool expert_parallel = false;
  std::string ep_dispatch = "masked";
  bool sequence_parallel = false;
  std::filesystem::path inputs;
  std::vector<std::int64_t> tokens;
  std::optional<tensor_in_file> pixels, expected;
  double tolerance = 2e-4;
  std::size_t new_tokens = 0;
  std::string plan = "auto", policy = "gather";
  std::filesystem::path logits, shards, trace;
  bool stats = false;
};

namespace detail {
// A colon belongs to the name only if there is no file of the whole text.
inline std::optional<tensor_in_file> parse_tensor_in_file(const std::string& text, std::string_view default_name) {
  if (text.empty()) return std::nullopt;
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || std::filesystem::exists(text))
    return tensor_in_file{text, std::string(default_name)};
  return tensor_in_file{text.substr(0, colon), text.substr(colon + 1)};
}
}  // namespace detail

/// Before the command line is parsed, since it is one process that tells of an error in it.
inline bool asks_for_mpi(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view text = argv[i];
    if (text == "--comm=mpi" || (text == "--comm" && i + 1 < argc && argv[i + 1] == std::string_view("mpi")))
      return true;
  }
  return false;
}

/// Parses the command line. Throws `CLI::ParseError`, of which `--help` is one.
inline options parse_options(CLI::App& app, int argc, char** argv) {
  options o;
  std::string pixels, expected;
  std::vector<int> ep;
  app.description(
      "Cuts a checkpoint by its tensor-parallel plan, runs it on N ranks (threads of this process, or processes of an "
      "MPI job), and shows what comes out.\n"
      "Every cut, every collective and every check of the plan is shardwise's; the engine has only local arithmetic.");
  app.footer(
      "Plans: hf is Hugging Face's, as it is; by_head is our own, uneven and with fewer bytes and collectives; auto "
      "is\n"
      "by_head where there is one, else hf with everything it leaves whole said; a FILE is\n"
      "{\"pattern\": \"style\", ...},\n"
      "for example {\"model.layers.*.mlp.up_proj\": \"colwise\", \"model.visual.**\": \"replicate(no plan yet)\"}.\n"
      "Whatever a plan says, the answer is right or the plan is refused, before a weight is read.\n\n"
      "Examples:\n"
      "  generate MODEL_DIR --tp 2 --tokens 1,2,3 --new-tokens 16 --stats\n"
      "  generate MODEL_DIR --tp 1,2,4 --inputs inputs.json --expect expected.safetensors\n"
      "  mpirun -np 4 generate MODEL_DIR --tp 4 --comm mpi --tokens 1,2,3 --new-tokens 16");
  app.add_option("MODEL_DIR", o.model, "Folder with config.json and .safetensors")->required();
  app.add_option("--comm", o.comm, "What the ranks are: threads of this process, or the processes that mpirun started")
      ->check(CLI::IsMember({"in-process", "mpi"}))
      ->type_name("in-process|mpi")
      ->capture_default_str();
  app.add_option("--tp", o.tp,
                 "Number of ranks; several, one run for each: 1,2,4. With --comm mpi the number of processes")
      ->delimiter(',')
      ->allow_extra_args(false)  // what follows a blank is the next argument
      ->type_name("N")
      ->default_str("1");
  auto* expert_parallel =
      app.add_option("--ep", ep,
                     "As --tp, with whole experts on each rank, by the model's expert-parallel plan, and the rest by "
                     "the tensor-parallel one")
          ->delimiter(',')
          ->allow_extra_args(false)
          ->type_name("N");
  app.add_option(
         "--ep-dispatch", o.ep_dispatch,
         "masked: every rank has all tokens, asks its own experts, and the answers are reduced; all_to_all: each "
         "token is sent to the ranks of its experts")
      ->needs(expert_parallel)
      ->check(CLI::IsMember({"masked", "all_to_all"}))
      ->type_name("masked|all_to_all")
      ->capture_default_str();
  app.add_flag(
      "--sequence-parallel", o.sequence_parallel,
      "Between the blocks each rank has some of the tokens: a reduce-scatter and an all-gather in place of each "
      "all-reduce");
  auto* inputs = app.add_option("--inputs", o.inputs,
                                "JSON with input_ids [batch][tokens], and for images image_grid_thw; position_ids and "
                                "rope_deltas, if there, are compared with ours")
                     ->type_name("FILE");
  app.add_option("--tokens", o.tokens, "The prompt as token ids: 1,2,3")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("IDS")
      ->excludes(inputs);
  app.add_option("--pixel-values", pixels, "Rows of pixels of all images; NAME is pixel_values if not given")
      ->type_name("FILE[:NAME]");
  app.add_option("--new-tokens", o.new_tokens, "Continue by K tokens, greedily unless they are sampled, and print them")
      ->type_name("K");
  app.add_option("--plan", o.plan, "auto, hf, by_head, or a JSON file")
      ->type_name("auto|hf|by_head|FILE")
      ->capture_default_str();
  app.add_option(
         "--logits-policy", o.policy,
         "What is wanted of the logits. argmax and top_k continue greedily, without a gather; log_softmax, too, "
         "and says how likely each token of the prompt was; sample draws, by temperature=X,top_k=K,top_p=X,"
         "seed=N, of which each may be left out")
      ->type_name("gather|argmax|top_k:K|log_softmax|sample:...")
      ->capture_default_str();
  app.add_option("--logits", o.logits, "Write the prompt's logits [batch, tokens, vocabulary]")->type_name("FILE");
  app.add_option("--shards", o.shards, "Write shape and sha256 of each rank's local tensors")->type_name("FILE");
  app.add_option("--trace", o.trace,
                 "Write when each rank was in which collective of the prompt and of the new tokens, for "
                 "ui.perfetto.dev and chrome://tracing")
      ->type_name("FILE");
  app.add_option("--expect", expected, "Compare the prompt's logits with these; NAME is logits if not given")
      ->type_name("FILE[:NAME]");
  app.add_option("--tolerance", o.tolerance, "How far the logits may be from the expected ones")
      ->type_name("X")
      ->capture_default_str();
  app.add_flag("--stats", o.stats, "Print coverage of the plan, bytes per rank, collectives per prefill and per token");
  app.parse(argc, argv);
  o.pixels = detail::parse_tensor_in_file(pixels, "pixel_values");
  o.expected = detail::parse_tensor_in_file(expected, "logits");
  if (!ep.empty()) {
    if (!o.tp.empty() && o.tp != ep) {
      throw CLI::ValidationError("--ep", "the ranks that share the experts are those of --tp: give one number to both");
    }
    o.tp = ep;
    o.expert_parallel = true;
  }
  if (o.policy != "gather" && (o.expected || !o.logits.empty())) {
    throw CLI::ValidationError("--logits-policy", "all logits are there with gather alone, for --logits and --expect");
  }
  for (int tp : o.tp) {
    if (tp < 1 || tp > 256)
      throw CLI::ValidationError("--tp", std::to_string(tp) + " is not a number of ranks from 1 to 256");
  }
  if (o.tp.size() > 1 && !(o.logits.empty() && o.shards.empty() && o.trace.empty())) {
    throw CLI::ValidationError("--tp", "one size at a time with --logits, --shards or --trace: each writes one file");
  }
  return o;
}

}  // namespace generate

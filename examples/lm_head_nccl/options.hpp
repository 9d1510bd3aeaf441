// SPDX-License-Identifier: Apache-2.0
// The command line.
#pragma once
#include <CLI/CLI.hpp>
#include <cstddef>
#include <filesystem>

namespace lm_head {

struct options {
  std::filesystem::path model, expect;
  std::size_t tokens = 0;
  std::size_t rows_up_to = 64;
  double tolerance = 2e-5;
  std::size_t repeat = 1;
  bool graph = false;
};

/// Parses the command line. Throws `CLI::ParseError`, of which `--help` is one.
inline options parse_options(CLI::App& app, int argc, char** argv) {
  options o;
  app.description(
      "Computes the logits of a model's last layer on GPUs, and compares them with the expected ones.\n"
      "The plan says which rows of lm_head are this rank's; they are loaded into device memory. Each step multiplies "
      "final_norm states by them with cuBLAS, into this rank's columns, and gathers the columns of all ranks over "
      "NCCL, "
      "in place. Every rank checks all logits.");
  app.footer(
      "One process for each rank, started by torchrun, Open MPI, Slurm, or by hand with RANK, WORLD_SIZE, LOCAL_RANK, "
      "MASTER_ADDR and MASTER_PORT; without any of them it is one rank.\n\n"
      "Examples:\n"
      "  lm_head_nccl MODEL_DIR\n"
      "  torchrun --no-python --nproc-per-node 8 lm_head_nccl MODEL_DIR --tokens 1 --graph");
  app.add_option("MODEL_DIR", o.model, "Folder with config.json and .safetensors")->required();
  app.add_option("--expect", o.expect,
                 "A .safetensors file with final_norm [..., H] and logits [..., V]; MODEL_DIR/expected.safetensors if "
                 "not given")
      ->type_name("FILE");
  app.add_option("--tokens", o.tokens, "Tokens of a step; all that the file has if not given")
      ->type_name("T")
      ->check(CLI::PositiveNumber);
  app.add_option("--rows-up-to", o.rows_up_to,
                 "Up to as many tokens the logits are gathered as rows [T, V], beyond it as one segment for each rank")
      ->type_name("T")
      ->capture_default_str();
  app.add_option("--tolerance", o.tolerance, "How far the logits may be from the expected ones")
      ->type_name("X")
      ->capture_default_str();
  app.add_option("--repeat", o.repeat, "Run all steps N times, and print the time of a step")
      ->type_name("N")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_flag("--graph", o.graph, "Capture a step in a CUDA graph, count its kernels, and replay it");
  app.parse(argc, argv);
  if (o.expect.empty()) o.expect = o.model / "expected.safetensors";
  return o;
}

}  // namespace lm_head

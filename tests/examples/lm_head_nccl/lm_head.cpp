// SPDX-License-Identifier: Apache-2.0
// Logits over 1, 2 and 4 ranks, on the fake or on a GPU.
#include <iostream>
#include <string>

#include "support.hpp"

using namespace lm_head_test;

namespace {

bool has_gpu() {
#ifdef REAL_GPU
  static const bool there = !has(all_output(run(1, golden("llama"))), "no CUDA device");
  if (!there) WARN("SKIP: no CUDA device");
  return there;
#else
  return true;
#endif
}

/// Runs a golden, and checks what every rank says. `rows`: of its vocabulary of 512.
launch::outcome logits_are_right(const std::string& name, int ranks, const std::string& options) {
  INFO(name << " on " << ranks << " rank(s): " << options);
  const launch::outcome done = run(ranks, golden(name) + options);
  INFO(all_output(done));
  CHECK(done.code == 0);
  const std::string rows = std::to_string(512 / ranks), bytes = std::to_string(512 / ranks * 64 * 4);
  for (int rank = 0; rank < ranks; ++rank) {
    const std::string& text = done.output[static_cast<std::size_t>(rank)];
    CHECK(
        has(text, "rank " + std::to_string(rank) + " of " + std::to_string(ranks) + ": " + rows + " of 512 rows of "));
    CHECK(has(text, bytes + " bytes read"));
    CHECK(has(text, "(within 2e-05)"));
    CHECK(has(text, "versions: shardwise ") == (rank == 0));
  }
#ifdef REAL_GPU
  std::cout << name << options << '\n' << all_output(done);  // the evidence
#endif
  return done;
}

const char* const goldens[] = {"llama", "llama_tied", "qwen3_5_moe_vl"};
const int sizes[] = {1, 2, 4};

}  // namespace

TEST_CASE("all tokens at once give Hugging Face's logits on every rank", "[gpu]") {
  if (!has_gpu()) return;
  for (const char* name : goldens) {
    for (const int ranks : sizes) {
      const auto done = logits_are_right(name, ranks, "");
      CHECK(has(done.output[0], "logits as rows [T, V]"));
      CHECK(has(done.output[0],
                "gathers: 1 x " + std::to_string(std::string(name) == "qwen3_5_moe_vl" ? 22 * 2048 : 32 * 2048)));
    }
  }
}

TEST_CASE("more tokens than are gathered by rows give the same logits in segments", "[gpu]") {
  if (!has_gpu()) return;
  for (const int ranks : sizes) {
    const auto done = logits_are_right("llama", ranks, " --tokens 5 --rows-up-to 4");
    // One rank's segment is all.
    CHECK(has(done.output[0], ranks == 1 ? "logits as rows [T, V]" : "logits as one segment [T, V/tp] for each rank"));
  }
}

TEST_CASE("steps of one token and of several give the same logits, eagerly and from a captured graph", "[gpu]") {
  if (!has_gpu()) return;
  for (const char* name : goldens) {
    for (const int ranks : sizes) {
      const auto one = logits_are_right(name, ranks, " --tokens 1 --graph --repeat 2");
      const std::string tokens = std::to_string(std::string(name) == "qwen3_5_moe_vl" ? 44 : 64);
      for (const std::string& text : one.output) {
        CHECK(has(text, "gathers: " + tokens + " x 2048 bytes"));
        CHECK(has(text, "replayed: " + tokens + " x"));
        // One kernel gathers; one rank has nothing to gather in place.
        if (ranks != 1) CHECK(has(text, "the gather's: 1,"));
      }
      logits_are_right(name, ranks, " --tokens 16 --graph");
    }
  }
}

TEST_CASE("a rank that has fewer rows than the others gathers with them", "[gpu]") {
  if (!has_gpu()) return;
  for (const char* options : {"", " --tokens 1 --graph", " --tokens 5 --rows-up-to 4"}) {
    INFO(options);
    const auto done = run(3, golden("llama") + options);
    INFO(all_output(done));
    CHECK(done.code == 0);
    CHECK(has(done.output[1], "rank 1 of 3: 171 of 512 rows of lm_head.weight"));
    CHECK(has(done.output[2], "rank 2 of 3: 170 of 512 rows of lm_head.weight"));
    for (const std::string& text : done.output) CHECK(has(text, "(within 2e-05)"));
  }
}

TEST_CASE("logits of another model end every rank with an error", "[gpu]") {
  if (!has_gpu()) return;
  const auto other = run(2, golden("llama") + " --expect " + golden("llama_tied") + "/expected.safetensors");
  INFO(all_output(other));
  CHECK(other.code == 1);
  CHECK(has(failure(other), "(ABOVE 2e-05)"));
  CHECK(has(failure(other), "error: the logits are not those of --expect\n"));
}

TEST_CASE("without a launcher there is one rank, which says so", "[gpu]") {
  if (!has_gpu()) return;
  const auto done = run_by_shell(
      1, "exec env -u RANK -u WORLD_SIZE -u LOCAL_RANK -u LOCAL_WORLD_SIZE \"$0\" " + golden("llama_tied"));
  INFO(all_output(done));
  CHECK(done.code == 0);
  CHECK(has(done.output[0], "launcher: none, so that this is the only rank\n"));
  CHECK(has(done.output[0], "rank 0 of 1: 512 of 512 rows of lm_head.weight"));
  CHECK(has(done.output[0], "(within 2e-05)"));
}

TEST_CASE("without a GPU there is one clear sentence, and the exit code is 1", "[no gpu]") {
  launch::options none;
  none.environment = {{"CUDA_VISIBLE_DEVICES", ""}, {"FAKE_GPU_DEVICES", "0"}};
  for (const int ranks : {1, 2}) {
    const auto done = run(ranks, golden("llama"), none);
    CHECK(done.code == 1);
    CHECK(failure(done) ==
          "error: no CUDA device: lm_head_nccl runs on GPUs, and this process sees none; see nvidia-smi and "
          "CUDA_VISIBLE_DEVICES\n");
  }
}

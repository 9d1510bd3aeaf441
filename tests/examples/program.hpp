// SPDX-License-Identifier: Apache-2.0
// Runs `generate`, and reads what it writes.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include "catch.hpp"
#include "command.hpp"
#include "shardwise/checkpoint/safetensors.hpp"

namespace program {

inline std::string golden(const std::string& path) { return std::string(SHARDWISE_TEST_DATA) + "/goldens/" + path; }

/// Runs a program with arguments that hold no quotes; `environment` is put before it: "NAME=value".
inline outcome run(const std::string& arguments, const std::string& executable = GENERATE_PROGRAM,
                   const std::string& environment = "") {
  return run_command(environment + " '" + executable + "' " + arguments);
}

/// The golden of a folder: where its inputs are, and how close is equal.
struct golden_model {
  std::string folder, files = folder;
  double tolerance = 2e-5;
  bool images = false;

  std::string prompt() const { return inputs("inputs.json", "expected.safetensors"); }
  std::string greedy() const { return inputs("greedy.json", "expected.safetensors:greedy.pixel_values"); }
  std::string at(const std::string& arguments) const { return "'" + golden(folder) + "' " + arguments; }

 private:
  std::string inputs(const std::string& json, const std::string& pixels) const {
    return " --inputs '" + golden(files + "/" + json) + "'" +
           (images ? " --pixel-values '" + golden(files + "/" + pixels) + "'" : "");
  }
};
inline const std::vector<golden_model>& goldens() {
  static const std::vector<golden_model> all = {{"llama"},
                                                {"llama_tied"},
                                                {"llama_bias"},
                                                {"qwen2"},
                                                {"qwen3"},
                                                {"qwen3_moe"},
                                                {"mixtral"},
                                                {"gpt_oss", "gpt_oss", 5e-5},
                                                {"phi3"},
                                                {"gemma3_text"},
                                                {"olmo2"},
                                                {"qwen3_5_moe", "qwen3_5_moe", 2e-4},
                                                {"qwen3_5_moe_vl", "qwen3_5_moe_vl", 2e-4, true}};
  return all;
}
/// What the configs of those do not say: a window of attention, experts in some layers only, shares that are not
/// normed, clamps that bind, capped logits, other ropes. Made by make_windows.py beside them; 2 key/value heads.
inline const std::vector<golden_model>& windows() {
  static const std::vector<golden_model> all = {{"qwen3_moe_window"}, {"mixtral_window"},     {"gpt_oss_window"},
                                                {"phi3_window"},      {"gemma3_text_window"}, {"olmo2_yarn"}};
  return all;
}
inline const golden_model& golden_of(const std::string& folder) {
  return *std::find_if(goldens().begin(), goldens().end(), [&](const golden_model& g) { return g.folder == folder; });
}

inline std::vector<float> floats(const std::string& file, const std::string& name, shardwise::tensor_shape& shape) {
  const auto tensors = shardwise::checkpoint::safetensors_file::open(file);
  const std::size_t i = tensors.find(name);
  if (i == tensors.npos) throw std::runtime_error(file + " has no " + name);
  shape = tensors.info(i).shape;
  std::vector<float> values(shape.elements());
  tensors.read(i, shardwise::box::whole(shape), {values.data(), shardwise::dtype::f32, shape});
  return values;
}

/// The largest difference between the logits in a file and those of a golden; infinite where the shapes differ or
/// something is no number.
inline double difference(const std::string& file, const golden_model& g) {
  shardwise::tensor_shape ours, theirs;
  const auto a = floats(file, "logits", ours), b = floats(golden(g.files + "/expected.safetensors"), "logits", theirs);
  if (!(ours == theirs)) return std::numeric_limits<double>::infinity();
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
    if (!std::isfinite(d)) return std::numeric_limits<double>::infinity();
    largest = std::max(largest, d);
  }
  return largest;
}

/// Runs a golden's prompt, and how far its logits are from Hugging Face's: infinite where `generate` did not end well.
struct logits_run {
  outcome done;
  double difference = std::numeric_limits<double>::infinity();
};
inline logits_run run_prompt(const golden_model& g, const std::string& arguments,
                             const std::string& executable = GENERATE_PROGRAM, const std::string& environment = "") {
  const temporary_folder folder;
  const std::string file = folder / "logits.safetensors";
  logits_run r{run(g.at(g.prompt()) + " --logits '" + file + "' " + arguments, executable, environment)};
  if (r.done.exit == 0) r.difference = difference(file, g);
  return r;
}

}  // namespace program

// SPDX-License-Identifier: Apache-2.0
// A golden as the engine opens it, for tests that run the engine in this process.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "inputs.hpp"
#include "plans.hpp"
#include "program.hpp"
#include "shardwise/checkpoint.hpp"

namespace program {

/// What is read before any weight is. Does not move: `source` refers to `files`.
struct opened_golden {
  explicit opened_golden(const std::string& folder) : files(shardwise::checkpoint::open(golden(folder))) {}
  opened_golden(const opened_golden&) = delete;

  generate::prompt prompt(std::vector<std::int64_t> tokens) const {
    generate::options o;
    o.tokens = std::move(tokens);
    return generate::read_prompt(o, config);
  }
  generate::prompt prompt_of(const std::string& inputs) const {
    generate::options o;
    o.inputs = inputs;
    return generate::read_prompt(o, config);
  }

  decltype(shardwise::checkpoint::open("")) files;
  decltype(shardwise::checkpoint::converted(files)) source = shardwise::checkpoint::converted(files);
  shardwise::tree tree = shardwise::tree_of(source, files.config());
  generate::model_config config = generate::read_config(files.config());
};

}  // namespace program

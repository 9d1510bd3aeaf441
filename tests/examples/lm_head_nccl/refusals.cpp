// SPDX-License-Identifier: Apache-2.0
// What lm_head_nccl refuses, and how it ends where a call of CUDA, cuBLAS or NCCL fails: over the fake.
#include <string>
#include <utility>

#include "support.hpp"

using namespace lm_head_test;

namespace {

/// That a run ends with exit code 1, and that the rank that failed says this in one line.
void refused(const launch::outcome& done, const std::string& words) {
  INFO(all_output(done));
  CHECK(done.code == 1);
  const std::string text = failure(done);
  CHECK(has(text, words));
  const std::size_t line = text.find("error: ");
  REQUIRE(line != std::string::npos);
  CHECK(text.find('\n', line) == text.size() - 1);
}

launch::options with(const std::string& name, const std::string& value) {
  launch::options how;
  how.environment = {{name, value}};
  return how;
}

}  // namespace

TEST_CASE("ranks that were given different models do not start, and say in what they differ") {
  refused(run_by_shell(2, "exec \"$0\" " + golden("") + "$([ $RANK = 0 ] && echo llama || echo qwen3)"),
          "error: rank 1 would not run what rank 0 runs");
}

TEST_CASE("ranks without a device of their own are told so, by us or by NCCL") {
  launch::options how = with("FAKE_GPU_DEVICES", "2");
  how.gpu_per_rank = true;
  refused(run(4, golden("llama"), how), "has no device of its own: this process sees 2; start as many ranks");
  // Where each process sees one device, it is that one; NCCL finds that both are the same.
  how.environment = {{"FAKE_GPU_DEVICES", "1"}};
  // The first rank that ends ends the others: here each waits, so that both have said what they found.
  const auto shared = run_by_shell(2, "\"$0\" " + golden("llama") + "; code=$?; sleep 3; exit $code", how);
  INFO(all_output(shared));
  CHECK(shared.code == 1);
  CHECK(has(all_output(shared), "several ranks on one GPU must be separate processes, each with an NCCL_HOSTID"));
  // A launcher that gives each process one device of the machine's.
  how.environment = {{"FAKE_GPU_DEVICES", "4"}};
  const auto own = run_by_shell(4, "CUDA_VISIBLE_DEVICES=$RANK exec \"$0\" " + golden("llama"), how);
  INFO(all_output(own));
  CHECK(own.code == 0);
  how.environment = {{"SHARDWISE_RANK", "0"}, {"SHARDWISE_WORLD_SIZE", "1"}};
  refused(run_by_shell(1, "unset LOCAL_RANK LOCAL_WORLD_SIZE; exec \"$0\" " + golden("llama"), how),
          "nothing says which is its own: set SHARDWISE_LOCAL_RANK");
}

TEST_CASE("what does not fit is refused with its numbers") {
  refused(run(1, golden("nothing")), "nothing");
  refused(run(1, golden("llama") + " --expect " + golden("llama") + "/model.safetensors"),
          "model.safetensors has no tensor 'final_norm'");
  refused(run(1, golden("llama") + " --expect " + golden("qwen3") + "/expected.safetensors"),
          "32 states of 64 and 32 rows of 500 logits, which do not fit a head of [512, 64]");
  refused(run(1, golden("llama") + " --tokens 33"), "--tokens 33: ");
  refused(run(1, golden("llama") + " --tokens 0"), "see --help");
  refused(run(1, ""), "MODEL_DIR is required; see --help");
  refused(run(1, golden("llama") + " --tolerance 1e-12"), "error: the logits are not those of --expect");
}

TEST_CASE("a call that fails ends the program with its name") {
  for (const auto& [fault, words] : {
           std::pair<std::string, std::string>{"cudaMalloc:1:cudaErrorMemoryAllocation", "cudaMalloc"},
           {"cudaHostAlloc:1:cudaErrorMemoryAllocation", "cudaHostAlloc"},
           {"cudaMemcpyAsync:1:cudaErrorUnknown", "cudaMemcpyAsync"},
           {"cublasCreate:1:3", "cublasCreate"},
           {"cublasSetMathMode:1:7", "cublasSetMathMode"},
           {"cublasSgemm:2:13", "cublasSgemm"},
           {"ncclAllGather:2:ncclSystemError", "ncclSystemError"},
           {"cudaStreamBeginCapture:1:cudaErrorUnknown", "cudaStreamBeginCapture"},
           {"cudaGraphInstantiate:1:cudaErrorUnknown", "cudaGraphInstantiate"},
       }) {
    INFO(fault);
    refused(run(2, golden("llama") + " --tokens 1 --graph", with("FAKE_GPU_INJECT", fault)), words);
  }
}

TEST_CASE("an error of NCCL that comes while waiting ends the program, and the ranks do not hang") {
  launch::options how = with("FAKE_GPU_INJECT", "rank=1:ncclAllGather:3:async=ncclRemoteError");
  how.deadline = std::chrono::seconds(60);
  refused(run(2, golden("llama") + " --tokens 1", how), "ncclRemoteError");
}

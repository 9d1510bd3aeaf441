// SPDX-License-Identifier: Apache-2.0
// lm_head_nccl: a model's head over the GPUs of one node or many, as the model's plan cuts it.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "graph.hpp"
#include "head.hpp"
#include "options.hpp"
#include "shardwise/comm/environment.hpp"
#include "shardwise/comm/observer.hpp"
#include "shardwise/comm/same_schedule.hpp"
#include "shardwise/comm/tally.hpp"
#include "shardwise/comm/tcp_rendezvous.hpp"
#include "shardwise/nccl.hpp"
#include "shardwise/version.hpp"

namespace lm_head {
namespace {

/// Makes this rank's device current.
void take_device(const std::optional<sw::launch_environment>& launched) {
  const int devices = sw::cuda::device_count();
  if (devices == 0) {
    throw sw::error(
        "no CUDA device: lm_head_nccl runs on GPUs, and this process sees none; see nvidia-smi and "
        "CUDA_VISIBLE_DEVICES");
  }
  const int device = launched && launched->local_rank > 0 ? launched->local_rank : 0;
  if (device >= devices) {
    throw sw::error("local rank ", device, " has no device of its own, this process sees ", devices,
                    ": start fewer ranks, or let ranks share a device with LOCAL_RANK=0 and an NCCL_HOSTID of its own "
                    "for each");
  }
  sw::cuda::set_device(device);
}

std::string version_of(int packed) {  // 13020: 13.2
  return fmt::format("{}.{}", packed / 1000, packed % 1000 / 10);
}
std::string nccl_version(int packed) {
  return fmt::format("{}.{}.{}", packed / 10000, packed / 100 % 100, packed % 100);
}

void print_machine(const std::optional<sw::launch_environment>& launched, int cublas) {
  int nccl = 0, driver = 0, runtime = 0, device = sw::cuda::current_device();
  (void)ncclGetVersion(&nccl);
  sw::cuda::check(cudaDriverGetVersion(&driver), "cudaDriverGetVersion");
  sw::cuda::check(cudaRuntimeGetVersion(&runtime), "cudaRuntimeGetVersion");
  cudaDeviceProp properties{};
  sw::cuda::check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  fmt::print("versions: shardwise {}.{}.{}, NCCL {} (header {}), CUDA {} (driver {}), cuBLAS {}.{}.{}\n",
             SHARDWISE_VERSION_MAJOR, SHARDWISE_VERSION_MINOR, SHARDWISE_VERSION_PATCH, nccl_version(nccl),
             nccl_version(NCCL_VERSION_CODE), version_of(runtime), version_of(driver), cublas / 10000,
             cublas / 100 % 100, cublas % 100);
  fmt::print("device {}: {}, sm_{}{}, {} MiB\n", device, static_cast<const char*>(properties.name), properties.major,
             properties.minor, properties.totalGlobalMem >> 20);
  fmt::print("launcher: {}\n", launched ? sw::words_of(*launched) : std::string("none, so that this is the only rank"));
}

/// What all steps together came to.
struct outcome {
  double difference = 0;
  std::size_t steps = 0;
  double microseconds = 0;  ///< of a step: the median
};

/// Steps through all states; where they are no multiple of a step the last one takes some of them again.
template <class Step>
outcome run_all(Step&& step, const matrix& states, const matrix& expected, std::size_t tokens, std::size_t repeat) {
  outcome all;
  std::vector<double> times;
  for (std::size_t r = 0; r < repeat; ++r) {
    for (std::size_t row = 0; row < states.rows; row += tokens) {
      const std::size_t first = std::min(row, states.rows - tokens);
      const auto start = std::chrono::steady_clock::now();
      const sw::gathered logits = step(first);
      times.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
      all.difference = std::max(all.difference, difference(logits, expected, first));
      ++all.steps;
    }
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  all.microseconds = times[times.size() / 2];
  return all;
}

/// The states and logits of the model, which must fit its head [V, H] and the options.
void require_fit(const options& o, const matrix& states, const matrix& expected, const sw::tensor_shape& head) {
  if (states.columns != head[1] || expected.columns != head[0] || states.rows != expected.rows || states.rows == 0) {
    throw sw::error(o.expect.string(), " has ", states.rows, " states of ", states.columns, " and ", expected.rows,
                    " rows of ", expected.columns, " logits, which do not fit a head of [", head[0], ", ", head[1],
                    "]");
  }
  if (o.tokens > states.rows) {
    throw sw::error("--tokens ", o.tokens, ": ", o.expect.string(), " has ", states.rows, " states");
  }
}

/// Runs this rank. False where its logits are not those that were expected.
bool run(const options& o) {
  const auto launched = sw::launched_by();
  take_device(launched);
  sw::tcp_rendezvous meeting =
      launched ? sw::tcp_rendezvous::from_environment(*launched) : sw::tcp_rendezvous({.rank = 0, .size = 1});
  auto ranks = sw::nccl::communicator::create(meeting, {.name = "lm_head"});
  const int rank = ranks.rank();
  const bool speaks = rank == 0;

  const auto folder = sw::checkpoint::open(o.model);
  const auto source = sw::checkpoint::converted(folder);
  const sw::sharding sharding = shard_head(sw::tree_of(source, folder.config()), folder.config(), ranks.size());
  sw::require_same_schedule(meeting, sharding);
  const matrix states = read_matrix(o.expect, "final_norm"), expected = read_matrix(o.expect, "logits");
  require_fit(o, states, expected, sharding[0].shape);
  const std::size_t tokens = o.tokens == 0 ? states.rows : o.tokens;

  const sw::cuda::stream stream;
  const local_head head = load_head(sharding, rank, source, stream);
  const sw::cuda::device_memory all_states(states.values.size() * sizeof(float));
  sw::cuda::check(cudaMemcpy(all_states.data(), states.values.data(), all_states.bytes(), cudaMemcpyHostToDevice),
                  "cudaMemcpy");

  sw::tally calls;
  sw::counted comm(ranks, calls);
  stepper step(comm, ranks, sharding, head, tokens, {.row_major_up_to = o.rows_up_to}, stream);
  if (speaks) {
    print_machine(launched, step.product_library().version());
    fmt::print("schedule: the same on {} rank(s): each step is one gather_last_dim of '{}', {} x F32 a token\n",
               ranks.size(), module, sharding[0].shape[0]);
    fmt::print("step: {} token(s), logits {}\n", tokens,
               step.row_major() ? "as rows [T, V]" : "as one segment [T, V/tp] for each rank");
  }

  const auto once = [&](std::size_t first) {
    step.take_states(all_states.data(), first);
    step.multiply();
    step.gather();
    return step.result();
  };
  outcome done = run_all(once, states, expected, tokens, o.repeat);
  const auto& gathers = calls[sw::operation::gather_last_dim];
  std::string line =
      fmt::format("rank {} of {}: {} of {} rows of {}, {} bytes read; {} gathers of {} bytes; {:.1f} us a step", rank,
                  ranks.size(), head.weight.shape[0], sharding[0].shape[0], sharding[0].name, head.read.bytes_read,
                  gathers.calls, gathers.bytes / std::max<std::size_t>(gathers.calls, 1), done.microseconds);
  if (o.graph) {
    const graph gather(stream, [&] { step.gather(); });
    graph whole(stream, [&] {
      step.multiply();
      step.gather();
    });
    const outcome replayed = run_all(
        [&](std::size_t first) {
          step.take_states(all_states.data(), first);
          whole.launch();
          return step.result();
        },
        states, expected, tokens, o.repeat);
    done.difference = std::max(done.difference, replayed.difference);
    line += fmt::format("; graph: {} kernel(s), {} of them the gather's, replayed {} times, {:.1f} us a step",
                        whole.kernels(), gather.kernels(), replayed.steps, replayed.microseconds);
  }
  const bool right = done.difference <= o.tolerance;
  line += fmt::format("; max |logit - expected|: {:.2e} ({} {:g})\n", done.difference, right ? "within" : "ABOVE",
                      o.tolerance);
  fmt::print("{}", line);
  std::fflush(stdout);
  ranks.close();
  return right;
}

}  // namespace
}  // namespace lm_head

int main(int argc, char** argv) {
  CLI::App app;
  try {
    const lm_head::options o = lm_head::parse_options(app, argc, argv);
    if (lm_head::run(o)) return 0;
    std::cerr << "error: the logits are not those of --expect\n";
  } catch (const CLI::Success& e) {
    return app.exit(e);  // --help
  } catch (const CLI::ParseError& e) {
    std::cerr << "error: " << e.what() << "; see --help\n";
  } catch (const std::exception& e) {
    std::cerr << "error: " << e.what() << '\n';
  }
  return 1;
}

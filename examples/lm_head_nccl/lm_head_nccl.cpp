// SPDX-License-Identifier: Apache-2.0
// lm_head_nccl: a model's head over the GPUs of one node or many, as the model's plan cuts it.
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
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

/// Makes this rank's device current: the local rank's, or the only one that this process sees.
void take_device(const std::optional<sw::launch_environment>& launched) {
  const int devices = sw::cuda::device_count();
  if (devices == 0) {
    throw sw::error(
        "no CUDA device: lm_head_nccl runs on GPUs, and this process sees none; see nvidia-smi and "
        "CUDA_VISIBLE_DEVICES");
  }
  const int device = devices == 1 || !launched ? 0 : launched->local_rank;
  if (device < 0) {
    throw sw::error("this process sees ", devices, " devices, and nothing says which is its own: set ",
                    "SHARDWISE_LOCAL_RANK");
  }
  if (device >= devices) {
    throw sw::error("local rank ", device, " has no device of its own: this process sees ", devices,
                    "; start as many ranks on a machine as it has devices");
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

/// Product and gather, put on the stream anew each time.
template <class Stepper>
outcome run_eagerly(Stepper& step, const void* on_device, const matrix& states, const matrix& expected,
                    std::size_t repeat) {
  const auto once = [&](std::size_t first) {
    step.take_states(on_device, first);
    step.multiply();
    step.gather();
    return step.result();
  };
  return run_all(once, states, expected, step.tokens(), repeat);
}

/// The same from a graph, captured after NCCL and cuBLAS have run once.
struct replay {
  outcome steps;
  std::size_t kernels = 0, gather_kernels = 0;
};
template <class Stepper>
replay run_captured(Stepper& step, sw::cuda::stream_ref stream, const void* on_device, const matrix& states,
                    const matrix& expected, std::size_t repeat) {
  const graph gather(stream, [&] { step.gather(); });
  graph whole(stream, [&] {
    step.multiply();
    step.gather();
  });
  const auto once = [&](std::size_t first) {
    step.take_states(on_device, first);
    whole.launch();
    return step.result();
  };
  return {run_all(once, states, expected, step.tokens(), repeat), whole.kernels(), gather.kernels()};
}

/// Runs this rank. False where its logits are not those that were expected.
bool run(const options& o) {
  const auto launched = sw::launched_by();
  take_device(launched);
  sw::tcp_rendezvous meeting =
      launched ? sw::tcp_rendezvous::from_environment(*launched) : sw::tcp_rendezvous({.rank = 0, .size = 1});
  auto ranks = sw::nccl::communicator::create(meeting, {.name = "lm_head"});

  const auto folder = sw::checkpoint::open(o.model);
  const auto source = sw::checkpoint::converted(folder);
  const sw::sharding sharding = shard_head(sw::tree_of(source, folder.config()), folder.config(), ranks.size());
  sw::require_same_schedule(meeting, sharding);
  const sw::sharded_parameter& weight = sharding[0];
  const matrix states = read_matrix(o.expect, "final_norm"), expected = read_matrix(o.expect, "logits");
  require_fit(o, states, expected, weight.shape);

  const sw::cuda::stream stream;
  const local_head head = load_head(sharding, ranks.rank(), source, stream);
  const sw::cuda::device_memory on_device(states.values.size() * sizeof(float));
  // On the stream that reads it: an own stream does not wait for cudaMemcpy's copies of pageable memory.
  sw::cuda::check(
      cudaMemcpyAsync(on_device.data(), states.values.data(), on_device.bytes(), cudaMemcpyHostToDevice, stream.get()),
      "cudaMemcpyAsync");
  sw::tally calls;
  sw::counted comm(ranks, calls);
  stepper step(comm, ranks, sharding, head, o.tokens == 0 ? states.rows : o.tokens, {.row_major_up_to = o.rows_up_to},
               stream);
  if (ranks.rank() == 0) {
    print_machine(launched, step.product_library().version());
    fmt::print("schedule: equal on all ranks ({}); a step is one gather_last_dim of '{}', {} x F32 a token\n",
               ranks.size(), module, weight.shape[0]);
    fmt::print("tokens a step: {}; logits {}\n", step.tokens(),
               step.row_major() ? "as rows [T, V]" : "as one segment [T, V/tp] for each rank");
  }

  const outcome eager = run_eagerly(step, on_device.data(), states, expected, o.repeat);
  const sw::tally::entry gathers = calls[sw::operation::gather_last_dim];
  std::string line =
      fmt::format("rank {} of {}: {} of {} rows of {}, {} bytes read; gathers: {} x {} bytes, {:.1f} us a step",
                  ranks.rank(), ranks.size(), head.weight.shape[0], weight.shape[0], weight.name, head.read.bytes_read,
                  gathers.calls, gathers.bytes / gathers.calls, eager.microseconds);
  double difference = eager.difference;
  if (o.graph) {
    const replay r = run_captured(step, stream, on_device.data(), states, expected, o.repeat);
    line += fmt::format("; graph: {} kernels, the gather's: {}, replayed: {} x, {:.1f} us a step", r.kernels,
                        r.gather_kernels, r.steps.steps, r.steps.microseconds);
    difference = std::max(difference, r.steps.difference);
  }
  const bool right = difference <= o.tolerance;
  fmt::print("{}; max |logit - expected|: {:.2e} ({} {:g})\n", line, difference, right ? "within" : "ABOVE",
             o.tolerance);
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

// SPDX-License-Identifier: Apache-2.0
// Ranks that are processes, started by mpirun: the same run on each of them, of which the first one prints.
#pragma once
#ifdef GENERATE_MPI
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <iterator>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "ranks.hpp"
#include "shardwise/mpi.hpp"

namespace generate {

namespace detail {
/// MPI from the start of the program to its end.
struct mpi_job {
  mpi_job() { MPI_Init(nullptr, nullptr); }
  mpi_job(const mpi_job&) = delete;
  ~mpi_job() { MPI_Finalize(); }
};

/// The texts of all processes, by rank. Collective.
template <sw::full_communicator C>
std::vector<std::string> gathered_texts(C& comm, const std::string& mine) {
  const auto ranks = static_cast<std::size_t>(comm.size());
  const auto length = static_cast<std::int64_t>(mine.size());
  std::vector<std::int64_t> lengths(ranks);
  comm.all_gather(&length, lengths.data(), 1, sw::dtype::i64, {});
  const std::vector<std::size_t> columns(lengths.begin(), lengths.end());
  std::string all(std::accumulate(columns.begin(), columns.end(), std::size_t{0}), '\0');
  comm.gather_last_dim(mine.data(), mine.size(), all.data(), all.size(), 1, columns, sw::dtype::u8, {});
  std::vector<std::string> texts;
  std::size_t at = 0;
  for (const std::size_t n : columns) {
    texts.push_back(all.substr(at, n));
    at += n;
  }
  return texts;
}

/// What the first process shows of the others goes to all of them: bytes, and the rest as text. Collective.
template <sw::full_communicator C>
std::vector<rank_result> gathered(C& comm, rank_result mine) {
  const std::int64_t numbers[] = {
      static_cast<std::int64_t>(mine.weight_bytes), static_cast<std::int64_t>(mine.cache_bytes),
      static_cast<std::int64_t>(mine.state_bytes), static_cast<std::int64_t>(mine.residual_bytes),
      static_cast<std::int64_t>(mine.activation_bytes)};
  constexpr std::size_t count = std::size(numbers);
  const auto ranks = static_cast<std::size_t>(comm.size());
  std::vector<std::int64_t> all(count * ranks);
  comm.all_gather(numbers, all.data(), count, sw::dtype::i64, {});
  const auto sums = gathered_texts(comm, to_lines(mine.sums));
  const auto traces = gathered_texts(comm, mine.trace);

  std::vector<rank_result> results(ranks);
  results[static_cast<std::size_t>(comm.rank())] = std::move(mine);
  for (std::size_t r = 0; r < ranks; ++r) {
    results[r].weight_bytes = static_cast<std::size_t>(all[r * count]);
    results[r].cache_bytes = static_cast<std::size_t>(all[r * count + 1]);
    results[r].state_bytes = static_cast<std::size_t>(all[r * count + 2]);
    results[r].residual_bytes = static_cast<std::size_t>(all[r * count + 3]);
    results[r].activation_bytes = static_cast<std::size_t>(all[r * count + 4]);
    results[r].sums = from_lines(sums[r]);
    results[r].trace = traces[r];
  }
  return results;
}
}  // namespace detail

class processes {
 public:
  processes() : comm_(sw::mpi::communicator::adopt(MPI_COMM_WORLD, {.deadline = rank_deadline})) {
    MPI_Comm_dup(MPI_COMM_WORLD, &failures_);
  }
  processes(const processes&) = delete;
  ~processes() { MPI_Comm_free(&failures_); }

  bool first() const { return comm_.rank() == 0; }

  std::vector<int> sizes(const std::vector<int>& asked) const {
    for (const int tp : asked) {
      if (tp == comm_.size()) continue;
      throw sw::error("--tp ", tp, " is not the number of processes, which is ", comm_.size(),
                      ": start as many, or leave --tp out");
    }
    return {comm_.size()};
  }

  template <class Source>
  std::vector<rank_result> run(const sw::sharding& sharding, const Source& source, const model_config& config,
                               const prompt& p, const run_options& options) {
    return detail::gathered(comm_, run_rank(comm_, sharding, source, config, p, options));
  }

  /// Throws in all processes where `f` throws in the first one.
  template <class F>
  bool first_decides(F f) {
    enum : std::uint8_t { no, yes, failed } said = no;
    std::exception_ptr thrown;
    if (first()) {
      try {
        said = f() ? yes : no;
      } catch (...) {
        thrown = std::current_exception();
        said = failed;
      }
    }
    comm_.broadcast(&said, 1, sw::dtype::u8, 0, {});
    if (thrown) std::rethrow_exception(thrown);
    if (said == failed) throw sw::error("rank 0 failed");
    return said == yes;
  }

  /// The first process says why it fails. Returns where all fail; where only some do, they end the job, in which the
  /// others wait for them.
  void fail_together(const std::string& why) {
    if (first()) say("error: " + why);
    MPI_Request all = MPI_REQUEST_NULL;
    MPI_Ibarrier(failures_, &all);
    for (int waited = 0, done = 0; waited < 5000; ++waited) {
      MPI_Test(&all, &done, MPI_STATUS_IGNORE);
      if (done != 0) return;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (!first()) say("error: rank " + std::to_string(comm_.rank()) + ": " + why);
    MPI_Abort(MPI_COMM_WORLD, 1);
  }

 private:
  static void say(const std::string& text) {
    std::fprintf(stderr, "%s\n", text.c_str());
    std::fflush(stderr);
  }

  detail::mpi_job job_;
  sw::mpi::communicator comm_;
  MPI_Comm failures_ = MPI_COMM_NULL;
};

}  // namespace generate
#endif

// SPDX-License-Identifier: Apache-2.0
// How a communicator over MPI waits, and what it does when it has waited in vain.
#pragma once
#include <chrono>
#include <cstddef>
#include <functional>

#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace mpi {

/// A value; what must be the same on all ranks is said of each.
struct options {
  /// How long a rank waits for the others in one collective, and in the release of a communicator that `split` made.
  std::chrono::milliseconds deadline = std::chrono::seconds(30);

  /// Called with the sentence that stderr got, before MPI_Abort ends the job: the place for a log. MPI may still write
  /// to the buffers of the collective, so that it must free none of them, and throw nothing.
  std::function<void(const comm_error&)> on_failure = nullptr;

  /// Up to so many bytes a call of MPI counts by its `int`; beyond it data moves in one call of larger elements (a
  /// derived datatype), and a reduction is several calls, of 64 MiB at the most in any case. No more than the default
  /// is possible. The same on all ranks.
  std::size_t largest_message = std::size_t{1} << 30;

  /// Before each collective the ranks compare what they call, by one small collective more; where the calls do not
  /// match, all of them throw the `comm_error` that says so, as ranks in a process do. Without it such calls end at the
  /// deadline, or, as MPI may do what it likes with them, in wrong numbers. For tests, and the first runs of a program.
  /// The same on all ranks.
  bool compare_calls = false;
};

}  // namespace mpi
}  // namespace v0
}  // namespace shardwise

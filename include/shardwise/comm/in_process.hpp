// SPDX-License-Identifier: Apache-2.0
// Ranks as threads of one process: a communicator without a GPU, without a network and without a hang.
#pragma once
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <string_view>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/comm/detail/deadline.hpp"
#include "shardwise/comm/detail/in_process_rank.hpp"

namespace shardwise {
inline namespace v0 {

struct in_process_options {
  /// How long a rank waits for the others in one collective.
  std::chrono::milliseconds deadline = std::chrono::seconds(30);
};

namespace detail {
// Calls `body` as rank `rank`, and lets the others know how it ended.
template <class Body>
void run_in_process_rank(in_process_world& world, int rank, const Body& body) noexcept {
#if defined(__cpp_exceptions)
  try {
    body();
    world.returned(rank);
  } catch (const std::exception& e) {
    world.threw(rank, e.what(), std::current_exception());
  } catch (...) {
    world.threw(rank, "an exception that is no std::exception", std::current_exception());
  }
#else
  body();
  world.returned(rank);
#endif
}

// When all ranks have ended: throws what the first one to fail has thrown, as it was but for its rank before the text.
inline void rethrow_root_cause(in_process_world& world) {
  const std::exception_ptr cause = world.root_cause();
  if (!cause) return;
#if defined(__cpp_exceptions)
  try {
    std::rethrow_exception(cause);
  } catch (error& e) {
    const error original = e;
    if (world.first_to_throw() >= 0) e = error("rank ", world.first_to_throw(), ": ", original.text());
    throw;  // the same object, so that its type stays
  }
#endif
}

// Joins whatever happens: threads that were not started are as good as returned.
class in_process_threads {
 public:
  explicit in_process_threads(in_process_world& world) : world_(world) {}
  in_process_threads(const in_process_threads&) = delete;
  in_process_threads& operator=(const in_process_threads&) = delete;
  ~in_process_threads() {
    for (int r = static_cast<int>(threads_.size()); r < world_.size(); ++r) world_.returned(r);
    for (std::thread& t : threads_) t.join();
  }
  template <class F>
  void start(F f) {
    threads_.emplace_back(std::move(f));
  }

 private:
  in_process_world& world_;
  std::vector<std::thread> threads_;
};
}  // namespace detail

/// Calls `fn(in_process_communicator&)` once on each of `ranks` threads, and returns what they returned, by rank (void
/// if nothing). Returns when `fn` has ended on every rank; a rank that is not in a collective cannot be interrupted.
///
/// The first failure ends all: a rank that throws, or returns while others wait for it, one that does not come to a
/// collective within the deadline, calls that do not match. The others get a `comm_error` with the first reason, in the
/// collective in which they stand or at their next one. The caller gets what the rank that failed has thrown, with
/// "rank r: " before its text if it is a `shardwise::error`. What `fn` catches is not passed on.
template <class F>
auto in_process(int ranks, F&& fn, in_process_options options = {}) {
  using result = std::decay_t<std::invoke_result_t<F&, in_process_communicator&>>;
  options.deadline = detail::require_deadline(options.deadline, "in_process");
  if (ranks < 1) detail::raise(comm_error("in_process needs at least 1 rank, and was asked for ", ranks));
  const auto world = std::make_shared<detail::in_process_world>(ranks, options.deadline);
  const auto group = detail::in_process_group::whole(world);
  const auto run_all = [&](const auto& call) {
    {
      detail::in_process_threads threads(*world);
      for (int r = 0; r < ranks; ++r) {
        threads.start([&, r] {
          detail::run_in_process_rank(*world, r, [&] {
            in_process_communicator comm(group, r);
            call(comm);
          });
        });
      }
    }
    detail::rethrow_root_cause(*world);
  };
  if constexpr (std::is_void_v<result>) {
    run_all(fn);
  } else {
    std::vector<std::optional<result>> kept(static_cast<std::size_t>(ranks));
    run_all([&](in_process_communicator& comm) { kept[static_cast<std::size_t>(comm.rank())].emplace(fn(comm)); });
    std::vector<result> results;
    results.reserve(kept.size());
    for (auto& r : kept) results.push_back(std::move(*r));
    return results;
  }
}

}  // namespace v0
}  // namespace shardwise

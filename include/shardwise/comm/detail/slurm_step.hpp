// SPDX-License-Identifier: Apache-2.0
// What Slurm's variables say of the step in which this process runs, if it runs in one.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/comm/detail/environment_reader.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// "node[01-03,07],gpu5" -> "node01"; "" where it is no such list
inline std::string first_of_hosts(std::string_view list) {
  std::string host;
  while (!list.empty() && list.front() != ',') {
    const char c = list.front();
    list.remove_prefix(1);
    if (c == '[') {
      // The first number of the bracket; what follows it there is of other hosts.
      const std::size_t close = list.find(']');
      const std::size_t digits = std::min(list.find_first_not_of("0123456789"), list.size());
      if (close == std::string_view::npos || digits == 0) return "";
      if (list.substr(0, close).find_first_not_of("0123456789,-") != std::string_view::npos) return "";
      host += list.substr(0, digits);
      list.remove_prefix(close + 1);
    } else if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '.' || c == '-' ||
               c == '_') {
      host += c;
    } else {
      return "";
    }
  }
  return host;
}

/// "4(x2),3" -> 4, 4, 3; empty where it is no such list
inline std::vector<int> tasks_per_node(std::string_view list) {
  constexpr std::int64_t most = 1 << 20;
  std::vector<int> tasks;
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    std::string_view part = list.substr(0, comma);
    list = comma == std::string_view::npos ? std::string_view() : list.substr(comma + 1);
    std::int64_t count = 0, times = 1;
    if (const std::size_t open = part.find("(x"); open != std::string_view::npos) {
      if (part.back() != ')' || !read_number(part.substr(open + 2, part.size() - open - 3), times)) return {};
      part = part.substr(0, open);
    }
    const bool ends_in_comma = comma != std::string_view::npos && list.empty();
    if (!read_number(part, count) || count < 1 || count > most || times < 1 || times > most || ends_in_comma) return {};
    if (static_cast<std::int64_t>(tasks.size()) + times > most) return {};
    tasks.insert(tasks.end(), static_cast<std::size_t>(times), static_cast<int>(count));
  }
  return tasks;
}

class slurm_step {
 public:
  explicit slurm_step(const environment_reader& env) : env_(env) {}

  /// Is there a word of tasks? There may be where none was launched: in the shells of salloc and sbatch.
  bool has_tasks() const { return env_.has("SLURM_PROCID") || env_.has("SLURM_NTASKS"); }
  /// Was this process launched by srun?
  bool is_step() const { return env_.has("SLURM_PROCID") && size_variable() != nullptr && has_step(); }
  /// And is it that rank of that many?
  bool is_rank(int rank, int size) const {
    return is_step() && env_.text("SLURM_PROCID") == std::to_string(rank) &&
           env_.text(size_variable()) == std::to_string(size);
  }
  /// An error where nothing was launched, or only half of it is said.
  void require_launched() const {
    if (is_step()) return;
    const bool alone = env_.has("SLURM_PROCID") && env_.has("SLURM_NTASKS") && rank() == 0 && size() == 1;
    if (alone) return;
    constexpr const char* way_out =
        "; start the ranks with srun, or set SHARDWISE_RANK and SHARDWISE_WORLD_SIZE (0 and 1 for a single rank)";
    if (!env_.has("SLURM_PROCID")) {
      raise(comm_error("environment: SLURM_NTASKS is ", printable(env_.text("SLURM_NTASKS")),
                       " and SLURM_PROCID is not set: this is the shell of a Slurm allocation, in which no rank was "
                       "launched",
                       way_out));
    }
    if (size_variable() == nullptr) {
      raise(
          comm_error("environment: SLURM_PROCID is set and SLURM_NTASKS is not: this is a batch script, or half of a "
                     "step",
                     way_out));
    }
    raise(comm_error("environment: SLURM_PROCID is ", rank(), " and SLURM_NTASKS is ", size(),
                     ", but there is no step (SLURM_STEP_ID, SLURM_STEP_NODELIST): this is the batch script of an "
                     "allocation, and only one process runs it",
                     way_out));
  }

  int rank() const { return env_.number("SLURM_PROCID", 0, size() - 1, size_variable()); }
  int size() const { return env_.number(size_variable(), 1, 1 << 24); }
  /// What the size is taken from, or null.
  const char* size_variable() const {
    // SLURM_NTASKS may be the allocation's; what srun has launched is the step's.
    return has_step() ? env_.first_of({"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}) : env_.first_of({"SLURM_NTASKS"});
  }
  /// What the tasks on this node are taken from, or null.
  const char* local_size_variable() const {
    return env_.first_of({"SLURM_STEP_TASKS_PER_NODE", "SLURM_TASKS_PER_NODE"});
  }
  /// Tasks on this node; -1 where that is not said of this step.
  int local_size() const {
    const char* variable = local_size_variable();
    if (variable == nullptr) return -1;
    const std::vector<int> tasks = tasks_per_node(env_.text(variable));
    if (tasks.empty()) {
      raise(comm_error("environment: ", variable, " is '", printable(env_.text(variable)),
                       "', which is no list such as 4(x2),3; set SHARDWISE_LOCAL_WORLD_SIZE"));
    }
    std::int64_t sum = 0;
    for (const int n : tasks) sum += n;
    if (sum != size()) return -1;  // of the allocation, not of this step
    if (tasks.size() == 1) return tasks[0];
    if (!env_.has("SLURM_NODEID")) return -1;
    return tasks[static_cast<std::size_t>(
        env_.number("SLURM_NODEID", 0, static_cast<int>(tasks.size()) - 1, variable))];
  }
  /// Where the step's rank 0 is; "" where that is not said.
  std::string first_host() const {
    if (!env_.has("SLURM_STEP_NODELIST")) return "";
    const std::string list = env_.text("SLURM_STEP_NODELIST");
    std::string host = first_of_hosts(list);
    if (!host.empty()) return host;
    raise(comm_error("environment: SLURM_STEP_NODELIST is '", printable(std::string_view(list).substr(0, 200)),
                     "', which is no list of hosts such as node[01-03,07],gpu5; set SHARDWISE_MASTER_ADDR"));
  }
  /// As others compute it too, so that all ranks come to the same without a word.
  int port() const { return static_cast<int>(env_.wide_number("SLURM_JOB_ID", 0, 0xffffffff) % 4096 + 61440); }
  /// "job 123, step 0" as "123.0"
  std::string job() const {
    const char* id = id_variable();
    const std::string number = env_.text("SLURM_JOB_ID");
    return number.empty() || id == nullptr ? number : number + "." + env_.text(id);
  }

 private:
  const char* id_variable() const { return env_.first_of({"SLURM_STEP_ID", "SLURM_STEPID"}); }
  // A batch script and the shell of salloc may have a step of their own, with a number close to 2^32.
  bool has_step() const {
    const char* id = id_variable();
    if (id == nullptr) return env_.has("SLURM_STEP_NODELIST");
    return env_.wide_number(id, 0, 0xffffffff) < 0xfffffff0;
  }

  const environment_reader& env_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise

// SPDX-License-Identifier: Apache-2.0
// Which rank of how many this process is, by what a launcher has left in its environment.
#pragma once
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>

#include "shardwise/comm/detail/environment_reader.hpp"
#include "shardwise/comm/detail/slurm_step.hpp"
#include "shardwise/error.hpp"

namespace shardwise {
inline namespace v0 {

#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"  // see operation.hpp
#endif
/// Whose variables said rank and size.
enum class launcher : unsigned char { shardwise, torchrun, open_mpi, mpich, mvapich2, slurm };
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/// "torchrun", "Open MPI"
constexpr std::string_view name_of(launcher l) {
  constexpr std::string_view names[] = {"shardwise", "torchrun", "Open MPI", "MPICH/Hydra", "MVAPICH2", "Slurm"};
  return names[static_cast<std::size_t>(l)];
}

/// What `launched_by` has found. A value.
struct launch_environment {
  launcher family = launcher::shardwise;
  int rank = 0;
  int size = 1;
  int local_rank = -1;           ///< among the ranks of this machine; -1: not said
  int local_size = -1;           ///< -1: not said
  std::string master_addr = {};  ///< where rank 0 is; empty: not said
  int master_port = 0;           ///< 0: not said
  std::string job = {};          ///< of this run; empty: not said
  std::string secret = {};       ///< SHARDWISE_JOB_SECRET
  std::string master_from = {};  ///< who said master_addr and master_port, for the log
};

/// For the log: who won, and all values but the secret.
/// 'torchrun: rank 3 of 8, local rank 3 of 4, rank 0 at 10.0.0.1:29500 (MASTER_ADDR, MASTER_PORT), job "7f2"'
inline std::string words_of(const launch_environment& e) {
  const auto number = [](int x) { return x < 0 ? std::string("?") : std::to_string(x); };
  std::string text = std::string(name_of(e.family)) + ": rank " + number(e.rank) + " of " + number(e.size);
  text += ", local rank " + number(e.local_rank) + " of " + number(e.local_size) + ", rank 0 at ";
  text += e.master_addr.empty() ? "?" : detail::printable(e.master_addr);
  text += ":" + (e.master_port == 0 ? "?" : std::to_string(e.master_port));
  if (!e.master_from.empty()) text += " (" + e.master_from + ")";
  text += e.job.empty() ? ", job not named" : ", job \"" + detail::printable(e.job) + "\"";
  return text + (e.secret.empty() ? ", no job secret" : ", with a job secret");
}

namespace detail {
struct launcher_variables {
  launcher family;
  const char* rank;
  const char* size;
  const char* local_rank[2];  ///< the first that is set
  const char* local_size[2];
};
// In the order of precedence.
inline constexpr launcher_variables launcher_table[] = {
    {launcher::shardwise, "SHARDWISE_RANK", "SHARDWISE_WORLD_SIZE", {}, {}},
    {launcher::torchrun, "RANK", "WORLD_SIZE", {"LOCAL_RANK"}, {"LOCAL_WORLD_SIZE"}},
    {launcher::open_mpi,
     "OMPI_COMM_WORLD_RANK",
     "OMPI_COMM_WORLD_SIZE",
     {"OMPI_COMM_WORLD_LOCAL_RANK"},
     {"OMPI_COMM_WORLD_LOCAL_SIZE"}},
    {launcher::mpich,
     "PMI_RANK",
     "PMI_SIZE",
     {"MPI_LOCALRANKID", "PMI_LOCAL_RANK"},
     {"MPI_LOCALNRANKS", "PMI_LOCAL_SIZE"}},
    {launcher::mvapich2,
     "MV2_COMM_WORLD_RANK",
     "MV2_COMM_WORLD_SIZE",
     {"MV2_COMM_WORLD_LOCAL_RANK"},
     {"MV2_COMM_WORLD_LOCAL_SIZE"}}};

class launch_detector {
 public:
  explicit launch_detector(const environment_reader& env) : env_(env), slurm_(env) {}

  std::optional<launch_environment> run() {
    if (!find_family()) return std::nullopt;
    local();
    master();
    job();
    result_.secret = env_.text("SHARDWISE_JOB_SECRET");
    return result_;
  }

 private:
  bool find_family() {
    for (const launcher_variables& v : launcher_table) {
      if (!env_.has(v.rank) && !env_.has(v.size)) continue;
      require_both(v);
      result_.family = v.family;
      result_.size = env_.number(v.size, 1, most_ranks);
      result_.rank = env_.number(v.rank, 0, result_.size - 1, v.size);
      variables_ = &v;
      return true;
    }
    if (!slurm_.has_tasks()) return false;
    slurm_.require_launched();
    result_.family = launcher::slurm;
    result_.size = slurm_.size();
    result_.rank = slurm_.rank();
    return true;
  }
  void require_both(const launcher_variables& v) const {
    if (env_.has(v.rank) && env_.has(v.size)) return;
    const bool no_rank = !env_.has(v.rank);
    raise(comm_error("environment: ", no_rank ? v.size : v.rank, " is set and ", no_rank ? v.rank : v.size,
                     " is not: ", name_of(v.family),
                     " sets both; set both, or unset the one (SHARDWISE_RANK and "
                     "SHARDWISE_WORLD_SIZE come before all others)"));
  }

  void local() {
    const char* rank = "SHARDWISE_LOCAL_RANK";
    const char* size = "SHARDWISE_LOCAL_WORLD_SIZE";
    if (variables_ != nullptr) {
      if (!env_.has(rank)) rank = env_.first_of(variables_->local_rank);
      if (!env_.has(size)) size = env_.first_of(variables_->local_size);
    }
    const char* world = variables_ == nullptr ? slurm_.size_variable() : variables_->size;
    if (env_.has(size)) {
      result_.local_size = env_.number(size, 1, result_.size, world);
    } else if (variables_ == nullptr) {
      result_.local_size = slurm_.local_size();
      size = slurm_.local_size_variable();
    }
    // Where nobody says how many ranks are on this machine it may be all of them.
    const bool known = result_.local_size > 0;
    const int most = (known ? result_.local_size : result_.size) - 1;
    if (variables_ == nullptr && !env_.has(rank)) rank = "SLURM_LOCALID";
    if (env_.has(rank)) result_.local_rank = env_.number(rank, 0, most, known ? size : world);
  }

  void master() {
    // Of a Slurm step whose ranks these are, whoever has numbered them: torchrun and PMI do so inside srun.
    const bool in_step = variables_ == nullptr || slurm_.is_rank(result_.rank, result_.size);
    if (const char* v = env_.first_of({"SHARDWISE_MASTER_ADDR", "MASTER_ADDR"}); v != nullptr) {
      result_.master_addr = env_.text(v);
      result_.master_from = v;
    } else if (in_step) {
      result_.master_addr = slurm_.first_host();
      if (!result_.master_addr.empty()) result_.master_from = "the first host of SLURM_STEP_NODELIST";
    }
    std::string_view port_from;
    if (const char* v = env_.first_of({"SHARDWISE_MASTER_PORT", "MASTER_PORT"}); v != nullptr) {
      result_.master_port = env_.number(v, 1, 65535);
      port_from = v;
      // torchrun's agent listens at MASTER_PORT itself; ranks of torch find their store there.
      if (port_from == "MASTER_PORT" && result_.family == launcher::torchrun &&
          env_.text("TORCHELASTIC_USE_AGENT_STORE") == "True") {
        result_.master_port = result_.master_port == 65535 ? 65534 : result_.master_port + 1;
        port_from = "beside MASTER_PORT, which torchrun's agent holds";
      }
    } else if (in_step && env_.has("SLURM_JOB_ID")) {
      result_.master_port = slurm_.port();
      port_from = "61440 + SLURM_JOB_ID mod 4096";
    }
    if (!result_.master_from.empty() && !port_from.empty()) result_.master_from += ", ";
    result_.master_from += port_from;
  }

  void job() {
    if (const char* v = env_.first_of({"SHARDWISE_JOB", "TORCHELASTIC_RUN_ID"}); v != nullptr) {
      // torchrun says "none" where it was given no id.
      if (env_.text(v) != "none") result_.job = env_.text(v);
    }
    // A step is a name for those whom srun has started: its own ranks, or the torchrun of each node. mpirun starts some
    // ranks in a step of its own and those beside it in none, but tells all of them one namespace.
    const bool may_be_of_step = variables_ == nullptr || result_.family == launcher::torchrun;
    if (result_.job.empty() && may_be_of_step && slurm_.is_step()) result_.job = slurm_.job();
    if (result_.job.empty()) result_.job = env_.text("PMIX_NAMESPACE");
  }

  static constexpr int most_ranks = 1 << 24;
  const environment_reader& env_;
  slurm_step slurm_;
  launch_environment result_ = {};
  const launcher_variables* variables_ = nullptr;  ///< null: Slurm's
};
}  // namespace detail

/// What the environment says, by the first of these families of variables that is there; explicit values, such as those
/// in `tcp_rendezvous_options`, come before all of it:
///   1. SHARDWISE_RANK, SHARDWISE_WORLD_SIZE
///   2. torchrun: RANK, WORLD_SIZE (also where torchrun runs below srun or mpirun)
///   3. Open MPI: OMPI_COMM_WORLD_RANK, OMPI_COMM_WORLD_SIZE
///   4. MPICH, Intel MPI: PMI_RANK, PMI_SIZE
///   5. MVAPICH2: MV2_COMM_WORLD_RANK, MV2_COMM_WORLD_SIZE
///   6. Slurm: SLURM_PROCID, SLURM_NTASKS (in a step, SLURM_STEP_NUM_TASKS before that)
/// Nothing where none of them is: the caller decides whether that is a single rank or an error. Rank and size are of
/// one family: half a family that comes first is a `comm_error` that names the missing variable; so is a number that is
/// none, or out of range, and a Slurm allocation in which nothing was launched. A variable that is empty is not set.
///
/// SHARDWISE_LOCAL_RANK, SHARDWISE_LOCAL_WORLD_SIZE, SHARDWISE_MASTER_ADDR, SHARDWISE_MASTER_PORT and SHARDWISE_JOB
/// come before the family's own. The job is else TORCHELASTIC_RUN_ID, the step of Slurm's own ranks and of torchrun's,
/// or PMIX_NAMESPACE; its name is the same on all ranks of one run, or empty. MASTER_ADDR and MASTER_PORT are taken
/// under any launcher; where they are not set and this is a Slurm step, they are its first host, and 61440 + job id mod
/// 4096. Where torchrun's agent holds MASTER_PORT (TORCHELASTIC_USE_AGENT_STORE), the port is the one beside it.
///
/// `lookup` is called as std::getenv is. No other thread may change the environment meanwhile.
template <class Lookup>
std::optional<launch_environment> launched_by(const Lookup& lookup) {
  const detail::environment_reader env(lookup);
  return detail::launch_detector(env).run();
}
inline std::optional<launch_environment> launched_by() {
  return launched_by([](const char* name) -> const char* { return std::getenv(name); });
}

}  // namespace v0
}  // namespace shardwise

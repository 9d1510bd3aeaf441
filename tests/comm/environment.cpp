// SPDX-License-Identifier: Apache-2.0
// What launchers leave in the environment: who wins, what is taken from where, and the traps.
#include "shardwise/comm/environment.hpp"

#include <cstdlib>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "catch.hpp"
#include "rendezvous_support.hpp"

using namespace rendezvous_test;
using sw::launcher;

namespace {

using variables = std::map<std::string, std::string>;

auto lookup_in(const variables& v) {
  return [&v](const char* name) -> const char* {
    const auto found = v.find(name);
    return found == v.end() ? nullptr : found->second.c_str();
  };
}
std::optional<sw::launch_environment> launched(const variables& v) { return sw::launched_by(lookup_in(v)); }
variables operator+(variables a, const variables& b) {
  for (const auto& [name, value] : b) a[name] = value;
  return a;
}
std::string error_of(const variables& v) {
  return told_by([&] { (void)launched(v); });
}

const variables ours{{"SHARDWISE_RANK", "1"}, {"SHARDWISE_WORLD_SIZE", "11"}};
const variables torchrun{{"RANK", "2"},
                         {"WORLD_SIZE", "12"},
                         {"LOCAL_RANK", "0"},
                         {"LOCAL_WORLD_SIZE", "2"},
                         {"MASTER_ADDR", "10.0.0.1"},
                         {"MASTER_PORT", "29500"},
                         {"TORCHELASTIC_RUN_ID", "7f2"}};
const variables open_mpi{{"OMPI_COMM_WORLD_RANK", "3"},
                         {"OMPI_COMM_WORLD_SIZE", "13"},
                         {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                         {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}};
const variables hydra{{"PMI_RANK", "4"}, {"PMI_SIZE", "14"}, {"MPI_LOCALRANKID", "2"}, {"MPI_LOCALNRANKS", "7"}};
const variables mvapich{{"MV2_COMM_WORLD_RANK", "5"},
                        {"MV2_COMM_WORLD_SIZE", "15"},
                        {"MV2_COMM_WORLD_LOCAL_RANK", "3"},
                        {"MV2_COMM_WORLD_LOCAL_SIZE", "5"}};
// The tasks of `srun -n 11` on three nodes; the variables of the allocation say otherwise.
const variables slurm{{"SLURM_JOB_ID", "4097"},
                      {"SLURM_STEP_ID", "0"},
                      {"SLURM_PROCID", "6"},
                      {"SLURM_NTASKS", "11"},
                      {"SLURM_STEP_NUM_TASKS", "11"},
                      {"SLURM_LOCALID", "2"},
                      {"SLURM_NODEID", "1"},
                      {"SLURM_STEP_TASKS_PER_NODE", "4(x2),3"},
                      {"SLURM_TASKS_PER_NODE", "16(x3)"},
                      {"SLURM_STEP_NODELIST", "node[01-03,07],gpu5"},
                      {"SLURM_JOB_NODELIST", "head,node[01-03,07],gpu5"}};

}  // namespace

TEST_CASE("each launcher's own rank, size, local rank, local size, master and job") {
  struct expected {
    const variables& v;
    sw::launch_environment e;
  };
  const expected table[] = {
      {ours, {.family = launcher::shardwise, .rank = 1, .size = 11}},
      {torchrun,
       {.family = launcher::torchrun,
        .rank = 2,
        .size = 12,
        .local_rank = 0,
        .local_size = 2,
        .master_addr = "10.0.0.1",
        .master_port = 29500,
        .job = "7f2"}},
      {open_mpi, {.family = launcher::open_mpi, .rank = 3, .size = 13, .local_rank = 1, .local_size = 4}},
      {hydra, {.family = launcher::mpich, .rank = 4, .size = 14, .local_rank = 2, .local_size = 7}},
      {mvapich, {.family = launcher::mvapich2, .rank = 5, .size = 15, .local_rank = 3, .local_size = 5}},
      {slurm,
       {.family = launcher::slurm,
        .rank = 6,
        .size = 11,
        .local_rank = 2,
        .local_size = 4,
        .master_addr = "node01",
        .master_port = 61441,
        .job = "4097.0"}},
  };
  for (const expected& x : table) {
    CAPTURE(sw::name_of(x.e.family));
    const auto e = launched(x.v);
    REQUIRE(e);
    CHECK(e->family == x.e.family);
    CHECK(e->rank == x.e.rank);
    CHECK(e->size == x.e.size);
    CHECK(e->local_rank == x.e.local_rank);
    CHECK(e->local_size == x.e.local_size);
    CHECK(e->master_addr == x.e.master_addr);
    CHECK(e->master_port == x.e.master_port);
    CHECK(e->job == x.e.job);
    CHECK(e->secret == "");
  }
}

TEST_CASE("the family that comes first wins, whatever is there beside it") {
  const variables families[] = {ours, torchrun, open_mpi, hydra, mvapich, slurm};
  for (int first = 0; first < 6; ++first) {
    variables all;
    for (int i = 5; i >= first; --i) all = all + families[i];
    CAPTURE(first);
    CHECK(launched(all)->family == static_cast<launcher>(first));
    CHECK(launched(all)->rank == first + 1);
    CHECK(launched(all)->size == (first == 5 ? 11 : first + 11));
  }
}

TEST_CASE("no launcher is no error, and says nothing") {
  CHECK_FALSE(launched({}));
  CHECK_FALSE(launched({{"MASTER_ADDR", "10.0.0.1"}, {"MASTER_PORT", "1"}, {"LOCAL_RANK", "0"}, {"RANK", ""}}));
  CHECK_FALSE(launched({{"SLURM_JOB_ID", "1"}, {"SLURM_JOB_NODELIST", "a"}}));  // salloc without -n
}

TEST_CASE("half a family is an error that names the other half, unless one before it is whole") {
  const struct {
    const char *rank, *size, *name;
  } families[] = {{"SHARDWISE_RANK", "SHARDWISE_WORLD_SIZE", "shardwise"},
                  {"RANK", "WORLD_SIZE", "torchrun"},
                  {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "Open MPI"},
                  {"PMI_RANK", "PMI_SIZE", "MPICH/Hydra"},
                  {"MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MVAPICH2"}};
  for (const auto& f : families) {
    CAPTURE(f.name);
    CHECK(has(error_of({{f.rank, "0"}}),
              std::string(f.rank) + " is set and " + f.size + " is not: " + f.name + " sets both"));
    CHECK(has(error_of({{f.size, "2"}, {f.rank, ""}}), std::string(f.size) + " is set and " + f.rank + " is not"));
    CHECK(has(error_of(slurm + variables{{f.rank, "0"}}), std::string(f.size) + " is not"));
    if (std::string(f.name) != "shardwise") CHECK(launched(ours + variables{{f.rank, "0"}})->rank == 1);
  }
}

TEST_CASE("numbers are read strictly, and named with their bounds") {
  const auto refused = [](const std::string& why, const variables& change) {
    CAPTURE(why);
    CHECK(error_of(torchrun + change) == "environment: " + why);
  };
  refused("RANK is 12, and must be from 0 to 11, as WORLD_SIZE is 12", {{"RANK", "12"}});
  refused("RANK is -1, and must be from 0 to 11, as WORLD_SIZE is 12", {{"RANK", "-1"}});
  for (const std::string text : {"one", "1.0", " 1", "1 ", "+1", "0x1", "1;2", "99999999999999999999"}) {
    refused("RANK is '" + text + "', which is no number", {{"RANK", text}});
  }
  refused("RANK is '1?', which is no number", {{"RANK", "1\n"}});
  refused("WORLD_SIZE is 0, and must be from 1 to 16777216", {{"WORLD_SIZE", "0"}});
  refused("WORLD_SIZE is 4294967298, and must be from 1 to 16777216", {{"WORLD_SIZE", "4294967298"}});
  refused("LOCAL_RANK is 2, and must be from 0 to 1, as LOCAL_WORLD_SIZE is 2", {{"LOCAL_RANK", "2"}});
  refused("LOCAL_RANK is 12, and must be from 0 to 11, as WORLD_SIZE is 12",
          {{"LOCAL_RANK", "12"}, {"LOCAL_WORLD_SIZE", ""}});
  refused("LOCAL_WORLD_SIZE is 13, and must be from 1 to 12, as WORLD_SIZE is 12", {{"LOCAL_WORLD_SIZE", "13"}});
  refused("MASTER_PORT is 0, and must be from 1 to 65535", {{"MASTER_PORT", "0"}});
  refused("MASTER_PORT is 65536, and must be from 1 to 65535", {{"MASTER_PORT", "65536"}});
}

TEST_CASE("a local rank is below the local size, and where that is not known below the world's") {
  CHECK(launched({{"RANK", "0"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "3"}})->local_rank == 3);
  CHECK(error_of({{"RANK", "0"}, {"WORLD_SIZE", "4"}, {"LOCAL_RANK", "4"}}) ==
        "environment: LOCAL_RANK is 4, and must be from 0 to 3, as WORLD_SIZE is 4");
  // Slurm's too, by the list that says how many tasks there are on this node.
  CHECK(error_of(slurm + variables{{"SLURM_LOCALID", "4"}}) ==
        "environment: SLURM_LOCALID is 4, and must be from 0 to 3, as SLURM_STEP_TASKS_PER_NODE is 4(x2),3");
  CHECK(error_of(slurm + variables{{"SLURM_LOCALID", "11"}, {"SLURM_STEP_TASKS_PER_NODE", ""}}) ==
        "environment: SLURM_LOCALID is 11, and must be from 0 to 10, as SLURM_STEP_NUM_TASKS is 11");
  CHECK(launched(slurm + variables{{"SHARDWISE_LOCAL_RANK", "1"}})->local_rank == 1);
}

TEST_CASE("our own variables come before a launcher's, one by one") {
  const auto e = launched(torchrun + variables{{"SHARDWISE_LOCAL_RANK", "3"},
                                               {"SHARDWISE_LOCAL_WORLD_SIZE", "6"},
                                               {"SHARDWISE_MASTER_PORT", "4242"},
                                               {"SHARDWISE_JOB", "mine"},
                                               {"SHARDWISE_JOB_SECRET", "open sesame"}});
  CHECK(e->local_rank == 3);
  CHECK(e->local_size == 6);
  CHECK(e->master_addr == "10.0.0.1");
  CHECK(e->master_port == 4242);
  CHECK(e->job == "mine");
  CHECK(e->secret == "open sesame");
  CHECK(launched(torchrun + variables{{"SHARDWISE_MASTER_ADDR", "10.0.0.2"}})->master_addr == "10.0.0.2");
}

TEST_CASE("under torchrun the port of its agent's own store is left alone, and an unnamed run has no name") {
  const variables agent{{"TORCHELASTIC_USE_AGENT_STORE", "True"}, {"TORCHELASTIC_RUN_ID", "none"}};
  CHECK(launched(torchrun + agent)->master_port == 29501);
  CHECK(launched(torchrun + agent + variables{{"MASTER_PORT", "65535"}})->master_port == 65534);
  CHECK(launched(torchrun + agent + variables{{"SHARDWISE_MASTER_PORT", "29500"}})->master_port == 29500);
  CHECK(launched(torchrun + variables{{"TORCHELASTIC_USE_AGENT_STORE", "False"}})->master_port == 29500);
  CHECK(launched(torchrun + agent)->job == "");
}

TEST_CASE("a Slurm allocation in which nothing was launched is an error with the way out") {
  const std::string way_out = "start the ranks with srun, or set SHARDWISE_RANK and SHARDWISE_WORLD_SIZE";
  const auto refused = [&](const std::string& why, const variables& v) {
    CAPTURE(why);
    CHECK(has(error_of(v), why));
    CHECK(has(error_of(v), way_out));
    CHECK(launched(v + torchrun)->family == launcher::torchrun);
    CHECK(launched(v + ours)->rank == 1);
  };
  const variables allocation{{"SLURM_JOB_ID", "7"}, {"SLURM_NTASKS", "4"}, {"SLURM_JOB_NODELIST", "a,b"}};
  refused("SLURM_NTASKS is 4 and SLURM_PROCID is not set: this is the shell of a Slurm allocation", allocation);
  refused("SLURM_PROCID is 0 and SLURM_NTASKS is 4, but there is no step",
          allocation + variables{{"SLURM_PROCID", "0"}});
  refused("SLURM_PROCID is set and SLURM_NTASKS is not: this is a batch script",
          {{"SLURM_JOB_ID", "7"}, {"SLURM_PROCID", "0"}, {"SLURM_TASKS_PER_NODE", "4"}});
  // Steps of their own: 2^32 - 5 is the batch script's, 2^32 - 6 that of salloc's shell.
  for (const char* id : {"4294967291", "4294967290"}) {
    refused("SLURM_PROCID is 0 and SLURM_NTASKS is 4, but there is no step",
            allocation + variables{{"SLURM_PROCID", "0"},
                                   {"SLURM_STEP_ID", id},
                                   {"SLURM_STEP_NUM_TASKS", "1"},
                                   {"SLURM_STEP_NODELIST", "a"}});
  }
  // An allocation of one task is one rank.
  const auto alone = launched({{"SLURM_JOB_ID", "7"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "1"}});
  CHECK(alone->size == 1);
}

TEST_CASE("a step of fewer tasks than the allocation has is what counts") {
  const auto e = launched(slurm + variables{{"SLURM_NTASKS", "48"}});
  CHECK(e->size == 11);
  const auto only_list = launched({{"SLURM_JOB_ID", "8192"},
                                   {"SLURM_PROCID", "1"},
                                   {"SLURM_NTASKS", "2"},
                                   {"SLURM_STEP_NODELIST", "gpu5"},
                                   {"SLURM_TASKS_PER_NODE", "8"}});
  CHECK(only_list->size == 2);
  CHECK(only_list->local_size == -1);  // eight tasks a node are the allocation's
  CHECK(only_list->master_port == 61440);
}

TEST_CASE("Slurm's lists of tasks are read by node, and refused where they are none") {
  const auto local = [](const std::string& list, const std::string& node, const std::string& size) {
    return launched(slurm + variables{{"SLURM_STEP_TASKS_PER_NODE", list},
                                      {"SLURM_NODEID", node},
                                      {"SLURM_LOCALID", "0"},
                                      {"SLURM_NTASKS", size},
                                      {"SLURM_STEP_NUM_TASKS", size}})
        ->local_size;
  };
  CHECK(local("4(x2),3", "0", "11") == 4);
  CHECK(local("4(x2),3", "1", "11") == 4);
  CHECK(local("4(x2),3", "2", "11") == 3);
  CHECK(local("4(x2),3", "", "11") == -1);
  CHECK(local("11", "", "11") == 11);
  CHECK(local("1,2(x3),4", "4", "11") == 4);
  for (const char* list :
       {"x", "4(x2", "4(x0)", "4(x2),", ",4", "0", "-1", "4(2)", "4(x2)3", "9999999999(x3)", "1(x9999999)"}) {
    CAPTURE(list);
    CHECK(has(error_of(slurm + variables{{"SLURM_STEP_TASKS_PER_NODE", list}}),
              "SLURM_STEP_TASKS_PER_NODE is '" + std::string(list) + "', which is no list such as 4(x2),3; set SHARD"));
  }
  CHECK(has(error_of(slurm + variables{{"SLURM_NODEID", "3"}}), "SLURM_NODEID is 3, and must be from 0 to 2"));
}

TEST_CASE("the first host of Slurm's list is where rank 0 is") {
  const auto host = [](const std::string& list) {
    return launched(slurm + variables{{"SLURM_STEP_NODELIST", list}})->master_addr;
  };
  CHECK(host("gpu5") == "gpu5");
  CHECK(host("gpu5,node[01-03]") == "gpu5");
  CHECK(host("node[01-03,07],gpu5") == "node01");
  CHECK(host("node[007,009-012]") == "node007");
  CHECK(host("rack[2-3]-node[11,14]x,gpu5") == "rack2-node11x");
  CHECK(host("a-b_c.example.org,z") == "a-b_c.example.org");
  for (const char* list :
       {",a", "node[", "node[]", "node[-3]", "node[a]", "node[01-03", "no de", "node]", "node[1[2]]"}) {
    CAPTURE(list);
    CHECK(has(error_of(slurm + variables{{"SLURM_STEP_NODELIST", list}}),
              "SLURM_STEP_NODELIST is '" + std::string(list) + "', which is no list of hosts"));
  }
}

TEST_CASE("MASTER_ADDR and MASTER_PORT are taken under any launcher; a Slurm step's only by its own ranks") {
  const variables master{{"MASTER_ADDR", "10.0.0.9"}, {"MASTER_PORT", "4242"}};
  for (const variables& v : {ours, open_mpi, hydra, mvapich, slurm}) {
    CHECK(launched(v + master)->master_addr == "10.0.0.9");
    CHECK(launched(v + master)->master_port == 4242);
  }
  CHECK(launched(slurm + variables{{"MASTER_ADDR", "10.0.0.9"}})->master_port == 61441);
  // srun --mpi=pmi2 numbers its tasks for PMI too; mpirun within a step numbers its own.
  const auto pmi = launched(slurm + variables{{"PMI_RANK", "6"}, {"PMI_SIZE", "11"}});
  CHECK(pmi->family == launcher::mpich);
  CHECK(pmi->master_addr == "node01");
  const auto mpirun = launched(slurm + open_mpi);
  CHECK(mpirun->master_addr == "");
  CHECK(mpirun->master_port == 0);
}

TEST_CASE("all ranks of one run have the same job, wherever mpirun has started them") {
  // sbatch and mpirun: rank 0 beside mpirun in the batch script, rank 1 below what mpirun has started with srun.
  const variables run{{"OMPI_COMM_WORLD_SIZE", "2"}, {"PMIX_NAMESPACE", "3142975489"}, {"SLURM_JOB_ID", "123"}};
  const variables beside{{"OMPI_COMM_WORLD_RANK", "0"}, {"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "2"}};
  const variables below{{"OMPI_COMM_WORLD_RANK", "1"},
                        {"SLURM_PROCID", "0"},
                        {"SLURM_NTASKS", "1"},
                        {"SLURM_STEP_ID", "0"},
                        {"SLURM_STEP_NODELIST", "n2"}};
  CHECK(launched(run + beside)->job == "3142975489");
  CHECK(launched(run + below)->job == "3142975489");
  // Without a namespace there is no name that all would come to.
  const variables unnamed{{"PMIX_NAMESPACE", ""}};
  CHECK(launched(run + beside + unnamed)->job == "");
  CHECK(launched(run + below + unnamed)->job == "");
  // srun has started all of these, whatever numbers they have within torchrun.
  CHECK(launched(slurm + run + below)->job == "3142975489");
  CHECK(launched(slurm + torchrun + variables{{"TORCHELASTIC_RUN_ID", "none"}})->job == "4097.0");
  CHECK(launched(slurm + variables{{"PMIX_NAMESPACE", "slurm.pmix.4097.0"}})->job == "4097.0");
}

TEST_CASE("the line for the log names who won and all values but the secret") {
  CHECK(sw::words_of(*launched(torchrun + variables{{"SHARDWISE_JOB_SECRET", "open sesame"}})) ==
        "torchrun: rank 2 of 12, local rank 0 of 2, rank 0 at 10.0.0.1:29500 (MASTER_ADDR, MASTER_PORT), job \"7f2\", "
        "with a job secret");
  CHECK(
      sw::words_of(*launched(slurm)) ==
      "Slurm: rank 6 of 11, local rank 2 of 4, rank 0 at node01:61441 (the first host of SLURM_STEP_NODELIST, 61440 + "
      "SLURM_JOB_ID mod 4096), job \"4097.0\", no job secret");
  CHECK(sw::words_of(*launched(ours)) ==
        "shardwise: rank 1 of 11, local rank ? of ?, rank 0 at ?:?, job not named, no job secret");
}

TEST_CASE("the environment of this process is read where no other is given") {
  for (const auto& [name, value] : ours) ::setenv(name.c_str(), value.c_str(), 1);
  const auto e = sw::launched_by();
  for (const auto& [name, value] : ours) ::unsetenv(name.c_str());
  REQUIRE(e);
  CHECK(e->rank == 1);
  CHECK(e->size == 11);
}

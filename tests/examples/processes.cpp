// SPDX-License-Identifier: Apache-2.0
// `mpirun -np N generate --comm mpi`: every golden on processes instead of threads, and how it refuses.
#ifdef GENERATE_LAUNCH
#include "json.hpp"
#include "program.hpp"

namespace {
using namespace program;
using Catch::Matchers::ContainsSubstring;

outcome run_on(int processes, const std::string& arguments) {
  return run_command(std::string(GENERATE_LAUNCH) + " " + std::to_string(processes) + " '" GENERATE_PROGRAM "' " +
                     arguments + " --comm mpi");
}
std::string with_tp(int tp) { return " --tp " + std::to_string(tp); }

TEST_CASE("processes give every golden's logits, and each holds what Hugging Face's ranks hold", "[mpi]") {
  const temporary_folder folder;
  for (const golden_model& g : goldens()) {
    for (int tp : {2, 4}) {
      INFO(g.folder << with_tp(tp));
      const std::string logits = folder / "logits.safetensors", shards = folder / "shards.json";
      const outcome r =
          run_on(tp, g.at(g.prompt() + with_tp(tp) + " --plan hf --logits '" + logits + "' --shards '" + shards + "'"));
      INFO(r.err);
      REQUIRE(r.exit == 0);
      CHECK(difference(logits, g) <= g.tolerance);
      CHECK(ranks_of(shards) == ranks_of(golden(g.files + "/tp" + std::to_string(tp) + ".json")));
    }
  }
}

TEST_CASE("processes give every golden's 25 greedy tokens", "[mpi]") {
  for (const golden_model& g : goldens()) {
    for (int tp : {2, 4}) {
      INFO(g.folder << with_tp(tp));
      const outcome r = run_on(tp, g.at(g.greedy() + " --new-tokens 25"));  // as many ranks as processes
      CHECK(r.exit == 0);
      CHECK(r.out == tokens_line(golden(g.files + "/greedy.json")));
    }
  }
}

TEST_CASE("processes have the statistics of threads, and one of them prints", "[mpi]") {
  const golden_model& g = golden_of("qwen3_5_moe");
  const std::string arguments = g.at(g.greedy() + " --stats --new-tokens 4" + with_tp(2));
  const outcome processes = run_on(2, arguments);
  CHECK(processes.exit == 0);
  CHECK(processes.out == run(arguments).out);
  CHECK_THAT(processes.out, ContainsSubstring("rank 1: weights"));
}

TEST_CASE("what no process can do is refused once, and ends them all", "[mpi]") {
  const auto is_refused = [](int processes, const std::string& arguments, const std::string& why) {
    INFO(arguments);
    const outcome r = run_on(processes, arguments);
    INFO(r.err);
    CHECK(r.refused());
    CHECK_THAT(r.err, ContainsSubstring(why));
    CHECK(r.err.find("error: ", 1) == std::string::npos);
    CHECK_THAT(r.err, !ContainsSubstring("MPI_Abort"));
  };
  const std::string llama = golden_of("llama").at("--tokens 1,2,3 ");
  is_refused(2, llama + "--tp 3", "--tp 3 is not the number of processes, which is 2");
  is_refused(2, llama + "--tp 1,2", "--tp 1 is not the number of processes, which is 2");
  is_refused(4, golden_model{"llama_kv2"}.at("--tokens 1,2,3 --plan hf"), "2 key/value heads over 4 ranks");
  is_refused(2, llama + "--no-such-option", "--no-such-option");
  is_refused(2, golden_model{"nothing"}.at(""), "config.json cannot be opened");
  is_refused(2, llama + "--expect '" + golden("llama/expected.safetensors") + "'", "--expect has 32 rows");
  is_refused(2, llama + "--logits '" + golden("nothing/x.safetensors") + "'", "x.safetensors");
  CHECK(run_on(2, golden_of("llama").at(golden_of("llama").prompt()) + " --expect '" +
                      golden("llama/expected.safetensors") + "' --tolerance 1e-9")
            .exit == 1);
}

TEST_CASE("--help is printed by one process", "[mpi]") {
  const outcome r = run_on(2, "--help");
  CHECK(r.exit == 0);
  CHECK(r.out == run("--help").out);
}

}  // namespace
#endif

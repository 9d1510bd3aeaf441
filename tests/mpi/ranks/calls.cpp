// SPDX-License-Identifier: Apache-2.0
// What a rank is told of calls that are wrong, and what an engine keeps; each program ends with 0 where all is right.
#include <chrono>
#include <cstdio>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "rank.hpp"

namespace {
using namespace mpi_test;
using namespace std::chrono_literals;
using ranked = sw::mpi::communicator;
using sw::dtype;
using sw::reduction;

// What a rank is told of a call that is wrong by itself; each rank makes the same, so that nobody waits.
const named wrong_arguments("wrong arguments", [] {
  const environment mpi;
  ranked c = ranked::adopt(MPI_COMM_WORLD);
  float x[64] = {};
  const std::size_t ones[] = {1, 1, 1};
  const std::span<const std::size_t> pair(ones, 2);
  std::size_t wrong = 0;
  const auto told = [&](const std::string& expected, auto f) {
    try {
      f();
    } catch (const sw::comm_error& e) {
      if (std::string(e.what()) == expected) return;
      std::fprintf(stderr, "%s\n   instead of\n%s\n", e.what(), expected.c_str());
      ++wrong;
      return;
    }
    std::fprintf(stderr, "nothing instead of\n%s\n", expected.c_str());
    ++wrong;
  };
  const std::string me = "rank " + std::to_string(c.rank()) + " of 2 called ";
  const std::string of = "reductions are of f32, f64, f16, bf16, i32, i64 and u8; cast the tensor to one of them";
  const std::string one = "it needs one count for each rank of this communicator";
  told(me + "all_reduce of 4 i8 by sum (collective 1): " + of,
       [&] { c.all_reduce(x, x, 4, dtype::i8, reduction::sum); });
  told(me + "reduce_scatter of 4 f8_e4m3 by max (collective 2): " + of,
       [&] { c.reduce_scatter(x, x, 4, dtype::f8_e4m3, reduction::max); });
  told(me + "broadcast of 4 f32 from root 2 (collective 3): the root is not a rank of this communicator",
       [&] { c.broadcast(x, 4, dtype::f32, 2); });
  told(me + "gather_last_dim of 1 rows, columns [1, 1, 1], f32 (collective 4): " + one,
       [&] { c.gather_last_dim(x, 1, x + 32, 3, 1, ones, dtype::f32); });
  told(me + "gather_last_dim of 2 rows, columns [1, 1], f32 (collective 5): rows overlap: a stride is too short",
       [&] { c.gather_last_dim(x, 0, x + 32, 2, 2, pair, dtype::f32); });
  told(me + "all_to_all of f32 (collective 6): " + one, [&] { c.all_to_all(x, ones, x + 32, pair, dtype::f32); });
  told(me + "all_to_all of f32 (collective 7): it cannot be done in place",
       [&] { c.all_to_all(x, pair, x, pair, dtype::f32); });
  told(me + "all_gather of 1 f32 (collective 8): a buffer is null", [&] { c.all_gather(x, nullptr, 1, dtype::f32); });
  // A split counts for itself, and names the ranks of the whole.
  ranked part = c.split(0, -c.rank());
  told(me + "broadcast of 1 f32 from root 7 (collective 1 of the split {1, 0}): the root is not a rank of this "
            "communicator",
       [&] { part.broadcast(x, 1, dtype::f32, 7); });
  // After all of them the ranks still work together.
  x[0] = 1;
  c.all_reduce(x, x, 1, dtype::f32, reduction::sum);
  wrong += x[0] == 2 ? 0 : 1;

  const std::string adopt = "mpi::communicator::adopt: ";
  told(adopt + "the communicator is MPI_COMM_NULL", [] { (void)ranked::adopt(MPI_COMM_NULL); });
  told("the deadline of mpi::communicator is 0 ms; it must be above 0",
       [] { (void)ranked::adopt(MPI_COMM_WORLD, {.deadline = 0ms}); });
  std::string on_thread;
  std::thread([&] {
    try {
      (void)ranked::adopt(MPI_COMM_WORLD);
    } catch (const sw::comm_error& e) {
      on_thread = e.what();
    }
  }).join();
  wrong += on_thread.find("not the thread that initialized MPI") != std::string::npos ? 0 : 1;
  MPI_Comm between = MPI_COMM_NULL;
  MPI_Intercomm_create(MPI_COMM_SELF, 0, MPI_COMM_WORLD, 1 - c.rank(), 7, &between);
  told(adopt + "the communicator is one between two groups; give one of a single group",
       [&] { (void)ranked::adopt(between); });
  MPI_Comm_free(&between);
  return verdict(wrong);
});

// Calls that do not match, of ranks that compare: all of them are told, and go on.
const named different("different calls", [] {
  const environment mpi;
  ranked c = ranked::adopt(MPI_COMM_WORLD, {.deadline = 20s, .compare_calls = true});
  std::vector<float> send(64, 1), recv(64);
  const std::size_t columns[2][3] = {{1, 2, 1}, {1, 1, 2}}, ones[] = {1, 1, 1};
  const bool odd = c.rank() == 1;
  std::size_t wrong = 0;
  const auto told = [&](const std::string& expected, auto f) {
    std::string words = "nothing";
    try {
      f();
    } catch (const sw::comm_error& e) {
      words = e.what();
    }
    if (words.rfind(expected, 0) == 0) return;
    std::fprintf(stderr, "%s\n   instead of\n%s\n", words.c_str(), expected.c_str());
    ++wrong;
  };
  told("rank 0 called all_reduce of 8 f32 by sum, rank 1 called all_gather of 5 f32 (collective 1): every rank must",
       [&] {
         if (odd) return c.all_gather(send.data(), recv.data(), 5, dtype::f32);
         c.all_reduce(send.data(), recv.data(), 8, dtype::f32, reduction::sum);
       });
  told("rank 0 called barrier, rank 1 called split (collective 2): ", [&] { odd ? (void)c.split(0, 0) : c.barrier(); });
  told("rank 0 called broadcast of 4 f16 from root 2, rank 1 called broadcast of 4 f16 from root 1 (collective 3)",
       [&] { c.broadcast(recv.data(), 4, dtype::f16, odd ? 1 : 2); });
  told(
      "rank 0 called gather_last_dim of 2 rows, columns [1, 2, 1], f32, rank 1 called gather_last_dim of 2 rows, "
      "columns [1, 1, 2], f32 (collective 4)",
      [&] { c.gather_last_dim(send.data(), 4, recv.data(), 5, 2, columns[odd], dtype::f32); });
  told("rank 1 sends 2 f32 to rank 2, which expects 1, in all_to_all (collective 5): ",
       [&] { c.all_to_all(send.data(), odd ? columns[1] : ones, recv.data(), ones, dtype::f32); });
  told("rank 0 called reduce_scatter of 4 bf16 by max, rank 1 called reduce_scatter of 4 bf16 by sum (collective 6)",
       [&] { c.reduce_scatter(send.data(), recv.data(), 4, dtype::bf16, odd ? reduction::sum : reduction::max); });
  ranked part = c.split(c.rank() == 0 ? 1 : 0, 0);
  if (c.rank() != 0) {
    told(
        "rank 1 called broadcast of 1 f32 from root 0, rank 2 called all_gather of 1 f32 (collective 1 of the split "
        "{1, 2}): ",
        [&] {
          if (odd) return part.broadcast(recv.data(), 1, dtype::f32, 0);
          part.all_gather(send.data(), recv.data(), 1, dtype::f32);
        });
  }
  c.all_reduce(send.data(), recv.data(), 64, dtype::f32, reduction::sum);
  for (const float x : recv) wrong += x == 3 ? 0u : 1u;
  return verdict(wrong);
});

// Before MPI_Init and after MPI_Finalize.
const named outside("outside", [] {
  const auto says = [](const char* words, auto f) {
    try {
      f();
    } catch (const sw::comm_error& e) {
      return std::string(e.what()).find(words) != std::string::npos;
    }
    return false;
  };
  bool right = says("MPI is not initialized", [] { (void)ranked::adopt(MPI_COMM_WORLD); });
  MPI_Init(nullptr, nullptr);
  ranked c = ranked::adopt(MPI_COMM_WORLD), part = c.split(0, 0);
  MPI_Finalize();
  right &= says("MPI is finalized", [] { (void)ranked::adopt(MPI_COMM_WORLD); });
  right &= says("MPI is finalized", [&] { c.barrier(); });
  return right ? 0 : 1;  // and `part` is not freed any more
});

int errors = 0;
void count_error(MPI_Comm*, int*, ...) { ++errors; }

// The engine's error handler is its own between our calls, and its communicator is not freed.
const named engine("engine", [] {
  const environment mpi;
  MPI_Errhandler mine = MPI_ERRHANDLER_NULL;
  MPI_Comm_create_errhandler(count_error, &mine);
  MPI_Comm of_engine = MPI_COMM_NULL;
  MPI_Comm_dup(MPI_COMM_WORLD, &of_engine);
  MPI_Comm_set_errhandler(of_engine, mine);
  const auto fail_by_hand = [&] { MPI_Bcast(nullptr, -1, MPI_INT, 0, of_engine); };
  std::size_t wrong = 0;
  {
    ranked c = ranked::adopt(of_engine);
    wrong += c.native_handle() == of_engine ? 0 : 1;
    fail_by_hand();
    wrong += errors == 1 ? 0 : 1;
    c.barrier();
    try {
      c.broadcast(nullptr, 1, dtype::f32, 0);
      ++wrong;
    } catch (const sw::comm_error&) {
    }
    ranked part = c.split(0, 0);
    part.barrier();
    fail_by_hand();
    wrong += errors == 2 ? 0 : 1;
  }
  fail_by_hand();
  wrong += errors == 3 ? 0 : 1;
  int size = 0;
  MPI_Comm_size(of_engine, &size);
  wrong += size > 0 ? 0 : 1;
  MPI_Comm_free(&of_engine);
  MPI_Errhandler_free(&mine);
  return verdict(wrong);
});

}  // namespace

// SPDX-License-Identifier: Apache-2.0
// The suite of communicators over NCCL, one thread and one device a rank.
#include <cstddef>
#include <string>
#include <utility>
#include <vector>

#include "backend.hpp"
#include "catch.hpp"
#include "support.hpp"

using namespace nccl_test;

namespace {

class board_backend : public device_backend {
 public:
  board_backend(gpu_rank& whole, int* board) : device_backend(whole), board_(board) {}
  int* board() const { return board_; }

 private:
  int* board_;
};

}  // namespace

TEST_CASE("NCCL is a communicator as the others are, on one thread a rank", "[nccl]") {
  clean_slate slate;
  for (const auto& [ranks, blocking] : {std::pair{1, false}, {2, false}, {4, false}, {1, true}, {3, true}}) {
    CAPTURE(ranks, blocking);
    std::vector<int> board(static_cast<std::size_t>(ranks), 0);
    const auto flaws = on_gpus(ranks, {.blocking = blocking}, [&](gpu_rank& comm, cudaStream_t stream, host_rank&) {
      board_backend backend(comm, board.data());
      std::string text;
      for (const auto& c : comm_test::suite<board_backend, gpu_rank>()) {
        const std::size_t wrong = c.run(backend, comm, stream);
        if (wrong != 0) text += c.name + ": " + std::to_string(wrong) + " wrong; ";
      }
      return text;
    });
    for (const std::string& text : flaws) CHECK(text == "");
  }
  CHECK(fake_gpu::counted().findings == 0);
  CHECK(slate.left() == "");
}

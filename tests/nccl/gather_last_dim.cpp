// SPDX-License-Identifier: Apache-2.0
// gather_last_dim: which calls of NCCL it is made of, and where the columns go.
#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

#include "catch.hpp"
#include "support.hpp"

using namespace nccl_test;

namespace {

struct calls {
  std::uint64_t gathers, broadcasts, gathered_bytes, broadcast_bytes, groups, largest, launches;
  bool operator==(const calls&) const = default;
};
std::ostream& operator<<(std::ostream& out, const calls& c) {
  return out << c.gathers << " gathers of " << c.gathered_bytes << " bytes, " << c.broadcasts << " broadcasts of "
             << c.broadcast_bytes << " bytes, " << c.groups << " groups of at most " << c.largest << ", " << c.launches
             << " launches";
}

// What one rank's gather does, as an average over the ranks, which do the same. In place: the rank's rows lie where
// they go. Each element is 1000 * row + column of the whole; `wrong` is how many are not.
calls made_by(const std::vector<std::size_t>& columns, std::size_t rows, bool in_place, std::size_t gap,
              std::size_t& wrong) {
  const int ranks = static_cast<int>(columns.size());
  const std::size_t whole = std::accumulate(columns.begin(), columns.end(), std::size_t{0}), stride = whole + gap;
  clean_slate slate;
  calls made{};
  wrong = 0;
  for (const std::size_t of_rank :
       on_gpus(ranks, {.name = "logits"}, [&](gpu_rank&comm, cudaStream_t stream, host_rank&host) {
         const auto me = static_cast<std::size_t>(comm.rank());
         const std::size_t mine = columns[me];
         const std::size_t before = std::accumulate(columns.begin(), columns.begin() + comm.rank(), std::size_t{0});
         const std::size_t send_stride = in_place ? stride : mine + 1;
         const cu::device_memory recv(rows * stride * sizeof(float)), apart(rows * send_stride * sizeof(float));
         std::vector<float> image(rows * stride, -1), piece(rows * send_stride, -1);
         for (std::size_t row = 0; row < rows; ++row) {
           for (std::size_t j = 0; j < mine; ++j) {
             const auto x = static_cast<float>(1000 * row + before + j);
             (in_place ? image[row * stride + before + j] : piece[row * send_stride + j]) = x;
           }
         }
         cuda_test::copy_now(recv.data(), image.data(), recv.bytes());
         cuda_test::copy_now(apart.data(), piece.data(), apart.bytes());
         const auto* send = static_cast<const float*>(in_place ? recv.data() : apart.data()) + (in_place ? before : 0);
         host.barrier();
         if (comm.rank() == 0) fake_gpu::reset_counts();
         host.barrier();
         comm.gather_last_dim(send, send_stride, recv.data(), stride, rows, columns, sw::dtype::f32, stream);
         comm.wait(stream);
         host.barrier();
         if (comm.rank() == 0) {
           const auto gather = fake_gpu::operations("ncclAllGather"), cast = fake_gpu::operations("ncclBroadcast");
           const fake_gpu::totals all = fake_gpu::counted();
           const auto n = static_cast<std::uint64_t>(ranks);
           made = {gather.operations / n, cast.operations / n, gather.bytes / n, cast.bytes / n,
                   all.groups / n,        all.largest_group,   all.launches / n};
         }
         host.barrier();
         cuda_test::copy_now(image.data(), recv.data(), recv.bytes());
         std::size_t n = 0;
         for (std::size_t i = 0; i < image.size(); ++i) {
           const std::size_t row = i / stride, column = i % stride;
           n += image[i] != (column < whole ? static_cast<float>(1000 * row + column) : -1.0F) ? 1u : 0u;
         }
         return n;
       })) {
    wrong += of_rank;
  }
  return made;
}

}  // namespace

TEST_CASE("equal columns are one group of a gather a row, and one row is a plain gather", "[nccl]") {
  constexpr std::size_t width = 48;
  for (const int ranks : {1, 2, 4}) {
    for (const std::size_t rows : {1u, 2u, 16u, 64u, 256u}) {
      for (const bool in_place : {true, false}) {
        CAPTURE(ranks, rows, in_place);
        std::size_t wrong = 0;
        const calls made = made_by(std::vector<std::size_t>(static_cast<std::size_t>(ranks), width), rows, in_place,
                                   in_place ? 0 : 5, wrong);
        // A gather's bytes are counted as what one rank sends.
        const calls expected{.gathers = rows,
                             .broadcasts = 0,
                             .gathered_bytes = rows * width * 4,
                             .broadcast_bytes = 0,
                             .groups = rows == 1 ? 0u : 1u,
                             .largest = rows == 1 ? 0 : rows,
                             .launches = 1};
        CHECK(made == expected);
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("unequal columns are one group of a broadcast for each row and rank that has columns", "[nccl]") {
  const std::vector<std::vector<std::size_t>> shapes = {{48, 47}, {48, 48, 48, 5}, {3, 0, 0, 9}, {0, 7}};
  for (const auto& columns : shapes) {
    const std::size_t whole = std::accumulate(columns.begin(), columns.end(), std::size_t{0});
    std::size_t holders = 0;
    for (const std::size_t c : columns) holders += c != 0 ? 1u : 0u;
    for (const std::size_t rows : {1u, 2u, 16u, 64u, 256u}) {
      for (const bool in_place : {true, false}) {
        CAPTURE(columns, rows, in_place);
        std::size_t wrong = 0;
        const calls made = made_by(columns, rows, in_place, in_place ? 0 : 3, wrong);
        const calls expected{.gathers = 0,
                             .broadcasts = rows * holders,
                             .gathered_bytes = 0,
                             .broadcast_bytes = rows * whole * 4,
                             .groups = 1,
                             .largest = rows * holders,
                             .launches = 1};
        CHECK(made == expected);
        CHECK(wrong == 0);
      }
    }
  }
}

TEST_CASE("a group has at most 2048 calls", "[nccl]") {
  std::size_t wrong = 0;
  const calls equal = made_by({2, 2}, 5000, true, 0, wrong);
  CHECK(equal == calls{.gathers = 5000,
                       .broadcasts = 0,
                       .gathered_bytes = 5000 * 8,
                       .broadcast_bytes = 0,
                       .groups = 3,
                       .largest = 2048,
                       .launches = 3});
  CHECK(wrong == 0);
  // Rows of three calls each: 682 of them fit.
  const calls unequal = made_by({2, 1, 1}, 1000, true, 0, wrong);
  CHECK(unequal == calls{.gathers = 0,
                         .broadcasts = 3000,
                         .gathered_bytes = 0,
                         .broadcast_bytes = 1000 * 16,
                         .groups = 2,
                         .largest = 682 * 3,
                         .launches = 2});
  CHECK(wrong == 0);
}

TEST_CASE("nothing to gather is no call", "[nccl]") {
  clean_slate slate;
  on_gpus(2, {}, [](gpu_rank& comm, cudaStream_t stream, host_rank&) {
    const std::vector<std::size_t> some = {1, 2}, none = {0, 0};
    comm.gather_last_dim(nullptr, 0, nullptr, 0, 0, some, sw::dtype::f32, stream);
    comm.gather_last_dim(nullptr, 0, nullptr, 0, 7, none, sw::dtype::f32, stream);
    return 0;
  });
  CHECK(fake_gpu::calls("ncclAllGather") == 0);
  CHECK(fake_gpu::calls("ncclBroadcast") == 0);
  CHECK(fake_gpu::calls("ncclGroupStart") == 0);
  CHECK(slate.left() == "");
}

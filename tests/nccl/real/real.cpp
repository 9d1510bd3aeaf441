// SPDX-License-Identifier: Apache-2.0
// The real library, as far as it goes: without a GPU its version, an id, its texts, and the way in which making a
// communicator fails; with one, a communicator of one rank.
#include <chrono>
#include <cstring>
#include <string>
#include <vector>

#include "../error_of.hpp"
#include "catch.hpp"
#include "cuda/copy_now.hpp"
#include "shardwise/cuda/device_memory.hpp"
#include "shardwise/nccl.hpp"

namespace sw = shardwise;
namespace cu = shardwise::cuda;
using nccl_test::error_of;

namespace {

bool no_device() {
  if (cu::device_count() != 0) return false;
  WARN("SKIP: no CUDA device");
  return true;
}

}  // namespace

TEST_CASE("the library that runs is one that shardwise can use", "[nccl][real]") {
  const int version = sw::nccl::detail::runtime_version();
  CHECK(version >= sw::nccl::detail::oldest_version);
  sw::nccl::error text(sw::nccl::fault::refused, ncclSuccess);
  sw::nccl::detail::append_version(text, version);
  const std::string expected =
      std::to_string(version / 10000) + '.' + std::to_string(version / 100 % 100) + '.' + std::to_string(version % 100);
  CHECK(std::string(text.what()) == expected);
}

TEST_CASE("an id is made without a GPU, another one each time", "[nccl][real]") {
  ncclUniqueId a{}, b{};
  REQUIRE(ncclGetUniqueId(&a) == ncclSuccess);
  REQUIRE(ncclGetUniqueId(&b) == ncclSuccess);
  CHECK(std::memcmp(&a, &b, sizeof a) != 0);
}

TEST_CASE("the names that errors give to results are those of the library's header, with its own texts",
          "[nccl][real]") {
  using sw::nccl::detail::name_of;
  CHECK(name_of(ncclSuccess) == "ncclSuccess");
  CHECK(name_of(ncclUnhandledCudaError) == "ncclUnhandledCudaError");
  CHECK(name_of(ncclSystemError) == "ncclSystemError");
  CHECK(name_of(ncclInternalError) == "ncclInternalError");
  CHECK(name_of(ncclInvalidArgument) == "ncclInvalidArgument");
  CHECK(name_of(ncclInvalidUsage) == "ncclInvalidUsage");
  CHECK(name_of(ncclRemoteError) == "ncclRemoteError");
  CHECK(name_of(ncclInProgress) == "ncclInProgress");
  sw::nccl::error text(sw::nccl::fault::failed, ncclSystemError);
  sw::nccl::detail::append_result(text, "ncclAllReduce", ncclSystemError);
  CHECK_THAT(text.what(),
             Catch::Matchers::ContainsSubstring("ncclAllReduce gave ncclSystemError (2), unhandled system error"));
}

TEST_CASE("without a GPU making a communicator is a named error, again and again", "[nccl][real]") {
  if (cu::device_count() != 0) return;
  for (int i = 0; i < 3; ++i) {
    ncclUniqueId id{};
    REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
    const auto start = std::chrono::steady_clock::now();
    const std::string text = error_of([&] { (void)sw::nccl::communicator::create(id, 1, 0, {.name = "tp"}); });
    CAPTURE(text);
    CHECK(text.find("rank 0 of 1 (tp): ncclCommInitRankConfig gave ncclUnhandledCudaError (1), unhandled cuda error") ==
          0);
    CHECK(text.find("; this process sees no CUDA device") != std::string::npos);
    CHECK(text.find(". NCCL 2.") != std::string::npos);
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::minutes(1));
  }
}

TEST_CASE("without a GPU the pieces of CUDA say which call failed", "[cuda][real]") {
  if (cu::device_count() != 0) return;
  try {
    const cu::stream stream;
    FAIL("a stream without a device");
  } catch (const cu::error& e) {
    CHECK(e.call() == "cudaStreamCreateWithFlags");
    CHECK(e.code() != cudaSuccess);
    CHECK_THAT(e.what(), Catch::Matchers::ContainsSubstring(std::string(e.name())));
  }
}

TEST_CASE("with a GPU one rank reduces, gathers, splits and waits", "[nccl][real]") {
  if (no_device()) return;
  ncclUniqueId id{};
  REQUIRE(ncclGetUniqueId(&id) == ncclSuccess);
  auto comm = sw::nccl::communicator::create(id, 1, 0, {.name = "one"});
  const cu::stream stream;
  const cu::device_memory x(16);
  const std::vector<float> before = {1, 2, 3, 4};
  cuda_test::copy_now(x.data(), before.data(), 16);
  comm.all_reduce(x.data(), x.data(), 4, sw::dtype::f32, sw::reduction::sum, stream);
  comm.barrier(stream);
  auto part = comm.split(0, 0);
  part.all_gather(x.data(), x.data(), 4, sw::dtype::f32, stream);
  part.wait(stream);
  std::vector<float> after(4);
  cuda_test::copy_now(after.data(), x.data(), 16);
  CHECK(after == before);
  CHECK(part.name() == "one/0");
  part.close();
  comm.close();
  CHECK_FALSE(comm.healthy());
}

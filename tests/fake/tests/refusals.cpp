// SPDX-License-Identifier: Apache-2.0
// Every entry of refusals.hpp is brought about once, and gives the entry's result and sentence.
#include <string>

#include "catch.hpp"
#include "fake/fake_gpu.hpp"
#include "fake/tests/misuses.hpp"

using namespace misuses;

TEST_CASE("every refusal of the fake is brought about, and gives its entry's result and sentence") {
  for (const auto& entry : fake::refusals) {
    CAPTURE(entry.name, entry.stands_for);
    fake_gpu::reset_counts();
    const seen s = bring_about(entry.what);
    CAPTURE(s.result, s.report);
    CHECK(is(s, entry.what));
    CHECK((fake_gpu::counted().findings > 0) == (entry.kind == fake::in_nccl::hang_or_corrupt));
    CHECK(fake_gpu::live() == fake_gpu::live_objects{});
    CHECK(fake_gpu::files().empty());
  }
}

TEST_CASE("what ranks disagree on is told to every rank, with what each of them called") {
  const auto* what = GENERATE("type", "operation", "reduction", "root", "order");
  CAPTURE(what);
  const std::string kind = what;
  const seen s = of_two([&](rank_of_world& w, void* at) {
    const bool odd = w.rank == 1;
    if (kind == "type") return ncclBroadcast(at, at, 4, odd ? ncclInt32 : ncclFloat32, 0, w.comm, w.stream);
    if (kind == "reduction") return ncclAllReduce(at, at, 4, ncclFloat32, odd ? ncclMax : ncclSum, w.comm, w.stream);
    if (kind == "root") return ncclBroadcast(at, at, 4, ncclFloat32, odd ? 1 : 0, w.comm, w.stream);
    const auto reduce = [&] { return ncclAllReduce(at, at, 4, ncclFloat32, ncclSum, w.comm, w.stream); };
    const auto broadcast = [&] { return ncclBroadcast(at, at, 4, ncclFloat32, 0, w.comm, w.stream); };
    if (kind == "operation") return odd ? broadcast() : reduce();
    const auto first = odd ? broadcast() : reduce();
    return first != ncclSuccess ? first : odd ? reduce() : broadcast();
  });
  CAPTURE(s.report);
  CHECK(is(s, misuse::ranks_disagree));
  CHECK(s.report.find("rank 0 called nccl") != std::string::npos);
  CHECK(s.report.find("rank 1 called nccl") != std::string::npos);
}

TEST_CASE("a call that fails in a group ends the group, and nothing of it is launched") {
  alone a;
  REQUIRE(a.fine);
  fake_gpu::reset_counts();
  REQUIRE(ncclGroupStart() == ncclSuccess);
  CHECK(a.reduce(a.at(), a.at()) == ncclSuccess);
  CHECK(a.reduce(nullptr, a.at()) == ncclInvalidArgument);
  CHECK(ncclGroupEnd() == ncclInvalidArgument);
  CHECK(fake_gpu::counted().launches == 0);
  // The next group is a new one.
  REQUIRE(ncclGroupStart() == ncclSuccess);
  CHECK(a.reduce(a.at(), a.at()) == ncclSuccess);
  CHECK(ncclGroupEnd() == ncclSuccess);
  CHECK(fake_gpu::counted().launches == 1);
}

TEST_CASE("groups nest, and only the outermost end launches") {
  alone a;
  REQUIRE(a.fine);
  fake_gpu::reset_counts();
  REQUIRE(ncclGroupStart() == ncclSuccess);
  REQUIRE(ncclGroupStart() == ncclSuccess);
  CHECK(a.reduce(a.at(), a.at()) == ncclSuccess);
  CHECK(a.reduce(a.at(), a.at()) == ncclSuccess);
  CHECK(ncclGroupEnd() == ncclSuccess);
  CHECK(fake_gpu::counted().launches == 0);
  CHECK(ncclGroupEnd() == ncclSuccess);
  CHECK(fake_gpu::counted().launches == 1);
  CHECK(fake_gpu::counted().groups == 1);
  CHECK(fake_gpu::counted().largest_group == 2);
  CHECK(fake_gpu::operations("ncclAllReduce").operations == 2);
  CHECK(fake_gpu::operations("ncclAllReduce").bytes == 32);
}

TEST_CASE("another current device is no error, as NCCL sets the communicator's itself, but is counted") {
  alone a;
  REQUIRE(a.fine);
  fake_gpu::reset_counts();
  CHECK(a.reduce(a.at(), a.at()) == ncclSuccess);
  CHECK(fake_gpu::counted().other_device_current == 0);
  REQUIRE(cudaSetDevice(3) == cudaSuccess);
  CHECK(a.reduce(a.at(), a.at()) == ncclSuccess);
  CHECK(fake_gpu::counted().other_device_current == 1);
}

TEST_CASE("nothing is moved where the count is 0, whatever the pointers are") {
  alone a;
  REQUIRE(a.fine);
  CHECK(ncclAllReduce(nullptr, nullptr, 0, ncclFloat32, ncclSum, a.comm, a.stream) == ncclSuccess);
  CHECK(cudaStreamQuery(a.stream) == cudaSuccess);
}

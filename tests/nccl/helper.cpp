// SPDX-License-Identifier: Apache-2.0
#include "shardwise/nccl/detail/helper.hpp"

#include <atomic>
#include <chrono>
#include <thread>

#include "catch.hpp"

namespace {

using namespace std::chrono_literals;
namespace nd = shardwise::nccl::detail;

std::atomic<bool> let_go;
std::atomic<int> ended;
ncclResult_t gives;

ncclResult_t held_back(ncclComm_t) {
  while (!let_go) std::this_thread::sleep_for(1ms);
  return gives;
}
ncclResult_t at_once(ncclComm_t) { return gives; }
ncclResult_t end(ncclComm_t) {
  ++ended;
  return ncclSuccess;
}

}  // namespace

TEST_CASE("a communicator that was left in a call of NCCL is ended when that comes back, whatever it gave", "[nccl]") {
  // ncclInProgress is what a non-blocking call gives whose thread had no processor until the deadline was over.
  for (const ncclResult_t result : {ncclSuccess, ncclInProgress, ncclRemoteError}) {
    CAPTURE(static_cast<int>(result));
    gives = result;
    let_go = false;
    ended = 0;
    nd::helper left(nullptr, -1, held_back, nullptr, end);
    CHECK(left.wait(nd::patience(1ms)).how == nd::came_back::no);
    CHECK(ended == 0);
    let_go = true;
    for (const nd::patience time(20s); ended == 0 && time.pause();) {
    }
    CHECK(ended == 1);
  }
}

TEST_CASE("a communicator whose call of NCCL is waited for is not ended by the helper", "[nccl]") {
  gives = ncclSuccess;
  ended = 0;
  nd::helper waited_for(nullptr, -1, at_once, nullptr, end);
  const nd::helped result = waited_for.wait(nd::patience(20s));
  CHECK(result.how == nd::came_back::yes);
  CHECK(result.good());
  CHECK(ended == 0);
}

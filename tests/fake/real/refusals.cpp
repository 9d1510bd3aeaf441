// SPDX-License-Identifier: Apache-2.0
// The fake's refusals on the real library: what it says NCCL refuses, NCCL refuses with that result. Some need no GPU.
#include <cstdlib>

#include "catch.hpp"
#include "fake/tests/misuses.hpp"
#include "shardwise/cuda/device.hpp"

using namespace misuses;

namespace {

/// Why an entry is not replayed; null where it is.
const char* not_replayed(misuse what) {
  switch (what) {
    case misuse::pointer_of_other_device:
    case misuse::stream_of_other_device: return "it needs a second device";
    case misuse::float8_sum: return "devices of today can do it";
    case misuse::bad_id: return "NCCL tries to connect for minutes before it says so";
    case misuse::dead_stream: return "CUDA may crash on it";
    default:
      return fake::entry_of(what).kind == fake::in_nccl::refused ? nullptr
                                                                 : "NCCL does not look, and would hang or corrupt";
  }
}

bool needs_device(misuse what) {
  return what != misuse::null_communicator && what != misuse::corrupt_communicator &&
         what != misuse::null_result_pointer && what != misuse::group_end_without_start;
}

}  // namespace

TEST_CASE("what the fake says NCCL refuses, NCCL refuses", "[real]") {
  setenv("NCCL_CHECK_POINTERS", "1", 1);
  const bool device = shardwise::cuda::device_count() != 0;
  if (!device) WARN("SKIP: no CUDA device");
  int replayed = 0;
  for (const auto& entry : fake::refusals) {
    if (not_replayed(entry.what) != nullptr || (needs_device(entry.what) && !device)) continue;
    CAPTURE(entry.name, entry.stands_for);
    const seen s = bring_about(entry.what);
    CAPTURE(s.report);
    CHECK(s.result == entry.result);
    ++replayed;
  }
  CHECK(replayed == (device ? 15 : 4));
}

// SPDX-License-Identifier: Apache-2.0
// What misuses.hpp asks of the fake, where the real libraries run instead.
#include <nccl.h>

#include "fake/fake_gpu.hpp"

namespace fake_gpu {

std::string last_report() {
  const char* words = ncclGetLastError(nullptr);
  return words != nullptr ? words : "";
}
totals counted() { return {}; }
void reset_counts() {}
live_objects live() { return {}; }

}  // namespace fake_gpu

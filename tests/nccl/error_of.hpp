// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "shardwise/nccl/error.hpp"

namespace nccl_test {

/// What `f` throws; "" if nothing. Anything but an nccl::error passes.
template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const shardwise::nccl::error& e) {
    return e.what();
  }
  return "";
}

}  // namespace nccl_test

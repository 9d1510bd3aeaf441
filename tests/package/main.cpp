// SPDX-License-Identifier: Apache-2.0
// The program of a consumer, with the components that its CMake file found.
#include "program.hpp"
#if defined(CONSUMER_HAS_CHECKPOINT)
#include "shardwise/checkpoint.hpp"
// Calls into what shardwise::checkpoint links.
bool refuses_a_missing_folder() {
  try {
    shardwise::checkpoint::open("no such folder");
  } catch (const shardwise::checkpoint_error&) {
    return true;
  }
  return false;
}
#else
bool refuses_a_missing_folder() { return true; }
#endif

int main() { return consumer::rows_of_rank() == 4 && refuses_a_missing_folder() ? 0 : 1; }

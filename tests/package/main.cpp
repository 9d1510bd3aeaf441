// SPDX-License-Identifier: Apache-2.0
// The program of a consumer, with every component that its CMake file found.
#include "program.hpp"
#if defined(CONSUMER_HAS_CHECKPOINT)
#include "shardwise/checkpoint.hpp"
#endif

int main() { return consumer::rows_of_rank() == 4 ? 0 : 1; }

// SPDX-License-Identifier: Apache-2.0
// Every header of core in one CUDA file, and a plan that nvcc has to check.
#include "every_header.hpp"

#include "../package/program.hpp"

__global__ void kernel(float* x) { x[threadIdx.x] *= 2; }

// SPDX-License-Identifier: Apache-2.0
// The one place that includes CUDA, so that a missing toolkit is said in a sentence.
#pragma once
#if !__has_include(<cuda_runtime_api.h>)
#error "shardwise/cuda needs cuda_runtime_api.h: link shardwise::cuda, or add the CUDA toolkit's include folder"
#endif
#include <cuda_runtime_api.h>

// SPDX-License-Identifier: Apache-2.0
// The one place that includes NCCL, so that a missing or an old one is said in a sentence.
#pragma once
#if !__has_include(<nccl.h>)
#error "shardwise/nccl needs nccl.h: link shardwise::nccl, or add the include folder of NCCL 2.20.5 or newer"
#endif
#include <nccl.h>

#if NCCL_VERSION_CODE < NCCL_VERSION(2, 20, 5)
#error "shardwise/nccl needs NCCL 2.20.5 or newer, which can be aborted by another thread"
#endif

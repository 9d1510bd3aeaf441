// SPDX-License-Identifier: Apache-2.0
// Every misuse that the fake finds: what it answers, whether NCCL refuses it or would hang, and what in NCCL 2.28.9 (or
// CUDA) it stands for. The fake refuses by these entries alone.
#pragma once
#include <nccl.h>
#include <cstddef>
#include <string_view>

namespace fake {

enum class misuse : int {
  null_communicator,
  corrupt_communicator,
  used_after_destroy,
  used_after_abort,
  used_after_finalize,
  finalized_twice,
  used_in_progress,
  null_result_pointer,
  null_buffer,
  host_pointer,
  pointer_of_other_device,
  past_the_allocation,
  bad_root,
  bad_peer,
  bad_type,
  bad_op,
  float8_sum,
  group_end_without_start,
  bad_rank,
  bad_id,
  bad_config,
  duplicate_gpu,
  stream_of_other_device,
  dead_stream,
  ranks_disagree,
  sizes_of_world_disagree,
  rank_taken,
  overlap,
  peers_disagree,
  dangling_name,
  end_while_captured,
  aborted_in_finalize,
  total
};

enum class in_nccl {
  refused,          // NCCL gives the same result
  hang_or_corrupt,  // NCCL does not look: it hangs, or the results are wrong. The fake reports it on every rank.
};

struct refusal {
  misuse what;
  std::string_view name;
  ncclResult_t result;
  in_nccl kind;
  std::string_view stands_for;
};

inline constexpr refusal refusals[] = {
    {misuse::null_communicator, "null communicator", ncclInvalidArgument, in_nccl::refused,
     "misc/argcheck.cc CommCheck: '%s : %s argument is NULL'"},
    {misuse::corrupt_communicator, "not a communicator", ncclInvalidArgument, in_nccl::refused,
     "misc/argcheck.cc CommCheck: startMagic/endMagic, 'Error: corrupted comm object detected'"},
    {misuse::used_after_destroy, "communicator used after ncclCommDestroy", ncclInvalidArgument,
     in_nccl::hang_or_corrupt, "init.cc commFree frees the object: what is read is whatever the allocator put there"},
    {misuse::used_after_abort, "communicator used after ncclCommAbort", ncclInvalidArgument, in_nccl::hang_or_corrupt,
     "init.cc ncclCommAbort -> commReclaim frees the object; the user guide: 'the communicator must not be used "
     "again'"},
    {misuse::used_after_finalize, "operation after ncclCommFinalize", ncclInvalidUsage, in_nccl::hang_or_corrupt,
     "user guide, ncclCommFinalize: no new operation afterwards; enqueue.cc does not look at finalizeCalled"},
    {misuse::finalized_twice, "ncclCommFinalize twice", ncclInvalidArgument, in_nccl::refused,
     "init.cc ncclCommFinalize_impl: finalizeCalled"},
    {misuse::used_in_progress, "communicator used before it is ready", ncclInvalidArgument, in_nccl::refused,
     "init.cc ncclCommEnsureReady: 'Attempt to use communicator before the previous operation returned ncclSuccess'"},
    {misuse::null_result_pointer, "null pointer for a result", ncclInvalidArgument, in_nccl::refused,
     "misc/argcheck.cc PtrCheck"},
    {misuse::null_buffer, "null buffer", ncclInvalidArgument, in_nccl::refused,
     "misc/argcheck.cc CudaPtrCheck, with NCCL_CHECK_POINTERS=1; without it an illegal address in the kernel"},
    {misuse::host_pointer, "pageable host memory as buffer", ncclInvalidArgument, in_nccl::refused,
     "misc/argcheck.cc CudaPtrCheck, with NCCL_CHECK_POINTERS=1: '%s : %s %p is not a valid pointer'"},
    {misuse::pointer_of_other_device, "buffer of another device", ncclInvalidArgument, in_nccl::refused,
     "misc/argcheck.cc CudaPtrCheck, with NCCL_CHECK_POINTERS=1: 'allocated on device %d mismatchs with NCCL device'"},
    {misuse::past_the_allocation, "count runs past the buffer's allocation", ncclInvalidArgument,
     in_nccl::hang_or_corrupt, "nothing: an illegal address in the kernel, or another allocation is overwritten"},
    {misuse::bad_root, "root out of range", ncclInvalidArgument, in_nccl::refused,
     "misc/argcheck.cc ArgsCheck: '%s : invalid root %d (root should be in the 0..%d range)'"},
    {misuse::bad_peer, "peer out of range", ncclInvalidArgument, in_nccl::refused,
     "misc/argcheck.cc ArgsCheck: the peer of ncclSend and ncclRecv is checked as the root is"},
    {misuse::bad_type, "datatype out of range", ncclInvalidArgument, in_nccl::refused,
     "misc/argcheck.cc ArgsCheck: '%s : invalid type %d'"},
    {misuse::bad_op, "reduction out of range", ncclInvalidArgument, in_nccl::refused,
     "misc/argcheck.cc ArgsCheck: '%s : invalid reduction operation %d'"},
    {misuse::float8_sum, "reduction of float8", ncclInvalidArgument, in_nccl::refused,
     "enqueue.cc taskAppend: fp8 reductions need sm_90, and the fake is an older device"},
    {misuse::group_end_without_start, "ncclGroupEnd without ncclGroupStart", ncclInvalidUsage, in_nccl::refused,
     "group.cc ncclGroupEndInternal: 'ncclGroupEnd: not in a group call.'"},
    {misuse::bad_rank, "rank or size out of range", ncclInvalidArgument, in_nccl::refused,
     "init.cc ncclCommInitRankDev: 'Invalid rank requested : %d/%d'"},
    {misuse::bad_id, "unique id of nobody who listens", ncclRemoteError, in_nccl::refused,
     "misc/socket.cc socketFinalizeConnect: refused after its retries; the process of ncclGetUniqueId must be alive"},
    {misuse::bad_config, "configuration not made by NCCL_CONFIG_INITIALIZER, or a value out of range",
     ncclInvalidArgument, in_nccl::refused, "init.cc parseCommConfig"},
    {misuse::duplicate_gpu, "two ranks on one device of one host", ncclInvalidUsage, in_nccl::refused,
     "init.cc initTransportsRank: 'Duplicate GPU detected : rank %d and rank %d both on CUDA device %lx'"},
    {misuse::stream_of_other_device, "stream of another device", ncclUnhandledCudaError, in_nccl::refused,
     "enqueue.cc ncclLaunchKernel: CUDA launches no kernel of one device into another's stream"},
    {misuse::dead_stream, "stream that was destroyed", ncclUnhandledCudaError, in_nccl::refused,
     "enqueue.cc ncclLaunchPrepare: the CUDA call fails, where it does not crash"},
    {misuse::ranks_disagree, "ranks call different collectives", ncclInvalidUsage, in_nccl::hang_or_corrupt,
     "user guide, 'Using NCCL': same order, count, type, reduction and root on all ranks; nothing checks it"},
    {misuse::sizes_of_world_disagree, "ranks give different sizes of the communicator", ncclInternalError,
     in_nccl::hang_or_corrupt, "bootstrap.cc bootstrapRoot: 'mismatch in rank count from procs', and the ranks hang"},
    {misuse::rank_taken, "two ranks give the same rank", ncclInternalError, in_nccl::hang_or_corrupt,
     "bootstrap.cc bootstrapRoot: 'rank %d of %d ranks has already checked in', and the ranks hang"},
    {misuse::overlap, "buffers overlap, but not as in-place operations do", ncclInvalidUsage, in_nccl::hang_or_corrupt,
     "nccl.h: send == recv, send == recv + rank * count, recv == send + rank * count; nothing checks it"},
    {misuse::peers_disagree, "ncclSend and ncclRecv of different size or type", ncclInvalidUsage,
     in_nccl::hang_or_corrupt, "nccl.h, ncclSend: 'same datatype and the same count'; nothing checks it"},
    {misuse::dangling_name, "commName was freed or changed while the communicator lives", ncclInvalidUsage,
     in_nccl::hang_or_corrupt, "init.cc parseCommConfig keeps the pointer (netName is copied, commName is not)"},
    {misuse::end_while_captured, "communicator ended before the graphs that captured it", ncclInvalidUsage,
     in_nccl::hang_or_corrupt,
     "init.cc commDestroySync, the job of ncclCommFinalize: waits for localPersistentRefs and does not look at the "
     "abort flag; ncclCommAbort joins the job of a non-blocking one"},
    {misuse::aborted_in_finalize, "ncclCommAbort while another thread is in a blocking ncclCommFinalize",
     ncclInvalidUsage, in_nccl::hang_or_corrupt,
     "init.cc ncclCommAbort: there is no group job to join, and commReclaim, which sees finalizeCalled, frees the "
     "communicator that commDestroySync of the other thread still uses"},
};

static_assert(sizeof refusals / sizeof refusals[0] == static_cast<std::size_t>(misuse::total));
constexpr bool in_order() {
  for (std::size_t i = 0; i < static_cast<std::size_t>(misuse::total); ++i) {
    if (refusals[i].what != static_cast<misuse>(i)) return false;
  }
  return true;
}
static_assert(in_order());

constexpr const refusal& entry_of(misuse what) { return refusals[static_cast<std::size_t>(what)]; }

}  // namespace fake

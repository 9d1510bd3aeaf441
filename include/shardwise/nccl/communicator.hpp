// SPDX-License-Identifier: Apache-2.0
// Ranks on GPUs: the engine's communicator, or one's own, as a model of comm/communicator.hpp.
#pragma once
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/comm/detail/call_check.hpp"
#include "shardwise/nccl/detail/launch.hpp"
#include "shardwise/nccl/detail/open.hpp"
#include "shardwise/nccl/detail/wait.hpp"
#include "shardwise/nccl/dtype.hpp"

namespace shardwise {
inline namespace v0 {
namespace nccl {

class group;
namespace detail {
inline bool all_equal(std::span<const std::size_t> counts) {
  for (const std::size_t n : counts) {
    if (n != counts[0]) return false;
  }
  return true;
}
}  // namespace detail

/// One rank on one device, a `full_communicator`: what each function means, and what may alias, is said in
/// comm/communicator.hpp; buffers are device memory. For one thread at a time. Move-only.
///
/// A collective is put on the stream, and `wait` waits until it is done. The call waits until NCCL has put it there,
/// which NCCL does in a thread of its own where there are several ranks and the communicator is not blocking
/// (`options::blocking`); the first one of a kind also waits for the other ranks to connect. `barrier`, `split`,
/// `close`, the destructor and what makes a communicator wait, too. Each wait has a deadline, but not those inside of
/// NCCL that a blocking one has.
///
/// Reductions are of f32, f64, f16, bf16, i32, i64 and u8, in NCCL's order; every other dtype is only moved. Nothing is
/// allocated here for a collective; what NCCL does is its own. All may be captured in a CUDA graph but `barrier` and
/// `wait`, after one run of each that is not.
///
/// Streams are such as were created, or null, the legacy stream. cudaStreamPerThread, and null where
/// CUDA_API_PER_THREAD_DEFAULT_STREAM is defined, are refused unless the options say that the communicator
/// is blocking.
///
/// A call with a wrong argument, or while another device is current, throws `nccl::error` and calls nothing. An error
/// of NCCL, one that it reports later, and a deadline poison the communicator: it is aborted, once, and this call and
/// all later ones throw that first reason. A communicator that was adopted is never aborted: its engine does that.
///
/// Ends in this order: the graphs that captured it, the streams' work, the communicator, the device.
class communicator {
 public:
  using stream_type = cudaStream_t;

  /// The engine's own, blocking or not, made with NCCL as this is. It must outlive this; nothing is created, destroyed
  /// or aborted. While a group of the engine's own is open on a non-blocking one, nothing may be called here: use
  /// `group`.
  static communicator adopt(ncclComm_t handle, nccl::options opts = {}) {
    return communicator(detail::adopt_communicator(handle, std::move(opts)));
  }

  /// Every rank of `meeting` calls it; the device that is current becomes the rank's.
  template <rendezvous R>
  static communicator create(R& meeting, nccl::options opts = {}) {
    const ncclUniqueId id = detail::share_unique_id(meeting, opts);
    return communicator(detail::open_communicator(id, meeting.size(), meeting.rank(), std::move(opts)));
  }

  /// With an id that one rank has got from ncclGetUniqueId, and the others from it. The process that made the id lives
  /// on until all ranks are here.
  static communicator create(const ncclUniqueId& id, int size, int rank, nccl::options opts = {}) {
    return communicator(detail::open_communicator(id, size, rank, std::move(opts)));
  }

  /// One process a rank, as its launcher's environment says (comm/environment.hpp); the ranks meet over TCP. Makes the
  /// local rank's device current: the only one, where the process sees one. Errors say whose variables were read.
  static communicator from_environment(nccl::options opts = {}) {
    return communicator(detail::open_from_environment(std::move(opts)));
  }

  communicator(communicator&& other) noexcept : s_(std::exchange(other.s_, detail::moved_from())) {}
  communicator& operator=(communicator&& other) noexcept {
    std::swap(s_, other.s_);
    return *this;
  }
  /// Closes what is in order, and forgets what is not. Takes at most the deadline twice and the grace of an abort; what
  /// NCCL does not give back by then is left to a thread of its own. A process where one is left (the text of `error()`
  /// says so) ends by `_exit`: `exit` takes away the CUDA that it still uses.
  ~communicator() { detail::close_communicator(s_); }

  int rank() const { return s_->rank; }
  int size() const { return s_->size; }
  /// The one that must be current when a collective is called.
  int device() const { return s_->device; }
  std::string_view name() const { return s_->opts.name; }
  /// Null when it was closed, or aborted.
  ncclComm_t native_handle() const { return s_->handle; }

  /// May it be used? It only looks: NCCL is not asked.
  bool healthy() const { return !s_->first; }
  /// The first reason why it may not; null while it may.
  const nccl::error* error() const { return healthy() ? nullptr : &*s_->first; }

  /// The host waits until all work on `stream` is done. Looks after NCCL meanwhile, and throws where it reports an
  /// error, or where the deadline passes. Not while `stream` is captured.
  void wait(stream_type stream) {
    require_usable();
    detail::require_can_wait(*s_, "wait", stream);
    detail::wait_for(s_, stream);
  }

  /// Returns when every rank has called it. It waits for `stream`. Four bytes of the device are allocated and given
  /// back in the stream's order, which needs a device with memory pools: `cuda::error` where there is none, or no
  /// memory.
  void barrier(stream_type stream) {
    start({.op = operation::barrier}, stream);
    detail::require_can_wait(*s_, "barrier", stream);
    const cuda::detail::relaxed_capture other_streams;
    {
      // Neither end may wait for the device: on it a collective may wait for a thread that waits for this one.
      const detail::stream_word word(stream);
      finish("ncclAllReduce", ncclAllReduce(word.data, word.data, 1, ncclInt32, ncclSum, s_->handle, stream));
    }
    detail::wait_for(s_, stream);
  }

  [[gnu::always_inline]] void all_reduce(const void* send, void* recv, std::size_t count, dtype type, reduction op,
                                         stream_type stream) {
    detail::state& s = start({.count = count, .op = operation::all_reduce, .type = type, .how = op}, stream);
    if (!reducible(type) || send == nullptr || recv == nullptr) [[unlikely]]
      check({.op = operation::all_reduce, .send = send, .recv = recv, .count = count, .type = type, .how = op});
    finish("ncclAllReduce", ncclAllReduce(send, recv, count, type_of(type), type_of(op), s.handle, stream));
  }

  [[gnu::always_inline]] void all_gather(const void* send, void* recv, std::size_t count, dtype type,
                                         stream_type stream) {
    detail::state& s = start({.count = count, .op = operation::all_gather, .type = type}, stream);
    if (send == nullptr || recv == nullptr) [[unlikely]]
      check({.op = operation::all_gather, .send = send, .recv = recv, .count = count, .type = type});
    finish("ncclAllGather", ncclAllGather(send, recv, count, type_of(type), s.handle, stream));
  }

  /// Straight into the rows of `recv`: equal columns are one group of an ncclAllGather a row, in place where `send`
  /// lies there; one row is a plain ncclAllGather. Unequal columns are one group of an ncclBroadcast for each row and
  /// rank. NCCL documents at most 2048 calls in a group: more of them are several groups, each of whole rows; a row
  /// that more than 2048 ranks share unequally is refused.
  [[gnu::always_inline]] void gather_last_dim(const void* send, std::size_t send_stride, void* recv,
                                              std::size_t recv_stride, std::size_t rows,
                                              std::span<const std::size_t> columns, dtype type, stream_type stream) {
    detail::state& s = start({.count = rows, .op = operation::gather_last_dim, .type = type}, stream);
    if (rows == 1 && send != nullptr && recv != nullptr && columns.size() == static_cast<std::size_t>(s.size) &&
        detail::all_equal(columns)) {
      return finish("ncclAllGather", ncclAllGather(send, recv, columns[0], type_of(type), s.handle, stream));
    }
    gather_in_groups(send, send_stride, recv, recv_stride, rows, columns, type, stream);
  }

  [[gnu::always_inline]] void reduce_scatter(const void* send, void* recv, std::size_t count, dtype type, reduction op,
                                             stream_type stream) {
    detail::state& s = start({.count = count, .op = operation::reduce_scatter, .type = type, .how = op}, stream);
    if (!reducible(type) || send == nullptr || recv == nullptr) [[unlikely]]
      check({.op = operation::reduce_scatter, .send = send, .recv = recv, .count = count, .type = type, .how = op});
    finish("ncclReduceScatter", ncclReduceScatter(send, recv, count, type_of(type), type_of(op), s.handle, stream));
  }

  [[gnu::always_inline]] void broadcast(void* data, std::size_t count, dtype type, int root, stream_type stream) {
    detail::state& s = start({.count = count, .root = root, .op = operation::broadcast, .type = type}, stream);
    if (root < 0 || root >= s.size || data == nullptr) [[unlikely]]
      check({.op = operation::broadcast, .send = data, .recv = data, .count = count, .type = type, .root = root});
    finish("ncclBroadcast", ncclBroadcast(data, data, count, type_of(type), root, s.handle, stream));
  }

  /// One group of sends and receives; nothing is called for a count of 0, which must be 0 on both sides. Not in place.
  /// Of at most 1024 ranks, as NCCL documents at most 2048 calls in a group.
  void all_to_all(const void* send, std::span<const std::size_t> send_counts, void* recv,
                  std::span<const std::size_t> recv_counts, dtype type, stream_type stream);

  /// Only inside a group that has this communicator: it starts when that ends. Rank `peer` receives as many.
  void send(const group&, const void* data, std::size_t count, dtype type, int peer, stream_type stream) {
    start({.count = count, .root = peer, .op = operation::all_to_all, .type = type, .to = detail::direction::send},
          stream);
    require_peer(peer, data == nullptr && count != 0);
    finish("ncclSend", ncclSend(data, count, type_of(type), peer, s_->handle, stream));
  }
  /// See send.
  void recv(const group&, void* data, std::size_t count, dtype type, int peer, stream_type stream) {
    start({.count = count, .root = peer, .op = operation::all_to_all, .type = type, .to = detail::direction::receive},
          stream);
    require_peer(peer, data == nullptr && count != 0);
    finish("ncclRecv", ncclRecv(data, count, type_of(type), peer, s_->handle, stream));
  }

  /// One of its own, called "name/color"; `color` is 0 or above. It knows nothing of this one later on: each is
  /// poisoned and closed by itself. Not while work of this one is captured. Where this one is an adopted blocking one,
  /// NCCL waits without our deadline.
  communicator split(int color, int key) {
    start({.op = operation::split});
    if (color < 0) detail::refuse(*s_, "the color is below 0");
    detail::require_no_group("split");
    return communicator(detail::split_communicator(s_, color, key));
  }

  /// Ends it as the destructor does, and throws where that fails. Every rank calls it. An adopted one is forgotten.
  void close() {
    if (s_->first && s_->first->kind() == fault::ended) return;
    detail::require_no_group("close");
    detail::close_communicator(s_);
    if (s_->first->kind() != fault::ended) detail::raise_first(*s_);
  }

  /// Gives up at once what is under way on this rank; later calls throw that it was aborted. The other ranks are not
  /// told: what they do together with this one ends by NCCL's own error or by their deadline, or they abort, too.
  void abort() noexcept {
    if (!healthy()) return;
    detail::poison(s_, detail::error_of(*s_, fault::ended, ncclInvalidUsage, "the communicator was aborted by a call"));
  }

 private:
  friend class group;
  explicit communicator(std::shared_ptr<detail::state> s) : s_(std::move(s)) {}

  // The device that is current is asked of CUDA, which keeps it for the thread. It is `nowhere` for one that has ended.
  void require_usable() const {
    int current = -1;
    (void)cudaGetDevice(&current);
    if (current != s_->usable_on) [[unlikely]]
      refuse_to_start(current);
  }
  detail::state& start(const detail::note& n) {
    require_usable();
    detail::state& s = *s_;
    s.last = n;
    ++s.calls;
    return s;
  }
  detail::state& start(const detail::note& n, stream_type stream) {
    detail::state& s = start(n);
    if (detail::is_of_a_thread(stream)) [[unlikely]]
      require_thread_of_stream();
    return s;
  }
  // NCCL puts the work of a communicator that is not blocking on its stream in another thread, for which such a handle
  // is another stream.
  [[gnu::cold, gnu::noinline]] void require_thread_of_stream() const {
    if (s_->opts.blocking) return;
    detail::refuse(*s_,
                   "the stream is the calling thread's own (cudaStreamPerThread), and NCCL would use that of "
                   "another thread: give a stream that was created");
  }
  void finish(const char* function, ncclResult_t result) {
    if (result != ncclSuccess) [[unlikely]]
      detail::see_to(s_, function, result);
  }
  [[noreturn, gnu::cold, gnu::noinline]] void refuse_to_start(int current) const {
    if (s_->first) detail::raise_first(*s_);
    nccl::error text = detail::error_of(*s_, fault::refused, ncclInvalidUsage);
    if (current < 0) {
      text.append("no CUDA device is current");
    } else {
      text.append("device ");
      text.append(current);
      text.append(" is current");
    }
    text.append(": make the communicator's device current before calls on it (cuda::set_device, cuda::device_guard)");
    shardwise::detail::raise(text);
  }

  void gather_in_groups(const void* send, std::size_t send_stride, void* recv, std::size_t recv_stride,
                        std::size_t rows, std::span<const std::size_t> columns, dtype type, stream_type stream);
  void gather_equal(const shardwise::detail::in_process_call& c, stream_type stream);
  void gather_unequal(const shardwise::detail::in_process_call& c, stream_type stream);
  static constexpr bool reducible(dtype type) { return detail::wire.of[static_cast<std::size_t>(type)].reducible; }
  // Something about the call looks wrong: refuses it in the words of the other communicators, unless it is right.
  [[gnu::cold, gnu::noinline]] void check(const shardwise::detail::in_process_call& c) const {
    const std::string_view why = shardwise::detail::fault_of(c, s_->rank, s_->size);
    if (why.empty()) return;
    nccl::error text = detail::error_of(*s_, fault::refused, ncclInvalidUsage);
    words_of(text, c);
    text.append(": ");
    text.append(why);
    shardwise::detail::raise(text);
  }
  void require_peer(int peer, bool buffer_is_missing) const {
    if (!s_->in_group) [[unlikely]]
      detail::refuse(*s_, "the group does not have this communicator: name it when the group is made");
    if (peer < 0 || peer >= s_->size) [[unlikely]]
      detail::refuse(*s_, "the peer is not a rank of this communicator");
    if (buffer_is_missing) [[unlikely]]
      detail::refuse(*s_, "a buffer is null");
  }

  std::shared_ptr<detail::state> s_;
};

}  // namespace nccl
}  // namespace v0
}  // namespace shardwise

#include "shardwise/nccl/detail/grouped.hpp"

namespace shardwise {
inline namespace v0 {
namespace nccl {
static_assert(full_communicator<communicator>);
}  // namespace nccl
}  // namespace v0
}  // namespace shardwise

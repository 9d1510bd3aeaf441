// SPDX-License-Identifier: Apache-2.0
// The collectives that are one group of smaller calls. Included by communicator.hpp.
#pragma once
#include <algorithm>
#include <cstddef>
#include <span>

#include "shardwise/nccl/communicator.hpp"

namespace shardwise {
inline namespace v0 {
namespace nccl {
namespace detail {

/// NCCL documents no more calls in a group.
inline constexpr std::size_t most_calls_in_group = 2048;

[[noreturn, gnu::cold, gnu::noinline]] inline void refuse_one_group(const state& s, std::size_t calls) {
  nccl::error text = error_of(s, fault::refused, ncclInvalidUsage);
  words_of(text, s.last);
  text.append(": it takes ");
  text.append(calls);
  text.append(" calls in one group, and NCCL documents at most ");
  text.append(most_calls_in_group);
  text.append(": use communicators of fewer ranks (groups, split)");
  shardwise::detail::raise(text);
}
/// All of them have to be in one group, as each waits for another rank's.
inline void require_one_group(const state& s, std::size_t calls) {
  if (calls > most_calls_in_group) [[unlikely]]
    refuse_one_group(s, calls);
}

/// A group inside one collective. A call that fails is kept; the rest is not made, and the group is ended all the same.
class call_group {
 public:
  call_group() {
    const ncclResult_t started = ncclGroupStart();
    if (started != ncclSuccess) [[unlikely]]
      fail(not_open, started);
  }
  bool good() const { return failed_ == nullptr; }
  void add(const char* function, ncclResult_t result) {
    if (result != ncclSuccess && result != ncclInProgress) [[unlikely]]
      fail(function, result);
  }
  /// What the whole gave; `function()` says what gave it.
  ncclResult_t end() {
    const ncclResult_t ended = failed_ == not_open ? ncclSuccess : ncclGroupEnd();
    return failed_ == nullptr ? ended : result_;
  }
  const char* function() const { return failed_ == nullptr ? "ncclGroupEnd" : failed_; }

 private:
  static constexpr char not_open[] = "ncclGroupStart";
  void fail(const char* function, ncclResult_t result) {
    failed_ = function;
    result_ = result;
  }

  const char* failed_ = nullptr;
  ncclResult_t result_ = ncclSuccess;
};

}  // namespace detail

inline void communicator::gather_equal(const shardwise::detail::in_process_call& c, stream_type stream) {
  const std::size_t width = c.send_counts[0], bytes = size_of(c.type);
  const std::size_t from_stride = c.send_stride * bytes, to_stride = c.recv_stride * bytes;
  const ncclDataType_t element = type_of(c.type);
  const ncclComm_t handle = s_->handle;
  const std::byte* from = c.sent();
  std::byte* to = c.received();
  for (std::size_t left = c.count; left != 0;) {
    std::size_t now = std::min(left, detail::most_calls_in_group);
    left -= now;
    detail::call_group calls;
    for (; now != 0 && calls.good(); --now) {
      calls.add("ncclAllGather", ncclAllGather(from, to, width, element, handle, stream));
      from += from_stride;
      to += to_stride;
    }
    const ncclResult_t result = calls.end();
    finish(calls.function(), result);
  }
}

inline void communicator::gather_unequal(const shardwise::detail::in_process_call& c, stream_type stream) {
  const std::size_t bytes = size_of(c.type);
  const ncclDataType_t element = type_of(c.type);
  std::size_t calls_in_row = 0;
  for (const std::size_t n : c.send_counts) calls_in_row += n != 0 ? 1u : 0u;
  detail::require_one_group(*s_, calls_in_row);
  const std::size_t rows_in_group = detail::most_calls_in_group / calls_in_row;
  const std::byte* from = c.sent();
  std::byte* to = c.received();
  for (std::size_t left = c.count; left != 0;) {
    std::size_t now = std::min(left, rows_in_group);
    left -= now;
    detail::call_group calls;
    for (; now != 0; --now) {
      std::byte* piece = to;
      for (int root = 0; root < s_->size && calls.good(); ++root) {
        const std::size_t width = c.send_counts[static_cast<std::size_t>(root)];
        if (width == 0) continue;
        const std::byte* source = root == s_->rank ? from : piece;
        calls.add("ncclBroadcast", ncclBroadcast(source, piece, width, element, root, s_->handle, stream));
        piece += width * bytes;
      }
      from += c.send_stride * bytes;
      to += c.recv_stride * bytes;
    }
    const ncclResult_t result = calls.end();
    finish(calls.function(), result);
  }
}

[[gnu::noinline]] inline void communicator::gather_in_groups(const void* send, std::size_t send_stride, void* recv,
                                                             std::size_t recv_stride, std::size_t rows,
                                                             std::span<const std::size_t> columns, dtype type,
                                                             stream_type stream) {
  const shardwise::detail::in_process_call c{.op = operation::gather_last_dim,
                                             .send = send,
                                             .recv = recv,
                                             .count = rows,
                                             .type = type,
                                             .send_stride = send_stride,
                                             .recv_stride = recv_stride,
                                             .send_counts = columns};
  std::size_t all = 0;
  bool equal = true;
  for (const std::size_t n : c.send_counts) {
    all += n;
    equal = equal && n == c.send_counts[0];
  }
  const auto ranks = static_cast<std::size_t>(s_->size), mine = static_cast<std::size_t>(s_->rank);
  if (c.send == nullptr || c.recv == nullptr || c.send_counts.size() != ranks ||
      (c.count > 1 && (c.send_stride < c.send_counts[mine] || c.recv_stride < all))) [[unlikely]]
    check(c);
  if (c.count == 0 || all == 0) return;
  return equal ? gather_equal(c, stream) : gather_unequal(c, stream);
}

inline void communicator::all_to_all(const void* send, std::span<const std::size_t> send_counts, void* recv,
                                     std::span<const std::size_t> recv_counts, dtype type, stream_type stream) {
  start({.op = operation::all_to_all, .type = type}, stream);
  const auto ranks = static_cast<std::size_t>(s_->size);
  if (send == recv || send == nullptr || recv == nullptr || send_counts.size() != ranks || recv_counts.size() != ranks)
      [[unlikely]] {
    check({.op = operation::all_to_all,
           .send = send,
           .recv = recv,
           .type = type,
           .send_counts = send_counts,
           .recv_counts = recv_counts});
  }
  detail::require_one_group(*s_, 2 * ranks);
  const ncclDataType_t element = type_of(type);
  const std::size_t bytes = size_of(type);
  const auto* from = static_cast<const std::byte*>(send);
  auto* to = static_cast<std::byte*>(recv);
  detail::call_group calls;
  for (int peer = 0; peer < s_->size && calls.good(); ++peer) {
    const std::size_t out = send_counts[static_cast<std::size_t>(peer)];
    const std::size_t in = recv_counts[static_cast<std::size_t>(peer)];
    if (out != 0) calls.add("ncclSend", ncclSend(from, out, element, peer, s_->handle, stream));
    if (in != 0 && calls.good()) calls.add("ncclRecv", ncclRecv(to, in, element, peer, s_->handle, stream));
    from += out * bytes;
    to += in * bytes;
  }
  const ncclResult_t result = calls.end();
  finish(calls.function(), result);
}

}  // namespace nccl
}  // namespace v0
}  // namespace shardwise

// SPDX-License-Identifier: Apache-2.0
// What came of the logits, and the memory that it is in.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/model/tensor_view.hpp"
#include "shardwise/run/detail/logits_key.hpp"
#include "shardwise/run/detail/logits_sum.hpp"
#include "shardwise/run/gathered.hpp"
#include "shardwise/shard/slice.hpp"

namespace shardwise {
inline namespace v0 {

/// The answer to a policy, the same on every rank. It lies in the memory of its call, until the next one.
struct logits_answer {
  std::size_t rows = 0;
  std::size_t width = 0;              ///< answers for each row: 1, k of top_k, n of log_softmax; 0 of gather
  std::span<const std::int64_t> ids;  ///< [rows, width]
  std::span<const double> values;     ///< [rows, width]: logits; of log_softmax logarithms of probabilities
  /// Of sample with top_p: how often the row asked for more of each rank's best than came at first. Empty for others.
  std::span<const std::uint32_t> rounds;
  gathered whole{nullptr, dtype::f32, {}};  ///< of gather: all columns, in the memory that the communicator works on
};

namespace detail {
/// What a call needs to remember; kept so that the next one allocates nothing.
struct logits_scratch {
  std::vector<interval> columns;  // ids of each rank
  std::vector<float> row;
  std::vector<logits_key> keys;
  std::vector<std::vector<logits_key>> best;  // [row][rank]: of the rank's ids, best first, as far as known
  std::vector<softmax_sum> blocks, sums;      // of one row; of each
  std::vector<std::size_t> open;              // rows that are not decided
  std::vector<std::size_t> taken;             // of the ranks' best ids
  std::vector<logits_key> kept, by_id;        // of one row
  std::vector<float> weighed;
  std::vector<std::int64_t> ids;
  std::vector<double> values;
  std::vector<std::uint32_t> rounds;
  logits_answer answer;
};

/// Rows of logits that the host can read.
struct host_logits {
  const std::byte* data = nullptr;
  std::size_t stride = 0;  // bytes from row to row
  const std::byte* row(std::size_t i) const { return data + i * stride; }
};
}  // namespace detail

/// The memory of policies whose logits, and whose communicator's buffers, are on the host. Keep one for each rank: it
/// grows with the first calls, and then allocates no more. For one call at a time. See cuda/logits_memory.hpp for
/// logits on a device.
class logits_memory {
 public:
  /// These four are for `run` alone, and are what it asks of any memory. `rows` rows of `bytes` each, `stride` bytes
  /// apart, where the host reads them.
  template <class C>
  detail::host_logits on_host(C&, typename C::stream_type, const void* data, std::size_t, std::size_t,
                              std::size_t stride) {
    return {static_cast<const std::byte*>(data), stride};
  }
  /// Room for a message of this rank, which the host writes.
  std::span<std::uint32_t> message(std::size_t words) {
    if (sent_.size() < words) sent_.resize(words);
    return {sent_.data(), words};
  }
  /// The messages of all ranks, one after the other, which the host reads. Collective.
  template <can_all_gather C>
  std::span<const std::uint32_t> exchange(C& comm, typename C::stream_type stream, std::size_t words) {
    const std::size_t all = words * static_cast<std::size_t>(comm.size());
    if (received_.size() < all) received_.resize(all);
    comm.all_gather(sent_.data(), received_.data(), words, dtype::i32, stream);
    return {received_.data(), all};
  }
  /// Room for gathered logits, which the communicator writes.
  void* whole(std::size_t bytes) {
    if (whole_.size() < bytes) whole_.resize(bytes);
    return whole_.data();
  }
  detail::logits_scratch& scratch() { return scratch_; }

 private:
  std::vector<std::uint32_t> sent_, received_;
  std::vector<std::byte> whole_;
  detail::logits_scratch scratch_;
};

}  // namespace v0
}  // namespace shardwise

// SPDX-License-Identifier: Apache-2.0
// A communicator that notes how it was called, on a stream that is a pointer, as a GPU's is.
#pragma once
#include <cstddef>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "shardwise/comm/communicator.hpp"

namespace comm_test {

struct fake_stream_object;
using fake_stream = fake_stream_object*;

/// All arguments of a call as one line, pointers by their address.
template <class... Arguments>
std::string line(const std::string& name, const Arguments&... arguments) {
  std::ostringstream out;
  out << name;
  const auto put = [&](const auto& a) {
    using type = std::decay_t<decltype(a)>;
    if constexpr (std::is_enum_v<type>) {
      out << ' ' << static_cast<int>(a);
    } else if constexpr (std::is_convertible_v<type, std::span<const std::size_t>>) {
      for (const std::size_t n : std::span<const std::size_t>(a)) out << ' ' << n;
    } else {
      out << ' ' << a;
    }
  };
  (put(arguments), ...);
  return out.str();
}

struct recorder {
  using stream_type = fake_stream;
  using counts = std::span<const std::size_t>;
  using dtype = shardwise::dtype;
  using reduction = shardwise::reduction;

  std::vector<std::string>& calls;
  int my_rank = 2, ranks = 5;

  int rank() const { return my_rank; }
  int size() const { return ranks; }
  void barrier(fake_stream s) { calls.push_back(line("barrier", s)); }
  void all_reduce(const void* send, void* recv, std::size_t n, dtype t, reduction op, fake_stream s) {
    calls.push_back(line("all_reduce", send, recv, n, t, op, s));
  }
  void all_gather(const void* send, void* recv, std::size_t n, dtype t, fake_stream s) {
    calls.push_back(line("all_gather", send, recv, n, t, s));
  }
  void gather_last_dim(const void* send, std::size_t send_stride, void* recv, std::size_t recv_stride, std::size_t rows,
                       counts columns, dtype t, fake_stream s) {
    calls.push_back(line("gather_last_dim", send, send_stride, recv, recv_stride, rows, columns, t, s));
  }
  void reduce_scatter(const void* send, void* recv, std::size_t n, dtype t, reduction op, fake_stream s) {
    calls.push_back(line("reduce_scatter", send, recv, n, t, op, s));
  }
  void broadcast(void* data, std::size_t n, dtype t, int root, fake_stream s) {
    calls.push_back(line("broadcast", data, n, t, root, s));
  }
  void all_to_all(const void* send, counts sent, void* recv, counts received, dtype t, fake_stream s) {
    calls.push_back(line("all_to_all", send, sent, recv, received, t, s));
  }
  recorder split(int color, int key) {
    calls.push_back(line("split", color, key));
    return {calls, key, color};
  }
};

inline char send_memory[64], recv_memory[64];
inline const std::size_t some_counts[] = {1, 2, 3, 4, 5}, other_counts[] = {6, 7, 8, 9, 10};

/// Calls every operation once, with an argument of its own in each place, on the stream `s`.
template <class C>
void call_all(C& c, typename C::stream_type s) {
  using shardwise::dtype;
  using shardwise::reduction;
  c.barrier(s);
  c.all_reduce(send_memory, recv_memory, 11, dtype::bf16, reduction::max, s);
  c.all_gather(send_memory, recv_memory, 12, dtype::f32, s);
  c.gather_last_dim(send_memory, 20, recv_memory, 30, 3, some_counts, dtype::f16, s);
  c.reduce_scatter(send_memory, recv_memory, 13, dtype::f64, reduction::sum, s);
  c.broadcast(recv_memory, 14, dtype::i64, 4, s);
  c.all_to_all(send_memory, some_counts, recv_memory, other_counts, dtype::u8, s);
}

}  // namespace comm_test

// SPDX-License-Identifier: Apache-2.0
// The memory and the stream that a communicator works on, as the cases of suite.hpp see them.
#pragma once
#include <concepts>
#include <cstddef>
#include <span>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/run/logits_memory.hpp"
#include "support.hpp"

namespace comm_test {

/// What a runner says of the memory that its communicator works on. All ranks' are of one kind.
///   make(type, count, shift)  a `buffer`, or `mirrored<Memory>`, `shift` bytes away from the usual alignment
///   logits_memory             what policies of logits in such memory need
///   wait(stream)              returns when what was put on the stream is done
///   any_alignment             false: a shift is a multiple of the element's size, as on a GPU
///   in_place_on_some_ranks    true: all_reduce may be in place on one rank and not on another
///   board()                   optional: ints, one for each rank, that all ranks share
template <class B>
concept backend = requires(B& b, sw::dtype type, std::size_t n) {
  typename B::logits_memory;
  b.make(type, n, n).address();
  { B::any_alignment } -> std::convertible_to<bool>;
  { B::in_place_on_some_ranks } -> std::convertible_to<bool>;
};

/// Memory of the host.
class host_backend {
 public:
  static constexpr bool any_alignment = true, in_place_on_some_ranks = true;
  using logits_memory = sw::logits_memory;
  explicit host_backend(int* board) : board_(board) {}
  buffer make(sw::dtype type, std::size_t count, std::size_t shift) const { return buffer(type, count, shift); }
  void wait(sw::host_stream) const {}
  int* board() const { return board_; }

 private:
  int* board_;
};

/// A buffer that lies in other memory, with its image on the host. `Memory` is made of a number of bytes, has `data()`,
/// and `upload(span<const byte>)` and `download(span<byte>)` of all of them, both done when they return.
template <class Memory>
class mirrored : public buffer {
 public:
  mirrored(sw::dtype type, std::size_t count, std::size_t shift)
      : buffer(type, count, shift), memory_(all_bytes().size()) {
    upload();
  }
  std::byte* address(std::size_t i = 0) { return static_cast<std::byte*>(memory_.data()) + offset_of(i); }
  void upload() { memory_.upload(std::span<const std::byte>(all_bytes())); }
  void download() { memory_.download(all_bytes()); }

 private:
  Memory memory_;
};

/// Type and size of a case's buffers; `shift` and `other` are two alignments.
struct trial {
  sw::dtype type;
  std::size_t count, shift, other;
};

/// One rank's side of a case.
template <backend B, class C>
class place {
 public:
  using stream_type = typename C::stream_type;
  using logits_memory = typename B::logits_memory;
  place(B& backend, C& comm, stream_type s) : c(comm), stream(s), backend_(backend) {}

  C& c;
  stream_type stream;

  int rank() const { return c.rank(); }
  std::size_t mine() const { return as_size(c.rank()); }
  std::size_t ranks() const { return as_size(c.size()); }

  auto empty(sw::dtype type, std::size_t count, std::size_t shift = 0) { return backend_.make(type, count, shift); }
  /// Holds `what(i)`.
  template <class What>
  auto holding(sw::dtype type, std::size_t count, std::size_t shift, What what) {
    auto b = empty(type, count, shift);
    for (std::size_t i = 0; i < count; ++i) b.set(i, what(i));
    b.upload();
    return b;
  }
  /// Holds the rank's `value`.
  auto filled(sw::dtype type, std::size_t count, std::size_t shift = 0) {
    return holding(type, count, shift, own(type));
  }
  auto own(sw::dtype type) const {
    return [type, r = rank()](std::size_t i) { return value(type, r, i); };
  }
  /// Brings what the collectives so far have left to the host.
  template <class... Buffers>
  void fetch(Buffers&... buffers) {
    backend_.wait(stream);
    (buffers.download(), ...);
  }

 private:
  B& backend_;
};

}  // namespace comm_test

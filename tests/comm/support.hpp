// SPDX-License-Identifier: Apache-2.0
// Buffers of any dtype at any address, with values that every dtype holds exactly.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "sanitized.hpp"
#include "shardwise/comm.hpp"
#include "shardwise/model/half.hpp"

namespace comm_test {
namespace sw = shardwise;

inline constexpr int rank_counts[] = {1, 2, 3, 4, 8};
inline constexpr std::size_t sizes[] = {0, 1, 7, sanitized ? 1009 : 10007};
inline constexpr sw::dtype reducible[] = {sw::dtype::f32, sw::dtype::f64, sw::dtype::f16, sw::dtype::bf16,
                                          sw::dtype::i32, sw::dtype::i64, sw::dtype::u8};
inline constexpr sw::dtype other_types[] = {sw::dtype::f8_e4m3, sw::dtype::f8_e5m2, sw::dtype::i16, sw::dtype::i8,
                                            sw::dtype::boolean};

inline constexpr sw::dtype every_type[] = {sw::dtype::f32,     sw::dtype::f64, sw::dtype::f16, sw::dtype::bf16,
                                           sw::dtype::i32,     sw::dtype::i64, sw::dtype::u8,  sw::dtype::f8_e4m3,
                                           sw::dtype::f8_e5m2, sw::dtype::i16, sw::dtype::i8,  sw::dtype::boolean};

template <class T>
void write_as(std::byte* to, T x) {
  std::memcpy(to, &x, sizeof x);
}
template <class T>
T read_as(const std::byte* from) {
  T x;
  std::memcpy(&x, from, sizeof x);
  return x;
}

/// `count` elements, `shift` bytes away from any alignment, between margins that nobody may write to.
class buffer {
 public:
  buffer(sw::dtype type, std::size_t count, std::size_t shift = 0)
      : type_(type), count_(count), shift_(margin + shift), bytes_(shift_ + count * sw::size_of(type) + margin, mark) {}

  std::byte* at(std::size_t i) { return bytes_.data() + offset_of(i); }
  const std::byte* at(std::size_t i) const { return bytes_.data() + offset_of(i); }
  std::byte* data() { return at(0); }
  std::size_t size() const { return count_; }

  /// What a communicator is given for `at(i)`; for memory that the host cannot reach see suite.hpp.
  std::byte* address(std::size_t i = 0) { return at(i); }
  void upload() {}
  void download() {}

  void set(std::size_t i, double x) {
    switch (type_) {
      case sw::dtype::f64: return write_as(at(i), x);
      case sw::dtype::f32: return write_as(at(i), static_cast<float>(x));
      case sw::dtype::f16: return write_as(at(i), sw::detail::to_f16(static_cast<float>(x)));
      case sw::dtype::bf16: return write_as(at(i), sw::detail::to_bf16(static_cast<float>(x)));
      case sw::dtype::i64: return write_as(at(i), static_cast<std::int64_t>(x));
      case sw::dtype::i32: return write_as(at(i), static_cast<std::int32_t>(x));
      case sw::dtype::i16: return write_as(at(i), static_cast<std::int16_t>(x));
      default: return write_as(at(i), static_cast<std::uint8_t>(static_cast<int>(x)));
    }
  }
  double get(std::size_t i) const {
    switch (type_) {
      case sw::dtype::f64: return read_as<double>(at(i));
      case sw::dtype::f32: return static_cast<double>(read_as<float>(at(i)));
      case sw::dtype::f16: return static_cast<double>(sw::detail::from_f16(read_as<std::uint16_t>(at(i))));
      case sw::dtype::bf16: return static_cast<double>(sw::detail::from_bf16(read_as<std::uint16_t>(at(i))));
      case sw::dtype::i64: return static_cast<double>(read_as<std::int64_t>(at(i)));
      case sw::dtype::i32: return read_as<std::int32_t>(at(i));
      case sw::dtype::i16: return read_as<std::int16_t>(at(i));
      default: return read_as<std::uint8_t>(at(i));
    }
  }
  bool untouched(std::size_t i) const {
    for (std::size_t b = 0; b < sw::size_of(type_); ++b) {
      if (at(i)[b] != mark) return false;
    }
    return true;
  }
  bool margins_untouched() const {
    for (std::size_t b = 0; b < shift_; ++b) {
      if (bytes_[b] != mark) return false;
    }
    for (std::size_t b = bytes_.size() - margin; b < bytes_.size(); ++b) {
      if (bytes_[b] != mark) return false;
    }
    return true;
  }

 protected:
  std::size_t offset_of(std::size_t i) const { return shift_ + i * sw::size_of(type_); }
  std::span<std::byte> all_bytes() { return bytes_; }

 private:
  static constexpr std::size_t margin = 16;
  static constexpr std::byte mark{0xab};
  sw::dtype type_;
  std::size_t count_, shift_;
  std::vector<std::byte> bytes_;
};

/// What rank `rank` holds at `i`: whole numbers, so small that the sum of eight is exact in bf16; negative ones where
/// the type has them.
inline double value(sw::dtype type, int rank, std::size_t i) {
  const double x = static_cast<double>((static_cast<std::size_t>(rank) * 5 + i * 3 + i / 11) % 11);
  return type == sw::dtype::u8 || !sw::detail::can_reduce(type) ? x : x - 5;
}
/// How many elements of `b` are not `expected(i)`; a touched margin counts as one.
template <class Expected>
std::size_t wrong(const buffer& b, Expected expected) {
  std::size_t n = b.margins_untouched() ? 0 : 1;
  for (std::size_t i = 0; i < b.size(); ++i) n += b.get(i) != expected(i) ? 1u : 0u;
  return n;
}

/// Every rank runs `f(comm)`, which gives the number of its wrong elements; the sum of all, since assertions are for
/// one thread.
template <class F>
std::size_t wrong_on(int ranks, F f) {
  std::size_t n = 0;
  for (const std::size_t of_rank : sw::in_process(ranks, f)) n += of_rank;
  return n;
}

inline std::size_t as_size(int x) { return static_cast<std::size_t>(x); }

}  // namespace comm_test

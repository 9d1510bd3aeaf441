// SPDX-License-Identifier: Apache-2.0
// What the tests of run/ share: an engine's tensor of whole numbers, which f32 holds exactly, and its arithmetic.
#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "shardwise/comm/communicator.hpp"
#include "shardwise/error.hpp"
#include "shardwise/model/tensor_view.hpp"
#include "shardwise/shard/shard.hpp"
#include "shardwise/shard/sharding.hpp"
#include "shardwise/shard/unshard.hpp"

namespace support {

namespace sw = shardwise;

/// Dense f32, row-major.
struct tensor {
  sw::tensor_shape shape;
  std::vector<float> data;

  tensor() = default;
  explicit tensor(const sw::tensor_shape& s) : shape(s), data(s.elements()) {}
  sw::tensor_view view() const { return {const_cast<float*>(data.data()), sw::dtype::f32, shape}; }
  std::size_t columns() const { return shape.last(); }
  std::size_t rows() const { return columns() == 0 ? shape[0] : data.size() / columns(); }
  float& at(std::size_t r, std::size_t c) { return data[r * columns() + c]; }
  float at(std::size_t r, std::size_t c) const { return data[r * columns() + c]; }
  friend bool operator==(const tensor& a, const tensor& b) { return a.shape == b.shape && a.data == b.data; }
  friend tensor operator+(tensor a, const tensor& b) {
    for (std::size_t i = 0; i < a.data.size(); ++i) a.data[i] += b.data[i];
    return a;
  }
};

/// Small whole numbers that no two elements near each other share; `seed` tells tensors apart.
inline tensor numbers(const sw::tensor_shape& shape, unsigned seed) {
  tensor t(shape);
  unsigned state = seed * 2654435769u + 12345;
  for (float& f : t.data) {
    state = state * 1664525u + 1013904223u;
    f = static_cast<float>(static_cast<int>(state >> 28) - 7);
  }
  return t;
}

/// x [rows, in] times weight [out, in], transposed.
inline tensor times(const tensor& x, const tensor& weight) {
  const std::size_t out = weight.shape[0], in = weight.columns();
  tensor y({x.rows(), out});
  for (std::size_t r = 0; r < x.rows(); ++r) {
    for (std::size_t o = 0; o < out; ++o) {
      for (std::size_t i = 0; i < in; ++i) y.at(r, o) += x.at(r, i) * weight.at(o, i);
    }
  }
  return y;
}

/// The columns that a list of intervals names, side by side.
inline tensor columns_of(const tensor& x, const sw::intervals& which) {
  tensor y({x.rows(), which.size()});
  std::size_t to = 0;
  for (const sw::interval& i : which) {
    for (std::size_t c = i.begin; c < i.end; ++c, ++to) {
      for (std::size_t r = 0; r < x.rows(); ++r) y.at(r, to) = x.at(r, c);
    }
  }
  return y;
}

/// A rank's local tensor of a parameter, cut out of the whole one.
inline tensor local_of(const sw::sharding& s, std::string_view name, int rank, const tensor& whole) {
  const std::size_t i = s.find(name);
  tensor t(s.local_shape(i, rank));
  sw::shard_tensor(s, i, rank, whole.view(), t.view());
  return t;
}

/// A head [columns, 8], cut as torch.chunk cuts where `divided` says so.
inline sw::sharding head(std::size_t columns, int tp, sw::division divided = sw::division::chunk,
                         sw::style how = sw::colwise_gather_output) {
  sw::tree t;
  t.add("lm_head.weight", sw::dtype::f32, {columns, 8});
  how.divided = divided;
  const sw::rule rule("lm_head", how);
  return sw::shard({&rule, 1}, t, {.tp = tp});
}

/// What `f` throws says this; "" if it throws nothing.
template <class Error = sw::error, class F>
std::string refusal(F&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

/// A rank of some group, as far as its number goes: for what is refused before any collective.
struct claimed_rank {
  using stream_type = sw::host_stream;
  int rank_ = 0, size_ = 1;
  int rank() const { return rank_; }
  int size() const { return size_; }
  void barrier(sw::host_stream) {}
  void all_reduce(const void*, void*, std::size_t, sw::dtype, sw::reduction, sw::host_stream) { ++collectives; }
  void all_gather(const void*, void*, std::size_t, sw::dtype, sw::host_stream) { ++collectives; }
  void reduce_scatter(const void*, void*, std::size_t, sw::dtype, sw::reduction, sw::host_stream) { ++collectives; }
  void gather_last_dim(const void*, std::size_t, void*, std::size_t, std::size_t, std::span<const std::size_t>,
                       sw::dtype, sw::host_stream) {
    ++collectives;
  }
  int collectives = 0;
};

}  // namespace support

template <>
struct shardwise::tensor_traits<support::tensor> {
  static tensor_view view(const support::tensor& t) { return t.view(); }
  static support::tensor empty_like(const support::tensor&, const tensor_shape& s) {
    support::tensor t(s);
    for (float& f : t.data) f = -12345;  // what a gather leaves out shows
    return t;
  }
  static support::tensor columns(const support::tensor& t, std::size_t begin, std::size_t extent) {
    intervals one;
    one.push({begin, begin + extent});
    return support::columns_of(t, one);
  }
  static support::tensor rows(const support::tensor& t, std::size_t begin, std::size_t extent, host_stream) {
    support::tensor y({extent, t.columns()});
    for (std::size_t r = 0; r < extent && begin + r < t.rows(); ++r) {
      for (std::size_t c = 0; c < t.columns(); ++c) y.at(r, c) = t.at(begin + r, c);
    }
    return y;
  }
  static void add_to_rows(support::tensor& x, const support::tensor& bias, host_stream) {
    for (std::size_t r = 0; r < x.rows(); ++r) {
      for (std::size_t c = 0; c < x.columns(); ++c) x.at(r, c) += bias.data[c];
    }
  }
};

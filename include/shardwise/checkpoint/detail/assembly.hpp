// SPDX-License-Identifier: Apache-2.0
// A tensor as parts of others, and the operations on such tensors: stack, concatenate, cut out, transpose, spread.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "shardwise/checkpoint/conversion.hpp"
#include "shardwise/model/shape.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Where the elements of a tensor lie in other tensors.
struct assembly {
  tensor_shape shape;
  std::vector<checkpoint::part> parts;

  /// The whole of tensor `t`.
  static assembly whole(std::size_t t, const tensor_shape& shape) {
    checkpoint::part p;
    p.tensor = t;
    p.at = box::whole(shape);
    p.from = p.at.offset;
    for (std::size_t d = 0; d < max_dims; ++d) {
      p.step[d] = p.every[d] = 1;
      p.axis[d] = d;
    }
    return {shape, {p}};
  }
};

/// The indices i below `count` for which first + i * step is begin + j * stride for a j below `n`, as the first such i,
/// how many, and how many apart; and the j of the first and their distance. Used to cut parts that are themselves
/// spread.
struct progression {
  std::size_t first = 0, count = 0, apart = 1, j_first = 0, j_apart = 1;
};
inline progression common_of(std::size_t first, std::size_t step, std::size_t count, std::size_t begin,
                             std::size_t stride, std::size_t n) {
  progression r;
  std::size_t i = first >= begin ? 0 : (begin - first + step - 1) / step;
  // Which remainders occur repeats after `stride` steps at most.
  for (std::size_t tries = 0; tries < stride && i < count; ++tries, ++i) {
    const std::size_t x = first + i * step - begin;
    if (x % stride != 0) continue;
    r.first = i;
    r.j_first = x / stride;
    while (step * r.apart % stride != 0) ++r.apart;
    r.j_apart = step * r.apart / stride;
    if (r.j_first >= n) return r;
    r.count = std::min((count - i - 1) / r.apart, (n - r.j_first - 1) / r.j_apart) + 1;
    return r;
  }
  return r;
}

/// Along dim `dim`: `n` elements from `begin` on, each `stride`-th.
inline assembly cut_out(const assembly& a, std::size_t dim, std::size_t begin, std::size_t n, std::size_t stride = 1) {
  assembly out{a.shape, {}};
  out.shape[dim] = n;
  for (checkpoint::part p : a.parts) {
    const progression r = common_of(p.at.offset[dim], p.step[dim], p.at.extent[dim], begin, stride, n);
    if (r.count == 0) continue;
    p.at.offset[dim] = r.j_first;
    p.at.extent[dim] = r.count;
    p.step[dim] = r.count == 1 ? 1 : r.j_apart;
    for (std::size_t d = 0; d < p.from.dims(); ++d) {
      if (p.axis[d] != dim) continue;
      p.from[d] += r.first * p.every[d];
      p.every[d] = r.count == 1 ? 1 : p.every[d] * r.apart;
    }
    out.parts.push_back(p);
  }
  return out;
}

/// Puts `a` into `whole`, whose shape is there already: along `dim`, from `begin` on, each element `stride` from the
/// one before.
inline void place(assembly& whole, assembly&& a, std::size_t dim, std::size_t begin, std::size_t stride = 1) {
  for (checkpoint::part& p : a.parts) {
    p.at.offset[dim] = begin + p.at.offset[dim] * stride;
    if (p.at.extent[dim] != 1) p.step[dim] *= stride;
    whole.parts.push_back(p);
  }
}

/// Side by side along `dim`. All other extents are equal.
inline assembly concatenated(std::vector<assembly>&& all, std::size_t dim) {
  assembly out{all[0].shape, {}};
  out.shape[dim] = 0;
  for (assembly& a : all) {
    const std::size_t begin = out.shape[dim];
    out.shape[dim] += a.shape[dim];
    place(out, std::move(a), dim, begin);
  }
  return out;
}

/// In turns along `dim`. All shapes are equal.
inline assembly interleaved(std::vector<assembly>&& all, std::size_t dim) {
  assembly out{all[0].shape, {}};
  out.shape[dim] *= all.size();
  for (std::size_t k = 0; k < all.size(); ++k) place(out, std::move(all[k]), dim, k, all.size());
  return out;
}

/// Along a new dim 0. All shapes are equal.
inline assembly stacked(std::vector<assembly>&& all) {
  assembly out;
  out.shape.push(all.size());
  for (std::size_t n : all[0].shape) out.shape.push(n);
  for (std::size_t k = 0; k < all.size(); ++k) {
    for (checkpoint::part& p : all[k].parts) {
      box at;
      at.offset.push(k);
      at.extent.push(1);
      for (std::size_t d = 0; d < p.at.offset.dims(); ++d) {
        at.offset.push(p.at.offset[d]);
        at.extent.push(p.at.extent[d]);
      }
      for (std::size_t d = max_dims - 1; d > 0; --d) p.step[d] = p.step[d - 1];
      p.step[0] = 1;
      for (std::size_t& axis : p.axis) axis += 1;
      p.at = at;
      out.parts.push_back(p);
    }
  }
  return out;
}

inline assembly transposed(assembly&& a, std::size_t one, std::size_t two) {
  std::swap(a.shape[one], a.shape[two]);
  for (checkpoint::part& p : a.parts) {
    std::swap(p.at.offset[one], p.at.offset[two]);
    std::swap(p.at.extent[one], p.at.extent[two]);
    std::swap(p.step[one], p.step[two]);
    for (std::size_t d = 0; d < p.from.dims(); ++d) {
      if (p.axis[d] == one) {
        p.axis[d] = two;
      } else if (p.axis[d] == two) {
        p.axis[d] = one;
      }
    }
  }
  return std::move(a);
}

/// The rows of each of `heads` heads, which lie in pairs, as halves: rows 0, 2, 4, ... and then 1, 3, 5, ...
inline assembly halves_of_heads(const assembly& a, std::size_t heads) {
  const std::size_t rows = a.shape[0] / heads;
  assembly out{a.shape, {}};
  for (std::size_t h = 0; h < heads; ++h) {
    for (std::size_t k = 0; k < 2; ++k) {
      place(out, cut_out(a, 0, h * rows + k, rows / 2, 2), 0, h * rows + k * (rows / 2));
    }
  }
  return out;
}

/// What is common to a part and a box of the assembled tensor: the part of it, in places of the box.
inline bool part_inside(checkpoint::part& p, const box& what) {
  for (std::size_t d = 0; d < what.offset.dims(); ++d) {
    const progression r = common_of(p.at.offset[d], p.step[d], p.at.extent[d], what.offset[d], 1, what.extent[d]);
    if (r.count == 0) return false;
    p.at.offset[d] = r.j_first;
    p.at.extent[d] = r.count;
    for (std::size_t t = 0; t < p.from.dims(); ++t) {
      if (p.axis[t] == d) p.from[t] += r.first * p.every[t];
    }
  }
  return true;
}

/// Calls `f(box of the source's tensor, first)` for each box that a part comes to: one, but where it takes not every
/// element. `first` is how far the box is from the part's start, in elements of each dim of the source's tensor.
template <class F>
void for_each_box(const checkpoint::part& p, F&& f) {
  box b;
  tensor_shape first;
  std::size_t turns[max_dims] = {};
  for (std::size_t d = 0; d < p.from.dims(); ++d) {
    const std::size_t n = p.axis[d] == checkpoint::part::no_axis ? 1 : p.at.extent[p.axis[d]];
    const bool apart = p.every[d] != 1 && n != 1;
    b.offset.push(p.from[d]);
    b.extent.push(apart ? 1 : n);
    first.push(0);
    turns[d] = apart ? n : 1;
  }
  for (;;) {
    f(static_cast<const box&>(b), static_cast<const tensor_shape&>(first));
    std::size_t d = first.dims();
    for (;;) {
      if (d-- == 0) return;
      if (++first[d] < turns[d]) {
        b.offset[d] += p.every[d];
        break;
      }
      b.offset[d] = p.from[d];
      first[d] = 0;
    }
  }
}

}  // namespace detail
}  // namespace v0
}  // namespace shardwise

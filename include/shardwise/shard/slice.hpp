// SPDX-License-Identifier: Apache-2.0
// The one slicer: from a cut, a size and the number of ranks to each rank's slices. Plain functions over values.
#pragma once
#include <cstddef>
#include <cstdint>

#include "shardwise/model/shape.hpp"
#include "shardwise/plan/style.hpp"

namespace shardwise {
inline namespace v0 {

/// How one dim of a tensor is cut. `dim < 0`: not at all.
struct cut {
  int dim = -1;
  std::uint8_t groups = 1;  ///< laid side by side, each cut by itself
  division divided = division::exact;
  std::size_t units = 0;  ///< equal units in each group that are not cut; 0: single elements

  constexpr bool whole() const { return dim < 0; }
  friend constexpr bool operator==(const cut&, const cut&) = default;
};

/// [begin, end) of a dim.
struct interval {
  std::size_t begin = 0, end = 0;
  constexpr std::size_t size() const { return end - begin; }
  friend constexpr bool operator==(const interval&, const interval&) = default;
};

/// A rank's pieces of the cut dim, in the order in which they lie in the local tensor. Empty pieces are left out.
struct intervals {
  interval at[max_groups]{};
  std::size_t count = 0;
  constexpr void push(interval i) {
    if (i.begin < i.end) at[count++] = i;
  }
  constexpr std::size_t size() const {
    std::size_t n = 0;
    for (std::size_t i = 0; i < count; ++i) n += at[i].size();
    return n;
  }
  constexpr const interval* begin() const { return at; }
  constexpr const interval* end() const { return at + count; }
  friend constexpr bool operator==(const intervals& a, const intervals& b) {
    if (a.count != b.count) return false;
    for (std::size_t i = 0; i < a.count; ++i) {
      if (a.at[i] != b.at[i]) return false;
    }
    return true;
  }
};

/// Rank `rank`'s piece of `n` by torch.chunk's arithmetic.
constexpr interval chunk(std::size_t n, int ranks, int rank) {
  const auto w = static_cast<std::size_t>(ranks), r = static_cast<std::size_t>(rank);
  const std::size_t step = n / w + (n % w != 0 ? 1 : 0);
  const std::size_t begin = r * step < n ? r * step : n;
  return {begin, n - begin < step ? n : begin + step};
}

/// Why a dim cannot be cut.
enum class cut_fault : std::uint8_t {
  none,
  groups,       ///< the extent is no multiple of the number of groups
  units,        ///< a group is no multiple of the number of units
  ranks,        ///< the units (or elements) of a group do not divide over the ranks
  empty_group,  ///< by torch.chunk, some rank gets nothing of any group, which Hugging Face's loader does not survive
};

/// Can `extent` be cut in this way over `ranks`?
constexpr cut_fault fault_of(const cut& c, std::size_t extent, int ranks) {
  if (c.whole() || extent == 0) return cut_fault::none;
  const std::size_t groups = c.groups;
  if (c.divided == division::chunk && c.units == 0) {
    if (groups == 1) return cut_fault::none;
    for (std::size_t g = 0; g < groups; ++g) {
      const interval group = chunk(extent, static_cast<int>(groups), static_cast<int>(g));
      if (chunk(group.size(), ranks, ranks - 1).size() != 0) return cut_fault::none;
    }
    return cut_fault::empty_group;
  }
  if (extent % groups != 0) return cut_fault::groups;
  const std::size_t group = extent / groups;
  if (c.units != 0 && group % c.units != 0) return cut_fault::units;
  const std::size_t divisible = c.units != 0 ? c.units : group;
  return divisible % static_cast<std::size_t>(ranks) != 0 ? cut_fault::ranks : cut_fault::none;
}

/// Rank `rank`'s pieces of a dim of `extent` elements. The cut has no fault at this number of ranks.
constexpr intervals pieces_of(const cut& c, std::size_t extent, int ranks, int rank) {
  intervals out;
  if (c.whole()) {
    out.push({0, extent});
    return out;
  }
  // What divides exactly is divided equally by torch.chunk too: one arithmetic serves both.
  for (int g = 0; g < c.groups; ++g) {
    const interval group = chunk(extent, c.groups, g);
    const interval piece = chunk(group.size(), ranks, rank);
    out.push({group.begin + piece.begin, group.begin + piece.end});
  }
  return out;
}

/// The cut that a style makes of a parameter with `dims` dims. `is_bias`: its last name is `bias`.
struct cut_choice {
  cut how;
  bool possible = true;  ///< false: the style cuts a dim that the parameter does not have
};
constexpr cut_choice cut_by(const style& s, std::size_t dims, bool is_bias) {
  cut c;
  c.divided = s.divided;
  c.groups = s.group_count;
  const int last = static_cast<int>(dims) - 1;
  switch (s.facts().cut) {
    case cut_of::out: c.dim = last > 0 ? last - 1 : last; break;
    case cut_of::in: c.dim = last; break;
    case cut_of::first: c.dim = last < 0 ? -1 : 0; break;
    case cut_of::second: c.dim = 1; break;
    case cut_of::experts:
      c.dim = last < 0 ? -1 : 0;
      c.divided = division::exact;
      break;
    default: break;
  }
  if (dims == 1) {
    if (s.facts().cut == cut_of::in && (is_bias || s.hugging_face_packed_rowwise())) c.dim = -1;
    // Hugging Face cuts a packed vector as if it were not packed; a plan of ours means its groups.
    if (s.divided == division::chunk) c.groups = 1;
  }
  if (c.dim > last) return {cut{}, false};
  if (c.whole()) c = cut{};
  return {c, true};
}

/// A rank's piece of a whole tensor: boxes in the order in which they follow each other in the local tensor, along the
/// cut dim. A rank that holds nothing has none.
struct slices {
  box at[max_groups]{};
  std::size_t count = 0;
  constexpr const box* begin() const { return at; }
  constexpr const box* end() const { return at + count; }
};
constexpr slices slices_of(const cut& c, const tensor_shape& whole, int ranks, int rank) {
  slices out;
  if (c.whole()) {
    out.at[out.count++] = box::whole(whole);
    return out;
  }
  const auto dim = static_cast<std::size_t>(c.dim);
  for (const interval& i : pieces_of(c, whole[dim], ranks, rank)) {
    box b = box::whole(whole);
    b.offset[dim] = i.begin;
    b.extent[dim] = i.size();
    out.at[out.count++] = b;
  }
  return out;
}

/// The shape of a rank's local tensor.
constexpr tensor_shape local_shape_of(const cut& c, const tensor_shape& whole, int ranks, int rank) {
  tensor_shape s = whole;
  if (!c.whole()) {
    const auto dim = static_cast<std::size_t>(c.dim);
    s[dim] = pieces_of(c, whole[dim], ranks, rank).size();
  }
  return s;
}

}  // namespace v0
}  // namespace shardwise

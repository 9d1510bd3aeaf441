// SPDX-License-Identifier: Apache-2.0
// The one slicer: from a cut, a size and the number of ranks to each rank's slices. Plain functions over values.
#pragma once
#include <cstddef>
#include <cstdint>

#include "shardwise/model/shape.hpp"
#include "shardwise/plan/style.hpp"

namespace shardwise {
inline namespace v0 {

/// What is dealt to the ranks: of a dim, of each of its equal groups, or of one of unequal ones.
struct dealt_units {
  std::size_t units = 0;  ///< equal units that are not cut; 0: single elements
  std::size_t other = 0;  ///< with how many they are paired
  pairing pair = pairing::none;
  friend constexpr bool operator==(const dealt_units&, const dealt_units&) = default;
};

/// One of several groups of unequal size.
struct unequal_group {
  // Without initializers: g++ 12 does not survive an aggregate with an array of what has them.
  std::uint32_t units, other, width;  ///< units, what they are paired with, elements of a unit
  pairing pair;
  constexpr dealt_units dealt() const { return {units, other, pair}; }
  constexpr std::size_t extent() const { return std::size_t{units} * width; }
  friend constexpr bool operator==(const unequal_group&, const unequal_group&) = default;
};

/// How one dim of a tensor is cut. `dim < 0`: not at all.
struct cut {
  int dim = -1;
  std::uint8_t groups = 1;  ///< laid side by side, each cut by itself
  division divided = division::exact;
  std::size_t units = 0;         ///< equal units in each group that are not cut; 0: single elements
  std::size_t other = 0;         ///< with how many the units are paired
  pairing pair = pairing::none;  ///< of the units of equal groups
  std::uint32_t tile = 0;        ///< elements of a unit; 0: see `units`
  std::uint8_t unequal = 0;      ///< 0, or the number of `group`s, which are the groups then
  bool interleaved = false;      ///< the unequal groups repeat within each unit that others read: a key head
  unequal_group group[max_unequal_groups]{};

  constexpr bool whole() const { return dim < 0; }
  /// What is dealt of an equal group of this many elements.
  constexpr dealt_units dealt(std::size_t size) const { return {tile != 0 ? size / tile : units, other, pair}; }
  /// Are pieces of the same size and number, at every number of ranks? The dim is another thing.
  constexpr bool deals_like(cut o) const {
    o.dim = dim;
    return *this == o;
  }
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

/// Rank `rank`'s piece of `n` where the first ranks have one more.
constexpr interval near_equal(std::size_t n, int ranks, int rank) {
  const auto w = static_cast<std::size_t>(ranks), r = static_cast<std::size_t>(rank);
  const std::size_t least = n / w, more = n % w;
  const std::size_t begin = r * least + (r < more ? r : more);
  return {begin, begin + least + (r < more ? 1 : 0)};
}

namespace detail {

constexpr interval deal(std::size_t n, division how, int ranks, int rank) {
  return how == division::uneven ? near_equal(n, ranks, rank) : chunk(n, ranks, rank);
}
/// The query heads that a rank has, where `readers` read `read` key/value heads. `read` divides `readers`.
constexpr interval deal_readers(std::size_t readers, std::size_t read, division how, int ranks, int rank) {
  if (static_cast<std::size_t>(ranks) > read) return deal(readers, how, ranks, rank);
  const interval i = deal(read, how, ranks, rank);
  return {i.begin * (readers / read), i.end * (readers / read)};
}
constexpr std::size_t up(std::size_t n, std::size_t by) { return (n + by - 1) / by; }
/// The units that a rank has.
constexpr interval deal_units(const dealt_units& d, division how, int ranks, int rank) {
  if (d.pair == pairing::none) return deal(d.units, how, ranks, rank);
  if (d.pair == pairing::reads) return deal_readers(d.units, d.other, how, ranks, rank);
  const std::size_t share = d.other / d.units;
  const interval r = deal_readers(d.other, d.units, how, ranks, rank);
  return r.size() == 0 ? interval{r.begin / share, r.begin / share} : interval{r.begin / share, up(r.end, share)};
}
constexpr std::size_t readers_of(const dealt_units& d) { return d.pair == pairing::reads ? d.units : d.other; }
constexpr std::size_t read_of(const dealt_units& d) { return d.pair == pairing::reads ? d.other : d.units; }

}  // namespace detail

/// Why a dim cannot be cut.
enum class cut_fault : std::uint8_t {
  none,
  groups,       ///< the extent is no multiple of the number of groups; or not what the unequal ones are together
  interleaved,  ///< groups that repeat within each other are not of the same heads
  units,        ///< a group is no multiple of the number of units
  pairs,        ///< the units are no multiple of those that they read, or are read by
  ranks,        ///< the units (or elements) of a group do not divide over the ranks
  too_few,      ///< fewer units (or elements) than ranks
  shares,       ///< some rank's units would be read unequally often: see `style::read_by`
  empty_group,  ///< by torch.chunk, some rank gets nothing of any group, which Hugging Face's loader does not survive
};

namespace detail {

/// Can these units be dealt? `elements`: what they are of where there are no units.
constexpr cut_fault fault_of_dealing(const dealt_units& d, std::size_t elements, division how, int ranks) {
  const auto divides = [&](std::size_t n) {
    if (how != division::uneven) {
      return n % static_cast<std::size_t>(ranks) != 0 ? cut_fault::ranks : cut_fault::none;
    }
    return n < static_cast<std::size_t>(ranks) ? cut_fault::too_few : cut_fault::none;
  };
  if (d.pair == pairing::none) return divides(d.units != 0 ? d.units : elements);
  const std::size_t readers = readers_of(d), read = read_of(d);
  if (read == 0 || readers % read != 0) return cut_fault::pairs;
  const bool by_read = static_cast<std::size_t>(ranks) <= read;
  if (const cut_fault f = divides(by_read ? read : readers); f != cut_fault::none || by_read) return f;
  const std::size_t share = readers / read;
  for (int r = 0; r < ranks; ++r) {
    // No rank has more query heads than one key/value head has, so that a rank reads two of these at most.
    const interval i = deal(readers, how, ranks, r);
    const std::size_t edge = up(i.begin, share) * share;
    if (i.begin < edge && edge < i.end && edge - i.begin != i.end - edge) return cut_fault::shares;
  }
  return cut_fault::none;
}

/// How many times interleaved groups repeat: once for each unit that others read, or, where none are paired, for each
/// unit.
constexpr std::size_t blocks_of(const cut& c) {
  const dealt_units d = c.group[0].dealt();
  return d.pair == pairing::none ? d.units : read_of(d);
}
/// Are all of the same heads, so that each block is dealt as one? Then a rank has all of its blocks but the first and
/// the last whole, and where it has parts of blocks, of two at most.
constexpr bool of_the_same_heads(const cut& c) {
  const dealt_units first = c.group[0].dealt();
  for (std::size_t g = 1; g < c.unequal; ++g) {
    const dealt_units d = c.group[g].dealt();
    if ((d.pair == pairing::none) != (first.pair == pairing::none)) return false;
    if (d.pair == pairing::none ? d.units != first.units
                                : readers_of(d) != readers_of(first) || read_of(d) != read_of(first)) {
      return false;
    }
  }
  return true;
}

constexpr cut_fault fault_of_unequal(const cut& c, std::size_t extent, int ranks) {
  std::size_t left = extent;
  for (std::size_t g = 0; g < c.unequal; ++g) {
    if (c.group[g].extent() > left) return cut_fault::groups;  // numbers of a config may be of any size
    left -= c.group[g].extent();
  }
  if (left != 0) return cut_fault::groups;
  if (c.interleaved && !of_the_same_heads(c)) return cut_fault::interleaved;
  for (std::size_t g = 0; g < c.unequal; ++g) {
    const cut_fault f = fault_of_dealing(c.group[g].dealt(), 0, c.divided, ranks);
    if (f != cut_fault::none) return f;
  }
  return cut_fault::none;
}

/// The pieces of unequal groups that repeat in each of `blocks` blocks. A piece of a block is one of each group.
constexpr void push_interleaved(intervals& out, const cut& c, int ranks, int rank) {
  const std::size_t blocks = blocks_of(c);
  std::size_t block_width = 0;
  for (std::size_t g = 0; g < c.unequal; ++g) block_width += c.group[g].extent() / blocks;
  const auto edge_of = [&](std::size_t g, std::size_t unit) { return unit % (c.group[g].units / blocks) == 0; };
  bool at_edges = true;
  interval held{~std::size_t{}, 0};  // of blocks
  for (std::size_t g = 0; g < c.unequal; ++g) {
    const std::size_t share = c.group[g].units / blocks;
    const interval i = deal_units(c.group[g].dealt(), c.divided, ranks, rank);
    at_edges = at_edges && edge_of(g, i.begin) && edge_of(g, i.end);
    held.begin = i.begin / share < held.begin ? i.begin / share : held.begin;
    held.end = up(i.end, share) > held.end ? up(i.end, share) : held.end;
  }
  if (at_edges) return out.push({held.begin * block_width, held.end * block_width});
  for (std::size_t b = held.begin; b < held.end; ++b) {
    std::size_t at = b * block_width;
    for (std::size_t g = 0; g < c.unequal; ++g) {
      const std::size_t share = c.group[g].units / blocks, width = c.group[g].width;
      const interval i = deal_units(c.group[g].dealt(), c.divided, ranks, rank);
      const std::size_t from = i.begin > b * share ? i.begin - b * share : 0;
      const std::size_t to = i.end < (b + 1) * share ? i.end - b * share : share;
      if (from < to) out.push({at + from * width, at + to * width});
      at += share * width;
    }
  }
}

}  // namespace detail

/// Can `extent` be cut in this way over `ranks`?
constexpr cut_fault fault_of(const cut& c, std::size_t extent, int ranks) {
  if (c.whole() || extent == 0) return cut_fault::none;
  if (c.unequal != 0) return detail::fault_of_unequal(c, extent, ranks);
  const std::size_t groups = c.groups;
  if (c.divided == division::chunk && c.units == 0 && c.tile == 0) {
    if (groups == 1) return cut_fault::none;
    for (std::size_t g = 0; g < groups; ++g) {
      const interval group = chunk(extent, static_cast<int>(groups), static_cast<int>(g));
      if (chunk(group.size(), ranks, ranks - 1).size() != 0) return cut_fault::none;
    }
    return cut_fault::empty_group;
  }
  if (extent % groups != 0) return cut_fault::groups;
  const std::size_t group = extent / groups;
  if ((c.units != 0 && group % c.units != 0) || (c.tile != 0 && group % c.tile != 0)) return cut_fault::units;
  return detail::fault_of_dealing(c.dealt(group), group, c.divided, ranks);
}

/// One of the groups that lie side by side: where it is in the dim, and the cut that it has by itself.
struct cut_group {
  interval at;
  cut how;
};
constexpr cut_group group_of(const cut& c, std::size_t extent, int group) {
  cut_group out{chunk(extent, c.groups, group), c};
  out.how.groups = 1;
  if (c.unequal == 0) return out;
  std::size_t begin = 0;
  for (int g = 0; g < group; ++g) begin += c.group[g].extent();
  const unequal_group& of = c.group[group];
  out.at = {begin, begin + of.extent()};
  out.how.unequal = 0;
  out.how.units = of.units;
  out.how.other = of.other;
  out.how.pair = of.pair;
  for (unequal_group& g : out.how.group) g = {};
  return out;
}

/// Rank `rank`'s pieces of a dim of `extent` elements. The cut has no fault at this number of ranks.
constexpr intervals pieces_of(const cut& c, std::size_t extent, int ranks, int rank) {
  intervals out;
  if (c.whole()) {
    out.push({0, extent});
    return out;
  }
  if (c.interleaved) {
    detail::push_interleaved(out, c, ranks, rank);
    return out;
  }
  for (int g = 0; g < c.groups; ++g) {
    const cut_group group = group_of(c, extent, g);
    const std::size_t size = group.at.size();
    const dealt_units d = group.how.dealt(size);
    // What divides exactly is divided equally by torch.chunk too: one arithmetic serves both.
    const bool by_element = d.units == 0 || (d.pair == pairing::none && c.divided != division::uneven);
    const interval i =
        by_element ? detail::deal(size, c.divided, ranks, rank) : detail::deal_units(d, c.divided, ranks, rank);
    const std::size_t width = by_element ? 1 : size / d.units;
    out.push({group.at.begin + i.begin * width, group.at.begin + i.end * width});
  }
  return out;
}

/// On how many of the ranks does the element `at` of a dim of `extent` elements lie? More than one where units are
/// copied, all of them where it is whole.
constexpr int owners_of(const cut& c, std::size_t extent, int ranks, std::size_t at) {
  if (c.whole()) return ranks;
  int n = 0;
  for (int r = 0; r < ranks; ++r) {
    for (const interval& i : pieces_of(c, extent, ranks, r)) n += i.begin <= at && at < i.end ? 1 : 0;
  }
  return n;
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
    case cut_of::out: c.dim = s.channels_first ? (last < 0 ? -1 : 0) : last > 0 ? last - 1 : last; break;
    case cut_of::in: c.dim = last; break;
    case cut_of::first: c.dim = last < 0 ? -1 : 0; break;
    case cut_of::second: c.dim = 1; break;
    case cut_of::experts:
      c.dim = last < 0 ? -1 : 0;
      if (c.divided == division::chunk) c.divided = division::exact;
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

// SPDX-License-Identifier: Apache-2.0
// Cuts by meaning: heads that others read, copied where ranks share them; groups of unequal size; uneven dealing.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "catch.hpp"
#include "sanitized.hpp"
#include "shardwise/shard/shard.hpp"
#include "shardwise/shard/unshard.hpp"

namespace sw = shardwise;

namespace {

constexpr sw::style query = sw::colwise.units("heads").reading("kv_heads");
constexpr sw::style key = sw::colwise.units("kv_heads").read_by("heads");

/// An attention of `heads` and `kv_heads` heads of 2 features, by the given styles.
struct attention {
  std::size_t heads, kv_heads;
  sw::style q = query, k = key, o = sw::rowwise.units("heads").reading("kv_heads");

  sw::sharding at(int tp) const {
    sw::tree model;
    model.add("q.weight", sw::dtype::u8, {2 * heads, 3}).add("k.weight", sw::dtype::u8, {2 * kv_heads, 3});
    model.add("o.weight", sw::dtype::u8, {3, 2 * heads}).add("k.bias", sw::dtype::u8, {2 * kv_heads});
    model.config("", "heads", static_cast<std::int64_t>(heads))
        .config("", "kv_heads", static_cast<std::int64_t>(kv_heads));
    const sw::rule rules[] = {{"q", q}, {"k", k}, {"o", o}};
    return sw::shard({rules, 3}, model, {.tp = tp});
  }
  std::string refusal(int tp) const {
    try {
      (void)at(tp);
    } catch (const sw::shard_error& e) {
      return e.what();
    }
    return "";
  }
  std::vector<int> legal(int up_to) const {
    std::vector<int> sizes;
    for (int tp = 1; tp <= up_to; ++tp) {
      if (refusal(tp).empty()) sizes.push_back(tp);
    }
    return sizes;
  }
};
attention uneven(std::size_t heads, std::size_t kv_heads) {
  return {heads, kv_heads, query.uneven(), key.uneven(), sw::rowwise.units("heads").reading("kv_heads").uneven()};
}

/// Begin and end of each rank's rows of a parameter, in heads of two.
using parts = std::vector<std::pair<std::size_t, std::size_t>>;
parts heads_of(const sw::sharding& s, const char* name) {
  parts out;
  const std::size_t i = s.find(name);
  const auto dim = static_cast<std::size_t>(s[i].how.dim);
  for (int r = 0; r < s.tp(); ++r) {
    const sw::slices pieces = s.slices_of(i, r);
    REQUIRE(pieces.count == 1);
    const sw::box& b = pieces.at[0];
    out.push_back({b.offset[dim] / 2, (b.offset[dim] + b.extent[dim]) / 2});
  }
  return out;
}

}  // namespace

TEST_CASE("a rank holds the key/value heads that its query heads read, copied where ranks share one", "[shard]") {
  const sw::sharding s = attention{16, 2}.at(8);
  CHECK(heads_of(s, "q.weight") == parts{{0, 2}, {2, 4}, {4, 6}, {6, 8}, {8, 10}, {10, 12}, {12, 14}, {14, 16}});
  CHECK(heads_of(s, "o.weight") == heads_of(s, "q.weight"));
  const parts each_on_four{{0, 1}, {0, 1}, {0, 1}, {0, 1}, {1, 2}, {1, 2}, {1, 2}, {1, 2}};
  CHECK(heads_of(s, "k.weight") == each_on_four);
  CHECK(heads_of(s, "k.bias") == each_on_four);
  CHECK(sw::owners_of(s[s.find("k.weight")].how, 4, 8, 3) == 4);
  CHECK(sw::owners_of(s[s.find("q.weight")].how, 32, 8, 3) == 1);

  // No more ranks than key/value heads: these are dealt, each with its query heads.
  CHECK(heads_of(attention{16, 2}.at(2), "k.weight") == parts{{0, 1}, {1, 2}});
  CHECK(heads_of(uneven(9, 3).at(2), "q.weight") == parts{{0, 6}, {6, 9}});
  CHECK(heads_of(uneven(9, 3).at(2), "k.weight") == parts{{0, 2}, {2, 3}});
  // More ranks: query heads are. The third rank's two read one of either key/value head.
  CHECK(heads_of(uneven(9, 3).at(4), "q.weight") == parts{{0, 3}, {3, 5}, {5, 7}, {7, 9}});
  CHECK(heads_of(uneven(9, 3).at(4), "k.weight") == parts{{0, 1}, {1, 2}, {1, 3}, {2, 3}});
}

TEST_CASE("sizes at which a rank's heads would be read unequally often are refused, with the legal ones", "[shard]") {
  CHECK(attention{16, 2}.refusal(3).find("2 key/value heads") == std::string::npos);  // the field is `kv_heads`
  CHECK(attention{16, 2}.refusal(3).find("16 heads over 3 ranks") != std::string::npos);
  CHECK(uneven(16, 2).refusal(3).find(
            "16 heads with 2 kv_heads over 3 ranks (rank 1 would read one of these 2 times and another 3)") !=
        std::string::npos);
  CHECK(uneven(20, 4).refusal(5).find("(rank 1 would read one of these 1 times and another 3)") != std::string::npos);
  CHECK(attention{20, 4}.refusal(5).find("legal sizes: 1, 2, 4, 10, 20") != std::string::npos);
  CHECK(uneven(9, 3).refusal(10).find("9 heads over 10 ranks (some would get none)") != std::string::npos);
  CHECK(attention{10, 4}.refusal(1).find("10 heads, which are no multiple of 4 kv_heads") != std::string::npos);
  CHECK(uneven(9, 3).legal(12) == std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9});
  CHECK(uneven(8, 2).legal(12) == std::vector<int>{1, 2, 4, 5, 6, 7, 8});
  CHECK(attention{8, 2}.legal(12) == std::vector<int>{1, 2, 4, 8});
}

TEST_CASE("a step knows the units of its weight: what a vocabulary gathers unevenly", "[shard]") {
  sw::tree model;
  model.add("head.weight", sw::dtype::f32, {771, 2});
  const sw::rule rule("head", sw::colwise_gather_output.uneven());
  const sw::sharding s = sw::shard({&rule, 1}, model, {.tp = 4});
  std::vector<std::size_t> sizes;
  for (int r = 0; r < 4; ++r) sizes.push_back(s.step("head").pieces(r).size());
  CHECK(sizes == std::vector<std::size_t>{193, 193, 193, 192});
}

TEST_CASE("what may be whole is whole where its units do not divide, and its module then does nothing", "[shard]") {
  sw::tree model;
  model.add("qkv.weight", sw::dtype::f32, {18, 4}).add("qkv.bias", sw::dtype::f32, {18});
  model.add("proj.weight", sw::dtype::f32, {4, 6}).config("", "num_heads", 3);
  const char* why = "heads that do not divide";
  const sw::rule rules[] = {{"qkv", sw::colwise.groups(3).units("num_heads").or_whole(why)},
                            {"proj", sw::rowwise.units("num_heads").or_whole(why)}};
  const sw::sharding two = sw::shard({rules, 2}, model, {.tp = 2});
  CHECK((two[0].how.whole() && two[1].how.whole() && two[2].how.whole()));
  CHECK(
      (two.step("proj").then() == sw::collective::none && two.step("proj").input() == sw::placement(sw::replicated{})));
  CHECK((two.step("qkv").output() == sw::placement(sw::replicated{}) && two.step("qkv").how.reason == why));
  const sw::sharding three = sw::shard({rules, 2}, model, {.tp = 3});
  CHECK((three[0].how.dim == 0 && three.step("proj").then() == sw::collective::all_reduce));
  CHECK(three.local_shape(0, 1) == sw::tensor_shape{6, 4});
}

TEST_CASE("a convolution's output features are dim 0", "[shard]") {
  sw::tree model;
  model.add("conv.weight", sw::dtype::f32, {6, 1, 4}).add("conv.bias", sw::dtype::f32, {6});
  const sw::rule rule("conv", sw::colwise.convolution());
  const sw::sharding s = sw::shard({&rule, 1}, model, {.tp = 3});
  CHECK(s.local_shape(0, 2) == sw::tensor_shape{2, 1, 4});
  CHECK(s.local_shape(1, 2) == sw::tensor_shape{2});
}

namespace {
std::string refusal_of(const sw::rule& rule, const sw::tree& model) {
  try {
    (void)sw::shard({&rule, 1}, model, {.tp = 2});
  } catch (const sw::shard_error& e) {
    return e.what();
  }
  return "";
}
}  // namespace

TEST_CASE("tiles and unequal groups that do not add up are refused with their sizes", "[shard]") {
  const auto refusal = [](const sw::style& how, std::size_t extent) {
    sw::tree model;
    model.add("m.weight", sw::dtype::u8, {extent, 2}).config("", "h", 4).config("", "k", 2).config("", "d", 3);
    model.config("", "huge", 0xffffffff).config("", "one", 1);
    return refusal_of({"m", how}, model);
  };
  CHECK(refusal(sw::colwise.tiles(4), 6).find("6 elements in tiles of 4") != std::string::npos);
  CHECK(refusal(sw::colwise.tiles(4), 12).find("3 tiles over 2 ranks") != std::string::npos);
  CHECK(refusal(sw::colwise.tiles(4), 16).empty());
  const sw::style qkv = sw::colwise.groups(sw::heads("h"), sw::heads("k"), sw::heads("k").of("d"));
  CHECK(refusal(qkv, 4 * 2 + 2 * 2 + 2 * 3).empty());
  // Sizes whose sum is 2^64 + 2: no arithmetic of theirs comes round to a size that fits.
  const sw::feature_group huge = sw::heads("huge").of("huge");
  CHECK(refusal(sw::colwise.groups(huge, sw::heads("huge").of("k"), sw::heads("d").of("one")), 2)
            .find("2 elements in groups of ") != std::string::npos);
  CHECK(refusal(qkv, 4 * 2 + 2 * 2 + 2 * 3 + 1).find("19 elements in groups of 4 h of 2 + 2 k of 2 + 2 k of 3") !=
        std::string::npos);
}

TEST_CASE("interleaved groups repeat for each key head, whichever of them have units of it", "[shard]") {
  // Qwen3-Next's in_proj_ba of 2 key heads and 6 value heads, which transformers views as [2, 3 b + 3 a]:
  // b0 b1 b2 a0 a1 a2 | b3 b4 b5 a3 a4 a5.
  sw::tree model;
  model.add("ba.weight", sw::dtype::u8, {12, 1}).config("", "values", 6).config("", "keys", 2).config("", "other", 3);
  const sw::feature_group value = sw::heads("values").reading("keys");
  const sw::rule rule("ba", sw::colwise.groups(value, value).interleaved());
  using rows = std::vector<std::vector<std::size_t>>;
  const auto rows_at = [&](int tp) {
    const sw::sharding s = sw::shard({&rule, 1}, model, {.tp = tp});
    rows out;
    for (int r = 0; r < tp; ++r) {
      out.emplace_back();
      for (const sw::box& b : s.slices_of(0, r)) {
        for (std::size_t i = 0; i < b.extent[0]; ++i) out.back().push_back(b.offset[0] + i);
      }
    }
    return out;
  };
  CHECK(rows_at(2) == rows{{0, 1, 2, 3, 4, 5}, {6, 7, 8, 9, 10, 11}});
  CHECK(rows_at(6) == rows{{0, 3}, {1, 4}, {2, 5}, {6, 9}, {7, 10}, {8, 11}});
  CHECK(rows_at(3) == rows{{0, 1, 3, 4}, {2, 5, 6, 9}, {7, 8, 10, 11}});

  const sw::rule apart("ba",
                       sw::colwise.groups(sw::heads("values"), sw::heads("values").reading("keys")).interleaved());
  const sw::rule unlike("ba", sw::colwise.groups(value, sw::heads("values").reading("other")).interleaved());
  for (const sw::rule* r : {&apart, &unlike}) {
    CHECK(refusal_of(*r, model).find("interleaved groups of different heads: count all by one field") !=
          std::string::npos);
  }
}

namespace {

/// How a dim is laid out, and which ranks own each of its units, told by counting.
struct layout_trial {
  std::size_t readers, read;  ///< query heads and key/value heads; equal where nothing is paired
  int tp;
  bool uneven, interleaved, pairs;
  std::vector<bool> reads;         ///< of each group: are its units the readers?
  std::vector<std::size_t> width;  ///< of each group
  std::vector<std::vector<int>> reader_owner, read_owners;

  std::size_t extent() const {
    std::size_t n = 0;
    for (std::size_t g = 0; g < reads.size(); ++g) n += (reads[g] ? readers : read) * width[g];
    return n;
  }
  /// Cards are dealt one by one, so that the first ranks have one more; each rank's lie together.
  static std::vector<int> dealt(std::size_t n, int ranks) {
    std::vector<int> owner;
    for (std::size_t i = 0; i < n; ++i) owner.push_back(static_cast<int>(i % static_cast<std::size_t>(ranks)));
    std::sort(owner.begin(), owner.end());
    return owner;
  }
  /// False where the plan is refused.
  bool deal() {
    const std::size_t share = readers / read, ranks = static_cast<std::size_t>(tp);
    const std::size_t dealt_ones = ranks <= read ? read : readers;
    if (uneven ? dealt_ones < ranks : dealt_ones % ranks != 0) return false;
    const std::vector<int> owner = dealt(dealt_ones, tp);
    reader_owner.assign(readers, {});
    read_owners.assign(read, {});
    std::map<int, std::map<std::size_t, std::size_t>> times;
    for (std::size_t q = 0; q < readers; ++q) {
      const int rank = owner[ranks <= read ? q / share : q];
      reader_owner[q] = {rank};
      std::vector<int>& of = read_owners[q / share];
      if (std::find(of.begin(), of.end(), rank) == of.end()) of.push_back(rank);
      ++times[rank][q / share];
    }
    for (const auto& [rank, read_by_rank] : times) {
      for (const auto& [head, n] : read_by_rank) {
        if (n != read_by_rank.begin()->second) return false;
      }
    }
    return true;
  }
  /// The ranks that own each element, in the order in which the elements lie.
  std::vector<std::vector<int>> owners() const {
    std::vector<std::vector<int>> out;
    const auto unit = [&](std::size_t g, std::size_t u) {
      for (std::size_t e = 0; e < width[g]; ++e) out.push_back(reads[g] ? reader_owner[u] : read_owners[u]);
    };
    const std::size_t blocks = interleaved ? read : 1;  // the units that others read; all, where nothing is paired
    for (std::size_t b = 0; b < blocks; ++b) {
      for (std::size_t g = 0; g < reads.size(); ++g) {
        const std::size_t n = (reads[g] ? readers : read) / blocks;
        for (std::size_t u = 0; u < n; ++u) unit(g, b * n + u);
      }
    }
    return out;
  }
  /// The style, made of the words that a plan has for it.
  sw::style style() const {
    sw::style s = sw::colwise;
    if (reads.size() == 1) {
      s = s.units(reads[0] ? "readers" : "read");
      if (pairs) s = reads[0] ? s.reading("read") : s.read_by("readers");
    } else {
      static const char* const widths[] = {"width0", "width1", "width2", "width3"};
      const auto group = [&](std::size_t g) {
        const sw::feature_group f = sw::heads(reads[g] ? "readers" : "read").of(widths[g]);
        return !pairs ? f : reads[g] ? f.reading("read") : f.read_by("readers");
      };
      s = reads.size() == 2   ? s.groups(group(0), group(1))
          : reads.size() == 3 ? s.groups(group(0), group(1), group(2))
                              : s.groups(group(0), group(1), group(2), group(3));
    }
    if (interleaved) s = s.interleaved();
    return uneven ? s.uneven() : s;
  }
};

}  // namespace

TEST_CASE("of any layout of heads, unshard is the inverse of shard, and each element has the owners that its head has",
          "[shard]") {
  std::mt19937 dice(20261128);
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(dice() % n); };
  std::size_t cut = 0, refused = 0, copied = 0, uneven = 0, interleaved = 0, wrong = 0;
  for (int n = 0; n < (sanitized ? 5000 : 100000); ++n) {
    layout_trial t{};
    t.pairs = below(4) != 0;
    t.read = 1 + below(6);
    t.readers = t.pairs ? t.read * (1 + below(5)) : t.read;
    t.tp = 1 + static_cast<int>(below(16));
    t.uneven = below(3) != 0;
    const std::size_t groups = 1 + below(4);
    for (std::size_t g = 0; g < groups; ++g) {
      t.reads.push_back(below(2) == 0);
      t.width.push_back(1 + below(3));
    }
    t.interleaved = groups > 1 && below(3) == 0;
    sw::tree model;
    model.add("m.weight", sw::dtype::i32, {t.extent()});
    model.config("", "readers", static_cast<std::int64_t>(t.readers))
        .config("", "read", static_cast<std::int64_t>(t.read));
    static const char* const widths[] = {"width0", "width1", "width2", "width3"};
    for (std::size_t g = 0; g < groups; ++g) model.config("", widths[g], static_cast<std::int64_t>(t.width[g]));
    const sw::rule rule("m", t.style());
    if (!t.deal()) {
      bool threw = false;
      try {
        (void)sw::shard({&rule, 1}, model, {.tp = t.tp});
      } catch (const sw::shard_error&) {
        threw = true;
      }
      wrong += !threw;
      ++refused;
      continue;
    }
    const sw::sharding s = sw::shard({&rule, 1}, model, {.tp = t.tp});
    const std::vector<std::vector<int>> owners = t.owners();
    std::vector<std::int32_t> whole(t.extent()), again(t.extent(), -1);
    std::iota(whole.begin(), whole.end(), 1000);
    std::vector<std::vector<std::int32_t>> locals;
    std::vector<sw::tensor_view> views;
    const sw::tensor_view x(whole.data(), sw::dtype::i32, {whole.size()});
    std::size_t sizes[2] = {~std::size_t{}, 0};
    for (int r = 0; r < t.tp; ++r) {
      std::vector<std::int32_t> mine;
      for (std::size_t e = 0; e < owners.size(); ++e) {
        if (std::find(owners[e].begin(), owners[e].end(), r) != owners[e].end()) mine.push_back(whole[e]);
      }
      locals.emplace_back(s.local_shape(0, r).elements());
      views.emplace_back(locals.back().data(), sw::dtype::i32, s.local_shape(0, r));
      sw::shard_tensor(s, 0, r, x, views.back());
      wrong += locals.back() != mine;
      sizes[0] = std::min(sizes[0], mine.size());
      sizes[1] = std::max(sizes[1], mine.size());
    }
    bool shared = false;
    for (std::size_t e = 0; e < owners.size(); ++e) {
      wrong += sw::owners_of(s[0].how, owners.size(), t.tp, e) != static_cast<int>(owners[e].size());
      shared |= owners[e].size() > 1;
    }
    sw::unshard(s, 0, views.data(), {again.data(), sw::dtype::i32, {again.size()}});
    wrong += again != whole;
    if (wrong != 0) {
      FAIL("trial " << n << ": " << t.readers << " read " << t.read << ", tp " << t.tp << ", groups " << groups
                    << (t.uneven ? ", uneven" : "") << (t.interleaved ? ", interleaved" : ""));
    }
    ++cut;
    copied += shared;
    uneven += sizes[0] != sizes[1];
    interleaved += t.interleaved;
  }
  CHECK(wrong == 0);
  CAPTURE(cut, refused, copied, uneven, interleaved);
  const std::size_t least = sanitized ? 100 : 2000;
  CHECK((cut > 10 * least && refused > 10 * least && copied > 2 * least && uneven > 2 * least && interleaved > least));
}

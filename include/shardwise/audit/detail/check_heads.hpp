// SPDX-License-Identifier: Apache-2.0
// What belongs together is dealt together: a head's queries, keys and values, its part of the output, its recurrence.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include "shardwise/audit/detail/check_sizes.hpp"
#include "shardwise/audit/detail/products.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// Of plans that deal by meaning: heads that read others, unequal groups, uneven units. Others deal equal pieces, which
/// fit each other where their number does.
class head_check {
 public:
  head_check(const facts& all, const products& p, audit_report& r) : all_(all), products_(p), to_(r) {}

  void run() {
    if (all_.tp == 1) return;
    for (const linked& l : products_.links()) {
      if (products_.output_of(*l.producer, l.out) != spread::cut ||
          products_.input_of(*l.consumer, l.in) != spread::cut) {
        continue;
      }
      look_at(*l.producer, l.out, *l.consumer, l.in);
    }
    for (const audited& g : all_.groups) {
      if (g.leaf() == "A_log" || g.leaf() == "dt_bias" || g.leaf() == "sinks") look_at_vector(g);
      if (leaf_of(g.module()) == "conv1d" && g.leaf() == "weight") look_at_convolution(g);
    }
  }

 private:
  static bool by_meaning(const audited& g) {
    const cut& c = g.x.how;
    return g.is_cut() && g.x.why == refusal::none &&
           (c.divided == division::uneven || c.pair != pairing::none || c.unequal != 0 || c.tile != 0);
  }

  // A rank's parts of `features` things, as shares of all: 0 to 1 in steps of `extent`.
  intervals parts(const cut& c, std::size_t extent, int rank) const { return pieces_of(c, extent, all_.tp, rank); }

  void look_at(const audited& p, std::size_t out, const audited& c, std::size_t in) {
    if (p.x.how.whole() || c.x.how.whole() || p.x.why != refusal::none || c.x.why != refusal::none) return;
    if (static_cast<std::size_t>(p.x.how.dim) != out || static_cast<std::size_t>(c.x.how.dim) != in) return;
    if (!by_meaning(p) && !by_meaning(c)) return;
    if (fits(p.x.how, p.shape[out], c.x.how, c.shape[in])) return;
    report(p, c);
  }

  // Does some group of the producer's output hold, on each rank, what the consumer takes there?
  bool fits(const cut& p, std::size_t out, const cut& c, std::size_t in) const {
    const dealt_units taken = c.dealt(in);
    if (p.unequal != 0) {
      for (std::size_t g = 0; g < p.unequal; ++g) {
        if (same_deal(p.group[g].dealt(), p.divided, taken, c.divided)) return true;
      }
      return false;
    }
    const cut_group first = group_of(p, out, 0);
    // Keys and values: those that the consumer's heads read, or as many of them as there are heads.
    if (p.pair == pairing::read_by || c.pair == pairing::reads) {
      const dealt_units given = p.dealt(first.at.size());
      return same_deal(given, p.divided, taken, c.divided) || pairs(given, p.divided, taken, c.divided);
    }
    const std::size_t size = first.at.size();
    if (size == 0 || in == 0) return true;
    for (int r = 0; r < all_.tp; ++r) {
      const intervals a = parts(first.how, size, r), b = parts(c, in, r);
      if (b.count != 1 || a.count != 1) return a.count == b.count;
      if (a.at[0].begin * in != b.at[0].begin * size || a.at[0].end * in != b.at[0].end * size) return false;
    }
    return true;
  }
  static bool same_deal(const dealt_units& a, division how_a, const dealt_units& b, division how_b) {
    return a == b && how_a == how_b;
  }
  // `read` is read by the heads of the consumer, and is dealt by them.
  bool pairs(const dealt_units& read, division how_read, const dealt_units& heads, division how_heads) const {
    if (heads.pair != pairing::reads || read.units != heads.other || how_read != how_heads) return false;
    // Without more ranks than key/value heads, these are dealt, whoever reads them.
    return read.pair == pairing::read_by ? read.other == heads.units : static_cast<std::size_t>(all_.tp) <= read.units;
  }

  // One number a head goes with the product that takes the heads.
  void look_at_vector(const audited& g) {
    for (const char* leaf : {"out_proj", "o_proj"}) {
      const std::string_view module = g.module();
      const audited* c = all_.find(dotted(module, leaf) + ".weight");
      if (c == nullptr || c->shape.dims() != 2 || g.shape.dims() != 1 || !c->is_cut()) continue;
      if (products_.input_of(*c, 1) != spread::cut) continue;
      if (!g.is_cut() && g.x.why == refusal::none && by_meaning(*c)) {
        report(g, *c);
      } else {
        look_at(g, 0, *c, 1);
      }
    }
  }
  // A channel of the convolution is a feature of the product before it.
  void look_at_convolution(const audited& g) {
    const std::string_view parent = module_of(g.module());
    const audited* p = all_.find(dotted(parent, "in_proj_qkv") + ".weight");
    const bool interleaved = p == nullptr;
    if (interleaved) p = all_.find(dotted(parent, "in_proj_qkvz") + ".weight");
    if (p == nullptr || g.x.why != refusal::none || p->x.why != refusal::none) return;
    const bool before = products_.output_of(*p, 0) == spread::cut;
    if (!before && !g.is_cut()) return;
    bool fits = before && g.is_cut() && g.x.how.dim == 0 && g.x.how.divided == p->x.how.divided;
    if (fits && interleaved) {
      for (std::size_t i = 0; i < 3; ++i) fits = fits && g.x.how.unequal == 3 && g.x.how.group[i] == p->x.how.group[i];
    } else if (fits) {
      fits = g.x.how.deals_like(p->x.how);
    }
    if (!fits) report(*p, g);
  }

  void report(const audited& p, const audited& c) {
    const std::string first = starred(p.thing()), second = starred(c.thing());
    finding& f = findings(to_).add(finding_kind::dealt_unlike, severity::error, p, first);
    f.text = first + " (" + style_text(p) + ") and " + second + " (" + style_text(c) + ") are dealt to " +
             std::to_string(all_.tp) + " ranks in two ways: a rank would have parts that do not belong together";
    f.fix =
        "give both the same units, the same heads that they read or are read by, and uneven() on both or on neither";
  }
  std::string style_text(const audited& g) const {
    if (!g.x.covered()) return "no rule";
    const style& s = all_.rule_of(g).how;
    std::string text(s.name());
    if (!s.unit.empty()) text += " by " + std::string(s.unit);
    if (s.pair != pairing::none) text += ' ' + std::string(name_of(s.pair)) + ' ' + std::string(s.other);
    for (std::size_t i = 0; i < s.unequal_groups; ++i) text += (i == 0 ? " of " : " | ") + std::string(s.group[i].unit);
    if (s.divided == division::uneven) text += ", uneven";
    return text;
  }

  const facts& all_;
  const products& products_;
  audit_report& to_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise

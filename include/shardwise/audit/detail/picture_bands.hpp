// SPDX-License-Identifier: Apache-2.0
// What a picture of a sharding shows: bands over all ranks, as high as a rank's bytes.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "shardwise/audit/detail/legality.hpp"
#include "shardwise/audit/detail/survey.hpp"
#include "shardwise/audit/detail/words.hpp"
#include "shardwise/audit/report.hpp"

namespace shardwise {
inline namespace v0 {
namespace detail {

/// How a band is drawn. In the order of the picture, from the top.
enum class band_kind : std::uint8_t {
  whole_unsaid,  ///< whole on every rank, and no rule says so
  whole_said,    ///< whole on every rank by a rule
  refused,       ///< cut in a way that does not divide at this number of ranks
  shared,        ///< each rank has its part
};
inline constexpr std::size_t band_kinds = 4;

/// A row of the picture's table: alike parameters.
struct picture_row {
  std::string name;
  std::size_t count = 0;  ///< parameters
  std::string style;      ///< "no rule" without one
  std::string reason;
  tensor_shape shape;
  cut how;
  band_kind kind = band_kind::shared;
  std::size_t whole_bytes = 0;  ///< of all `count`, whole
  std::vector<std::size_t> rank_bytes;
  std::size_t most() const { return rank_bytes.empty() ? 0 : rank_bytes[0]; }
};

/// One or more rows.
struct picture_band {
  std::string name;
  std::string detail;
  std::string title;  ///< the whole story, for who points at it
  band_kind kind = band_kind::shared;
  std::size_t rows = 0, count = 0;
  std::vector<std::size_t> rank_bytes;
  std::size_t whole_bytes = 0;
  std::size_t most() const { return rank_bytes.empty() ? 0 : rank_bytes[0]; }
};

struct picture_data {
  int tp = 1;
  std::size_t model_bytes = 0;
  std::size_t rank_bytes = 0;  ///< of the rank that holds most
  std::size_t kind_bytes[band_kinds]{};
  std::vector<picture_row> rows;    ///< by kind, then the largest first
  std::vector<picture_band> bands;  ///< the same, small ones together
  /// An equal share of the model: what a rank would hold if all were cut.
  std::size_t share() const {
    const auto n = static_cast<std::size_t>(tp);
    return model_bytes / n + (model_bytes % n != 0 ? 1 : 0);
  }
  /// Worth a warning: norms and the like are not.
  bool alarming(const picture_band& b) const {
    return b.kind == band_kind::refused || (b.kind == band_kind::whole_unsaid && b.most() * 250 >= rank_bytes);
  }
  std::size_t excess() const { return rank_bytes > share() ? rank_bytes - share() : 0; }
};

inline std::string band_words(band_kind k) {
  constexpr std::string_view words[] = {"whole on every rank, and no rule says so",
                                        "whole on every rank, as the plan says", "does not divide over the ranks",
                                        "shared out, each rank has its part"};
  return std::string(words[static_cast<std::size_t>(k)]);
}

class picture_maker {
 public:
  picture_maker(const survey& s, int tp) : survey_(s), legal_(s), tp_(tp) {}

  picture_data make() const {
    picture_data d;
    d.tp = tp_;
    d.model_bytes = survey_.model().bytes();
    for (const parameter_class& p : survey_.parameters()) {
      if (p.owns_bytes()) add_row(d, p);
    }
    std::stable_sort(d.rows.begin(), d.rows.end(), [](const picture_row& x, const picture_row& y) {
      return x.kind != y.kind ? x.kind < y.kind : x.most() > y.most();
    });
    for (const picture_row& r : d.rows) {
      d.rank_bytes += r.most();
      d.kind_bytes[static_cast<std::size_t>(r.kind)] += r.most();
    }
    make_bands(d);
    return d;
  }

 private:
  void add_row(picture_data& d, const parameter_class& p) const {
    picture_row r;
    r.name = p.name;
    r.count = p.count;
    r.shape = p.shape;
    r.how = p.what.how;
    r.style = "no rule";
    if (p.what.covered()) {
      const style& how = survey_.rules()[p.what.who.rule].how;
      r.style = style_text(how);
      r.reason = how.reason;
    }
    r.kind = !p.what.covered()                        ? band_kind::whole_unsaid
             : !legal_.reason_against(p, tp_).empty() ? band_kind::refused
             : r.how.whole()                          ? band_kind::whole_said
                                                      : band_kind::shared;
    r.whole_bytes = p.bytes() * p.count;
    for (int rank = 0; rank < tp_; ++rank) {
      r.rank_bytes.push_back(local_shape_of(r.how, p.shape, tp_, rank).elements() * size_of(p.type) * p.count);
    }
    if (!survey_.folded()) {  // alike names, though each stands for itself
      const std::string name = starred(r.name);
      for (picture_row& known : d.rows) {
        if (starred(known.name) != name || known.style != r.style || known.reason != r.reason ||
            !(known.how == r.how) || !(known.shape == r.shape)) {
          continue;
        }
        known.name = name;
        known.count += r.count;
        known.whole_bytes += r.whole_bytes;
        for (std::size_t i = 0; i < r.rank_bytes.size(); ++i) known.rank_bytes[i] += r.rank_bytes[i];
        return;
      }
    }
    d.rows.push_back(std::move(r));
  }

  // What is whole for one reason is one band, and so is what is too small to be seen, of each kind.
  void make_bands(picture_data& d) const {
    for (std::size_t k = 0; k < band_kinds; ++k) {
      const auto kind = static_cast<band_kind>(k);
      std::vector<picture_band> large;
      picture_band rest;
      rest.kind = kind;
      for (const picture_row& r : d.rows) {
        if (r.kind != kind) continue;
        picture_band* to = nullptr;
        if (kind == band_kind::whole_said && !r.reason.empty()) {
          for (picture_band& b : large) {
            if (b.detail == r.reason) to = &b;
          }
        }
        if (to == nullptr) {
          large.emplace_back();
          to = &large.back();
          to->kind = kind;
          to->name = r.name;
          to->detail = kind == band_kind::whole_said && !r.reason.empty() ? r.reason : r.style;
        } else {
          to->name = common_name(to->name, r.name);
        }
        add(*to, r);
      }
      std::stable_sort(large.begin(), large.end(),
                       [](const picture_band& x, const picture_band& y) { return x.most() > y.most(); });
      std::vector<picture_band> seen;
      for (picture_band& b : large) {
        // At most so many names, and none for less than 1/250 of a rank, but for what is refused.
        const bool large_enough = kind == band_kind::refused || b.most() * 250 >= d.rank_bytes;
        const bool visible = large_enough && seen.size() < most_bands;
        if (visible) {
          seen.push_back(std::move(b));
        } else {
          merge(rest, b);
        }
      }
      for (picture_band& b : seen) d.bands.push_back(std::move(b));
      if (rest.rows == 0 || rest.most() == 0) continue;
      if (rest.rows > 1) {
        rest.name = counted(rest.count, seen.empty() ? "small parameter" : "smaller parameter");
        rest.detail = "of " + std::to_string(rest.rows) + " names";
      }
      d.bands.push_back(std::move(rest));
    }
    for (picture_band& b : d.bands) {
      b.title = b.name + ": " + band_words(b.kind) + ". " + (b.detail.empty() ? "" : b.detail + ". ") +
                bytes_text(b.most()) + " on a rank, " + bytes_text(b.whole_bytes) + " whole, " +
                counted(b.count, "parameter");
    }
  }

  static void add(picture_band& b, const picture_row& r) {
    ++b.rows;
    b.count += r.count;
    b.whole_bytes += r.whole_bytes;
    b.rank_bytes.resize(r.rank_bytes.size());
    for (std::size_t i = 0; i < r.rank_bytes.size(); ++i) b.rank_bytes[i] += r.rank_bytes[i];
  }
  static void merge(picture_band& to, const picture_band& from) {
    if (to.rows == 0) {
      to.name = from.name;
      to.detail = from.detail;
    }
    to.rows += from.rows;
    to.count += from.count;
    to.whole_bytes += from.whole_bytes;
    to.rank_bytes.resize(from.rank_bytes.size());
    for (std::size_t i = 0; i < from.rank_bytes.size(); ++i) to.rank_bytes[i] += from.rank_bytes[i];
  }
  // "a.b.**" of "a.b.c" and "a.b.d".
  static std::string common_name(const std::string& x, const std::string& y) {
    std::string a = x.ends_with(".**") ? x.substr(0, x.size() - 3) : x;
    while (!a.empty() && !(y.size() > a.size() && y.starts_with(a) && y[a.size()] == '.')) {
      a = std::string(module_of(a));
    }
    return a.empty() ? "**" : a + ".**";
  }

  static constexpr std::size_t most_bands = 8;
  const survey& survey_;
  legality legal_;
  int tp_;
};

}  // namespace detail
}  // namespace v0
}  // namespace shardwise

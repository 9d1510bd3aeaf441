// SPDX-License-Identifier: Apache-2.0
// All that the ranks of a model must have in common, line by line: so that they can compare it before they start.
#pragma once
#include <cstddef>
#include <string_view>

#include "shardwise/shard/fingerprint.hpp"
#include "shardwise/shard/schedule.hpp"
#include "shardwise/shard/sharding.hpp"
#include "shardwise/version.hpp"

namespace shardwise {
inline namespace v0 {

/// The version of the library that a program was compiled with.
struct library_version {
  unsigned numbers[3] = {SHARDWISE_VERSION_MAJOR, SHARDWISE_VERSION_MINOR, SHARDWISE_VERSION_PATCH};
};

/// The version of the library, the number of ranks, the rules of the plan, the parameters with dtype, shape and cut,
/// and the schedule of collectives, one a line, in this order. Two manifests that have the same fingerprint have the
/// same lines. Refers to sharding and schedule, which the caller keeps; immutable.
///
/// Not in it: why a rule says `replicate`, and whether it may match nothing, which change nothing that a rank does.
class manifest {
 public:
  manifest(const sharding& s, const schedule& steps, const library_version& version = {})
      : sharding_(&s), schedule_(&steps), version_(version) {}

  std::size_t size() const { return 2 + sharding_->rules().size() + sharding_->size() + schedule_->size(); }

  /// Appends line `i` to a `fingerprint` or an `error`.
  template <class Text>
  void append_line(std::size_t i, Text& to) const {
    const std::size_t rules = sharding_->rules().size(), parameters = sharding_->size();
    if (i == 0) {
      put(to, "shardwise ", version_.numbers[0], '.', version_.numbers[1], '.', version_.numbers[2]);
    } else if (i == 1) {
      put(to, "tp ", static_cast<unsigned>(sharding_->tp()));
    } else if ((i -= 2) < rules) {
      put(to, "rule ", i, ": ");
      append_rule(i, to);
    } else if ((i -= rules) < parameters) {
      put(to, "parameter ", i, ": ");
      append_parameter((*sharding_)[i], to);
    } else {
      i -= parameters;
      const schedule_entry& e = (*schedule_)[i];
      put(to, "entry ", i, ": ", name_of(e.op), " of ", e.count, ' ', name_of(e.type), " after '", e.module, '\'');
    }
  }
  fingerprint of_line(std::size_t i) const {
    fingerprint f;
    append_line(i, f);
    return f;
  }
  /// Of all lines, each ended by a newline.
  fingerprint of_all() const {
    fingerprint f;
    for (std::size_t i = 0; i < size(); ++i) {
      append_line(i, f);
      f.append('\n');
    }
    return f;
  }

 private:
  template <class Text, class... Parts>
  static void put(Text& to, const Parts&... parts) {
    const auto one = [&to](const auto& part) {
      if constexpr (requires { std::string_view(part); }) {
        to.append(std::string_view(part));
      } else {
        to.append(part);
      }
    };
    (one(parts), ...);
  }

  static std::string_view words_of(division d) {
    return d == division::exact ? "" : d == division::chunk ? ", as torch.chunk deals" : ", uneven";
  }

  template <class Text>
  void append_rule(std::size_t i, Text& to) const {
    const rule& r = sharding_->rules()[i];
    put(to, '\'', sharding_->pattern(static_cast<std::uint16_t>(i)), "' ", r.how.name());
    if (r.how.group_count > 1) put(to, " of ", static_cast<unsigned>(r.how.group_count), " groups");
    if (!r.how.unit.empty()) put(to, " in units of ", r.how.unit);
    if (r.how.tile != 0) put(to, " in tiles of ", static_cast<unsigned>(r.how.tile));
    if (r.how.pair != pairing::none) put(to, ' ', name_of(r.how.pair), ' ', r.how.other);
    for (std::size_t g = 0; g < r.how.unequal_groups; ++g) {
      const feature_group& f = r.how.group[g];
      put(to, g == 0 ? ": " : " | ", f.unit, " of ", *f.width != 0 ? f.width : "equal width");
      if (f.pair != pairing::none) put(to, ' ', name_of(f.pair), ' ', f.other);
    }
    if (r.how.groups_interleaved) put(to, ", interleaved");
    if (r.how.channels_first) put(to, ", of a convolution");
    put(to, words_of(r.how.divided));
    if (r.how.whole_if_refused) put(to, ", or whole");
    if (r.matching == dialect::hugging_face) put(to, ", as Hugging Face matches");
    if (r.over == parallelism::expert) put(to, ", expert-parallel");
    if (r.overrides != 0) put(to, ", override ", static_cast<unsigned>(r.overrides));
  }

  template <class Text>
  static void append_parameter(const sharded_parameter& p, Text& to) {
    put(to, '\'', p.name, "' ", name_of(p.type), " [");
    for (std::size_t d = 0; d < p.shape.dims(); ++d) put(to, d == 0 ? "" : ", ", p.shape[d]);
    put(to, "], ");
    if (p.how.whole()) return put(to, "whole");
    put(to, "cut on dim ", static_cast<unsigned>(p.how.dim));
    if (p.how.groups > 1) put(to, " in ", static_cast<unsigned>(p.how.groups), " groups");
    if (p.how.units != 0) put(to, " of ", p.how.units, " units");
    if (p.how.tile != 0) put(to, " in tiles of ", static_cast<unsigned>(p.how.tile));
    if (p.how.pair != pairing::none) put(to, ' ', name_of(p.how.pair), ' ', p.how.other);
    for (std::size_t g = 0; g < p.how.unequal; ++g) {
      const unequal_group& u = p.how.group[g];
      put(to, g == 0 ? ": " : " | ", static_cast<unsigned>(u.units), " of ", static_cast<unsigned>(u.width));
      if (u.pair != pairing::none) put(to, ' ', name_of(u.pair), ' ', static_cast<unsigned>(u.other));
    }
    if (p.how.interleaved) put(to, ", interleaved");
    put(to, words_of(p.how.divided));
  }

  const sharding* sharding_;
  const schedule* schedule_;
  library_version version_;
};

}  // namespace v0
}  // namespace shardwise

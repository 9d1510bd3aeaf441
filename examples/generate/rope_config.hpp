// SPDX-License-Identifier: Apache-2.0
// What config.json says of rotary position embeddings. Formulas: Hugging Face transformers, modeling_rope_utils.py.
#pragma once
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config_reader.hpp"

namespace generate {

struct rope_config {
  double theta = 10000;
  double rotated = 1;  ///< the part of a head that is rotated
  /// llama3: long wavelengths are stretched by `factor`, short ones are not.
  struct stretching {
    double factor, low, high, context;
  };
  std::optional<stretching> llama3;
  /// The same by how often a frequency turns within `context`: at least `fast` times, it stays; at most `slow` times,
  /// it is stretched; in a straight line between. `truncate`: the line begins and ends at whole frequencies.
  struct ramp {
    double factor, fast, slow, context;
    bool truncate;
  };
  std::optional<ramp> yarn;
  /// Each frequency has a factor of its own, and another one in a sequence that is longer than `context`.
  struct factors {
    std::vector<double> shorter, longer;
    std::size_t context;
  };
  std::optional<factors> longrope;
  double linear = 1;     ///< all wavelengths are stretched by this
  double magnitude = 1;  ///< all that is rotated is multiplied by this
  std::array<std::size_t, 3>
      sections{};  ///< mrope: frequencies for time, row and column; zeros: positions are one-dimensional
};

/// What a family's rope may be.
struct rope_family {
  bool partial = false;   ///< a part of a head may be rotated
  bool sections = false;  ///< mrope
  bool longrope = false;  ///< and none of the other types
};

namespace detail {

inline std::string rope_type_of(const config_reader& rope) {
  return rope.text("rope_type", rope.text("type", "default"));
}

// By how much yarn and longrope lengthen what they rotate.
inline double yarn_magnitude(const config_reader& rope, double factor) {
  const auto scale = [&](double m) { return factor <= 1 ? 1 : 0.1 * m * std::log(factor) + 1; };
  const double one = rope.number("mscale", 0), all = rope.number("mscale_all_dim", 0);
  return rope.number("attention_factor", one != 0 && all != 0 ? scale(one) / scale(all) : scale(1));
}
inline double longrope_magnitude(const config_reader& rope, double factor, double context) {
  return rope.number("attention_factor", factor <= 1 ? 1 : std::sqrt(1 + std::log(factor) / std::log(context)));
}

// The fields of `rope`, a section of its own, or the older ones in `c`, around it.
inline rope_config read_rope_section(const config_reader& c, const config_reader& rope, std::string_view type,
                                     const rope_family& family, rope_config r) {
  const auto needed = [&](std::string_view field) { return rope.file().required_number(rope.section(), field); };
  const double longest = c.number("max_position_embeddings", family.longrope ? 4096 : 2048);
  const double context = c.number("original_max_position_embeddings",
                                  family.longrope ? 4096 : rope.number("original_max_position_embeddings", longest));
  if (family.longrope && (type == "su" || type == "yarn")) type = "longrope";
  if (type == "default" || (family.sections && type == "mrope")) return r;
  if (family.longrope) {
    if (type != "longrope") rope.refuse("rope_type", "'" + std::string(type) + "'", "'default' and 'longrope'");
    const auto list = [&](std::string_view field) {
      auto n = rope.file().numbers(rope.section(), field);
      if (!n) rope.refuse(field, "not there", "longrope with it");
      return *std::move(n);
    };
    r.longrope = {list("short_factor"), list("long_factor"), static_cast<std::size_t>(context)};
    r.magnitude = longrope_magnitude(rope, rope.number("factor", longest / context), context);
  } else if (type == "llama3") {
    r.llama3 = {needed("factor"), needed("low_freq_factor"), needed("high_freq_factor"), context};
  } else if (type == "linear") {
    r.linear = needed("factor");
  } else if (type == "yarn") {
    const double factor = rope.number("factor", longest / context);
    r.yarn = {factor, rope.number("beta_fast", 32), rope.number("beta_slow", 1), context,
              rope.file().boolean(rope.section(), "truncate").value_or(true)};
    r.magnitude = yarn_magnitude(rope, factor);
  } else {
    rope.refuse("rope_type", "'" + std::string(type) + "'", "'default', 'linear', 'llama3' and 'yarn'");
  }
  return r;
}

inline void read_sections(const config_reader& rope, rope_config& r) {
  const auto s = rope.file().integers(rope.section(), "mrope_section").value_or(std::vector<std::int64_t>{11, 11, 10});
  if (s.size() != 3) rope.refuse("mrope_section", "a list of another length", "three numbers");
  for (std::size_t i = 0; i < 3; ++i) r.sections[i] = static_cast<std::size_t>(s[i]);
}

/// `rope_parameters`, or the older `rope_theta` beside `rope_scaling`. `r` is what the type has where nothing is said.
inline rope_config read_rope(const config_reader& c, rope_config r, const rope_family& family) {
  const config_reader rope = c.below(c.has("rope_scaling") ? "rope_scaling" : "rope_parameters");
  for (const char* layer_type : {"full_attention", "sliding_attention", "linear_attention"}) rope.absent(layer_type);
  r.theta = rope.number("rope_theta", c.number("rope_theta", r.theta));
  r.rotated = rope.number("partial_rotary_factor", c.number("partial_rotary_factor", r.rotated));
  if (!family.partial && r.rotated != 1) rope.refuse("partial_rotary_factor", "not 1", "1 for this model type");
  if (family.sections) read_sections(rope, r);
  return read_rope_section(c, rope, rope_type_of(rope), family, std::move(r));
}

/// Of a family whose layers with a window have another rope than those without: `rope_parameters` by the type of the
/// layer, or the older fields beside `rope_scaling`, which is of the layers without.
struct two_ropes {
  rope_config full, windowed;
};
inline two_ropes read_two_ropes(const config_reader& c, double full_theta, double windowed_theta) {
  const config_reader both = c.below("rope_parameters");
  for (const char* field : {"rope_theta", "rope_type", "type", "factor"}) both.absent(field);
  const config_reader full = both.below("full_attention"), windowed = both.below("sliding_attention");
  const config_reader scaled = c.has("rope_scaling") ? c.below("rope_scaling") : full;
  for (const config_reader& rope : {full, windowed, scaled}) {
    if (rope.number("partial_rotary_factor", 1) != 1) rope.refuse("partial_rotary_factor", "not 1", "1");
  }
  two_ropes r;
  r.full.theta = full.number("rope_theta", c.number("rope_theta", full_theta));
  r.windowed.theta = windowed.number("rope_theta", c.number("rope_local_base_freq", windowed_theta));
  return {read_rope_section(c, scaled, rope_type_of(scaled), {}, std::move(r.full)),
          read_rope_section(c, windowed, rope_type_of(windowed), {}, std::move(r.windowed))};
}

}  // namespace detail
}  // namespace generate

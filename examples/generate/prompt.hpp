// SPDX-License-Identifier: Apache-2.0
// What a model is asked: token ids, images, and where each token stands.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "config.hpp"
#include "grid.hpp"
#include "rope.hpp"
#include "tensor.hpp"

namespace generate {

/// A batch of rows of equally many tokens.
struct prompt {
  std::size_t batch = 0, tokens = 0;
  std::vector<std::int64_t> ids;     ///< [batch, tokens]
  std::vector<grid> images;          ///< in the order of their tokens
  tensor pixels;                     ///< [patches of all images, values of a patch]
  positions at;                      ///< of each token
  std::vector<std::int64_t> deltas;  ///< by row: a token after the prompt stands at its number in the row plus this
};

namespace detail {

// The image tokens from `begin` on stand on the image's merged grid, beginning at `place`.
inline void place_image(const grid& g, std::size_t merge, std::int64_t place, positions& at) {
  for (std::size_t f = 0; f < g.frames; ++f) {
    for (std::size_t r = 0; r < g.rows / merge; ++r) {
      for (std::size_t c = 0; c < g.columns / merge; ++c) {
        at.push(place + static_cast<std::int64_t>(f), place + static_cast<std::int64_t>(r),
                place + static_cast<std::int64_t>(c));
      }
    }
  }
}

}  // namespace detail

/// Fills `at` and `deltas`: text stands at one place after the other, an image at a grid of places of its own. Throws
/// `sw::error` where the image tokens are not those of the images.
inline void place_tokens(prompt& p, const model_config& m) {
  const std::size_t merge = m.vision ? m.vision->merge : 1;
  std::size_t image = 0;
  for (std::size_t b = 0; b < p.batch; ++b) {
    std::int64_t place = 0, last = -1;
    for (std::size_t t = 0; t < p.tokens;) {
      const std::int64_t id = p.ids[b * p.tokens + t];
      if (!m.vision || id != m.image_token) {
        last = std::max(last, place);
        p.at.push(place, place, place);
        ++place;
        ++t;
        continue;
      }
      if (image == p.images.size()) {
        throw sw::error("row ", b, " of the prompt has an image token at ", t,
                        ", and there is no image left for it: ", p.images.size(),
                        " given; images come with --inputs (image_grid_thw) and --pixel-values");
      }
      const grid& g = p.images[image++];
      const std::size_t n = g.patches() / (merge * merge);
      for (std::size_t i = t; i < t + n; ++i) {
        if (i >= p.tokens || p.ids[b * p.tokens + i] != m.image_token) {
          throw sw::error("image ", image - 1, " needs ", n, " image tokens in a row, and row ", b,
                          " of the prompt has ", i - t, " at ", t);
        }
      }
      detail::place_image(g, merge, place, p.at);
      last = std::max(last,
                      place + static_cast<std::int64_t>(std::max({g.frames, g.rows / merge, g.columns / merge})) - 1);
      place += static_cast<std::int64_t>(std::max(g.rows, g.columns) / merge);
      t += n;
    }
    p.deltas.push_back(last + 1 - static_cast<std::int64_t>(p.tokens));
  }
  if (image != p.images.size()) {
    throw sw::error(p.images.size(), " images are given, and the prompt has image tokens for ", image);
  }
}

}  // namespace generate

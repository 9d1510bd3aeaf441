// SPDX-License-Identifier: Apache-2.0
// Images as grids of patches.
#pragma once
#include <cstddef>
#include <vector>

namespace generate {

/// An image in patches: frames, rows and columns.
struct grid {
  std::size_t frames, rows, columns;
  std::size_t patches() const { return frames * rows * columns; }
};

/// Where a patch is in its image.
struct patch_place {
  std::size_t row, column, rows, columns;
};

/// In the order of the rows of pixels: frame, block row, block column, row in block, column in block.
inline std::vector<patch_place> places_of(const std::vector<grid>& images, std::size_t merge) {
  std::vector<patch_place> places;
  for (const grid& g : images) {
    for (std::size_t i = 0; i < g.patches(); ++i) {
      const std::size_t in_frame = i % (g.rows * g.columns), block = in_frame / (merge * merge);
      const std::size_t in_block = in_frame % (merge * merge), blocks = g.columns / merge;
      places.push_back(
          {block / blocks * merge + in_block / merge, block % blocks * merge + in_block % merge, g.rows, g.columns});
    }
  }
  return places;
}

}  // namespace generate

// SPDX-License-Identifier: Apache-2.0
// What a rank remembers of the tokens that it has seen.
#pragma once
#include <cstddef>
#include <vector>

#include "tensor.hpp"

namespace generate {

/// Of one layer. Made by the layer, which knows how large its own part is.
struct layer_memory {
  tensor keys, values;       ///< full attention: [batch, capacity, width]
  tensor inputs, recurrent;  ///< linear attention: [batch, taps - 1, channels] and [batch, heads, key, value]
};

/// Of a batch of rows, which are all equally long.
struct memory {
  std::size_t batch = 1;
  std::size_t capacity = 0;  ///< tokens that there will be at most, the prompt and the new ones
  std::size_t length = 0;    ///< tokens that there are
  std::vector<layer_memory> layers;

  std::size_t cache_bytes() const {
    std::size_t n = 0;
    for (const layer_memory& l : layers) n += l.keys.bytes() + l.values.bytes();
    return n;
  }
  std::size_t state_bytes() const {
    std::size_t n = 0;
    for (const layer_memory& l : layers) n += l.inputs.bytes() + l.recurrent.bytes();
    return n;
  }
};

}  // namespace generate

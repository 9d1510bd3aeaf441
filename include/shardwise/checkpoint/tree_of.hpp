// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <vector>

#include "shardwise/checkpoint/config.hpp"
#include "shardwise/checkpoint/detail/tied_names.hpp"
#include "shardwise/checkpoint/tensor_source.hpp"
#include "shardwise/model/tree.hpp"

namespace shardwise {
inline namespace v0 {

namespace detail {

/// Of the source's tensors with the last two segments `tail`, the model's own: not a layer's and not of an `mtp` head,
/// which have copies in some checkpoints. Its index, or `size()`. Two of them are an error.
template <tensor_source Source>
std::size_t find_own(const Source& source, std::string_view tail) {
  std::size_t found = source.size();
  for (std::size_t i = 0; i < source.size(); ++i) {
    const std::string_view name = source.info(i).name;
    if (!name.ends_with(tail)) continue;
    std::string_view above = name.substr(0, name.size() - tail.size());
    if (!above.empty() && above.back() != '.') continue;
    if (above.starts_with("mtp.") || above.find(".mtp.") != std::string_view::npos || above.starts_with("layers.") ||
        above.find(".layers.") != std::string_view::npos) {
      continue;
    }
    if (found != source.size()) {
      raise(checkpoint_error("tie_word_embeddings is true, and both ", in_quotes(source.info(found).name), " and ",
                             in_quotes(name), " may be meant; build the tree by hand and say it with tie()"));
    }
    found = i;
  }
  return found;
}

/// Have two tensors the same elements? Compares a piece at a time.
template <tensor_source Source>
bool same_elements(const Source& source, std::size_t a, std::size_t b) {
  const tensor_info ia = source.info(a), ib = source.info(b);
  if (ia.type != ib.type || !(ia.shape == ib.shape)) return false;
  if (ia.shape.elements() == 0) return true;
  const std::size_t rows = ia.shape.dims() == 0 ? 1 : ia.shape[0];
  const std::size_t row_bytes = ia.shape.elements() / rows * size_of(ia.type);
  const std::size_t most = std::max<std::size_t>(1, (std::size_t{1} << 20) / row_bytes);
  std::vector<std::byte> bytes_a, bytes_b;
  for (std::size_t row = 0; row < rows; row += most) {
    box piece = box::whole(ia.shape);
    if (ia.shape.dims() != 0) {
      piece.offset[0] = row;
      piece.extent[0] = std::min(most, rows - row);
    }
    bytes_a.resize(piece.elements() * size_of(ia.type));
    bytes_b.resize(bytes_a.size());
    source.read(a, piece, tensor_view(bytes_a.data(), ia.type, piece.extent));
    source.read(b, piece, tensor_view(bytes_b.data(), ib.type, piece.extent));
    if (std::memcmp(bytes_a.data(), bytes_b.data(), bytes_a.size()) != 0) return false;
  }
  return true;
}

}  // namespace detail

/// The tree of a model: names, shapes and dtypes of `source` (see `checkpoint::converted`), the numbers of `config`,
/// and its ties. If the config says `tie_word_embeddings`, or nothing and is of a type that is tied then,
/// `lm_head.weight` is tied to the embedding, under whichever prefix that is. If the source has both, they are tied
/// where they are equal; where they differ both are kept, as Hugging Face does. Only in that case something is read.
/// Throws `checkpoint_error`.
template <tensor_source Source>
tree tree_of(const Source& source, const checkpoint::config& config) {
  constexpr std::string_view embedding_tail = "embed_tokens.weight", head_tail = "lm_head.weight";

  const std::size_t none = source.size();
  std::size_t embedding = none, head = none;
  if (detail::says_tied(config)) {
    embedding = detail::find_own(source, embedding_tail);
    head = detail::find_own(source, head_tail);
    if (embedding == none) {
      detail::raise(checkpoint_error(config.where(),
                                     " says tie_word_embeddings (or its type does), and no tensor is called ",
                                     embedding_tail, "; correct one of them"));
    }
    if (head != none && !detail::same_elements(source, embedding, head)) embedding = head = none;
  }

  tree t;
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (i == head) continue;
    const tensor_info info = source.info(i);
    t.add(info.name, info.type, info.shape);
  }
  if (embedding != none) t.tie(source.info(embedding).name, head != none ? source.info(head).name : head_tail);
  config.fill(t);
  return t;
}

/// The same for a source that has its own config, as `checkpoint::open` gives it. Takes `Source&`, const or not, so
/// that it is preferred to the `tree_of(Model&)` of described models.
template <tensor_source Source>
requires requires(const Source& source) { source.config(); }
tree tree_of(Source& source) { return tree_of(source, source.config()); }

}  // namespace v0
}  // namespace shardwise
